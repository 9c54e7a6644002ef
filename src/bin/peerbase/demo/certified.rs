//! A certified network: what a stolen network key is worth, and how a lost gateway is shut out.
//!
//! The nodes meet at a relay only, and somebody on the way records everything.

use super::process::Process;
use super::recorder::{Recorder, Tally};
use super::{Network, PATIENCE, data, expect};
use crate::{Failure, Outcome};
use peerbase::fernet::Keyring;
use peerbase::frame::FrameType;
use peerbase::handshake::NetworkKeys;
use peerbase::{
    Authority, AuthorityKey, Builder, Certificate, Distrust, Entropy, Error, Event, Identity,
    NetworkName, Node, NodeName, OsEntropy, RelayKey, RevocationList,
};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the thief's call is tried.
const TRIED: Duration = Duration::from_secs(2);

/// The network, its authority, and where its files are.
struct Certified<'a> {
    network: &'a Network,
    name: NetworkName,
    folder: PathBuf,
    authority: AuthorityKey,
    relay: String,
}

pub(super) fn run(network: &Network) -> Outcome {
    eprintln!("a certified network, and somebody who records everything");
    let folder = data::folder();
    fs::create_dir_all(&folder)?;
    let outcome = in_folder(network, &folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn in_folder(network: &Network, folder: &Path) -> Outcome {
    let name = NetworkName::new(&network.name)?;
    let relay_key = RelayKey::derive(&network.key, &name);
    let (_relay, address) = Process::relay(&network.name, &relay_key)?;
    let recorder = Recorder::start(address)?;
    let authority = Authority::create(folder.join("authority"), &mut OsEntropy::new()?)?;
    let certified = Certified {
        network,
        name,
        folder: folder.to_owned(),
        authority: authority.key(),
        relay: recorder.address(),
    };
    for name in ["gateway-1", "gateway-2", "operator", "console"] {
        certified.sign(&authority, name)?;
    }
    let _gateway = certified.gateway("gateway-1")?;
    let _lost = certified.gateway("gateway-2")?;
    let console = certified.node("console")?.start()?;
    for gateway in ["gateway-1", "gateway-2"] {
        let value = read(&console, gateway)?;
        let what = format!("{gateway} shows its certificate, and is called");
        expect(&what, value["celsius"].as_f64(), &Some(21.5))?;
    }
    certified.stolen_key(&recorder)?;
    certified.lost_gateway(&console)?;
    console.stop();
    Ok(())
}

fn read(node: &Node, target: &str) -> Result<serde_json::Value, Error> {
    let call = node.call("sensor.read").to(target);
    call.timeout(PATIENCE).send()
}

impl Certified<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes an identity for a node, and a certificate for it.
    fn sign(&self, authority: &Authority, name: &str) -> Outcome {
        let file = self.file(&format!("{name}.identity"));
        let key = Identity::create(file, &mut OsEntropy::new()?)?.public_key();
        let certificate = authority.sign(&self.name, &NodeName::new(name)?, &key, &[], 0)?;
        let file = self.file(&format!("{name}.certificate"));
        Ok(fs::write(file, certificate.to_text())?)
    }

    /// A gateway in a process of its own.
    fn gateway(&self, name: &str) -> Outcome<Process> {
        let identity = self.file(&format!("{name}.identity"));
        let certificate = self.file(&format!("{name}.certificate"));
        let (identity, certificate) = (identity.to_string_lossy(), certificate.to_string_lossy());
        let args = [
            ["--network", &self.network.name],
            ["--relay", &self.relay],
            ["--identity", &identity],
            ["--certificate", &certificate],
            ["--authority", &self.authority.to_text()],
        ];
        let args = [&args.concat()[..], &["--no-lan"]].concat();
        Process::start(name, &self.network.key.to_text(), &args)
    }

    /// Whoever has the network key, has heard of the authority and goes by this name.
    fn member(&self, name: &str) -> Builder {
        Node::builder(name, &self.network.name, self.network.key.clone())
            .loopback(true)
            .lan(false)
            .relay(&self.relay)
            .authority(self.authority)
    }

    /// A node of this process, with its identity and certificate.
    fn node(&self, name: &str) -> Outcome<Builder> {
        let identity = Identity::load(self.file(&format!("{name}.identity")))?;
        let text = fs::read_to_string(self.file(&format!("{name}.certificate")))?;
        let builder = self.member(name).identity(identity);
        Ok(builder.certificate(Certificate::parse(&text)?))
    }

    fn stolen_key(&self, recorder: &Recorder) -> Outcome {
        eprintln!("the network key is stolen");
        let ring = Keyring::new(vec![self.network.key.clone()])?;
        let derived = NetworkKeys::new(&ring, &self.name);
        let keys = [&ring, derived.adverts()];
        // The advert's token stands behind its version.
        let adverts = recorder.tally(&[FrameType::ADVERT], 1, &keys);
        let what = format!("it opens the {} recorded adverts", adverts.recorded);
        expect(&what, adverts.opened > 0, &true)?;
        let sessions = [FrameType::MESSAGE, FrameType::RESPONSE];
        let Tally { recorded, opened } = recorder.tally(&sessions, 0, &keys);
        if recorded == 0 {
            return Err(Failure::Failed("nothing was recorded".into()));
        }
        let what = format!("it opens none of the {recorded} recorded records of sessions");
        expect(&what, opened, &0)?;
        let what = "no value was seen on the way";
        expect(what, recorder.has_seen(b"celsius"), &false)?;
        self.impersonate()
    }

    /// A thief who goes by a name that somebody else has a certificate for.
    fn impersonate(&self) -> Outcome {
        let mut entropy = OsEntropy::new()?;
        let (own, identity) = (
            Authority::from_seed(entropy.array()),
            Identity::generate(&mut entropy),
        );
        let (name, key) = (NodeName::new("operator")?, identity.public_key());
        let forged = own.sign(&self.name, &name, &key, &[], 0)?;
        let thief = self.member("operator").identity(identity);
        let thief = thief.authority(own.key()).certificate(forged).start()?;
        let events = thief.events();
        let call = thief.call("sensor.read").to("gateway-1");
        let outcome = call.timeout(TRIED).send();
        let what = "whoever has it, but no certificate, gets no answer";
        expect(what, outcome.is_err(), &true)?;
        let (began, mut refused) = (Instant::now(), false);
        while !refused && began.elapsed() < PATIENCE {
            let Some(event) = events.next_timeout(PATIENCE) else {
                break;
            };
            // Each of the others refuses it, and one in a minute is told.
            let why = Distrust::Certificate;
            refused = matches!(event, Event::DistrustedBy { why: said, .. } if said == why);
        }
        let what = "and is told that the certificate is not good";
        expect(what, refused, &true)?;
        thief.stop();
        let operator = self.node("operator")?.start()?;
        let value = read(&operator, "gateway-1")?;
        let what = "the operator's own call is answered";
        expect(what, value["celsius"].as_f64(), &Some(21.5))?;
        operator.stop();
        Ok(())
    }

    fn lost_gateway(&self, console: &Node) -> Outcome {
        eprintln!("gateway-2 is lost");
        let call = console.call("sensor.shout").to("gateway-1");
        let (mut reader, mut writer, value) = call.timeout(PATIENCE).stream()?.split();
        writer.write_all(b"one half and ")?;
        let list = self.revoke("gateway-2")?;
        let began = Instant::now();
        expect("one command revokes it", console.revoke(&list)?, &true)?;
        while self.is_met(console, "console")? || self.is_met(console, "gateway-1")? {
            if began.elapsed() > PATIENCE {
                return Err(Failure::Failed("the lost gateway is still there".into()));
            }
        }
        eprintln!(
            "  ok  every session with it was closed within {} ms",
            began.elapsed().as_millis()
        );
        let call = console.call("sensor.read").to("gateway-2").timeout(TRIED);
        expect("it is not called any more", call.send().is_err(), &true)?;
        writer.write_all(b"the other")?;
        writer.finish();
        let mut heard = String::new();
        reader.read_to_string(&mut heard)?;
        value.wait()?;
        let what = "a stream that gateway-1 had under way went on";
        expect(what, heard.as_str(), &"ONE HALF AND THE OTHER")
    }

    /// Whether a node has a session with the lost gateway, as it says itself.
    fn is_met(&self, console: &Node, by: &str) -> Outcome<bool> {
        if by == "console" {
            let peers = console.peers();
            let mut met = peers.iter().filter(|p| p.reachable);
            return Ok(met.any(|p| p.name.as_str() == "gateway-2"));
        }
        let peers = console.call("__peers__").to(by).timeout(PATIENCE).send()?;
        let how = peers["gateway-2"].as_str().unwrap_or("known");
        Ok(how != "known")
    }

    /// Revokes a node's certificate as an operator does, and gives the list that this makes.
    fn revoke(&self, name: &str) -> Outcome<RevocationList> {
        let list = self.file("revoked");
        let output = Command::new(std::env::current_exe()?)
            .args(["authority", "revoke"])
            .arg(self.file("authority"))
            .args(["--network", &self.network.name, "--list"])
            .arg(&list)
            .arg(self.file(&format!("{name}.certificate")))
            .output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::Failed(format!("authority revoke: {words}")));
        }
        Ok(RevocationList::parse(&fs::read_to_string(list)?)?)
    }
}
