//! `peerbase authority`: certificates for the nodes of a network, and the list of those that were
//! revoked.

use crate::options::word;
use crate::text_file::{fault, find, read, replace};
use crate::{Failure, Outcome};
use lexopt::{Arg, ValueExt};
use peerbase::{
    Authority, AuthorityKey, Certificate, CertificateHash, NetworkName, NodeName, OsEntropy,
    PublicKey, RevocationList, Role,
};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::fs::File;

/// What an operator has to know, and to do, after a device was lost.
const ROTATE: &str = "\
Give the list to any node that runs (its console: revoke LISTFILE; Node::revoke in Rust,
peerbase_node_revoke in C): it closes the sessions of the revoked devices and hands the list on to
all others. A device that was revoked still has the network's key, with which it can read adverts
and join relays. To shut it out of those too, rotate the key, each step on every node before the
next (Node::set_keys in Rust, peerbase_node_set_keys in C; no node has to be restarted):
  1. Make a new key: peerbase keygen
  2. Give it as a second key to every node but the revoked ones.
  3. Put it first, and the old key second.
  4. Give each relay that has a relay key the one that is derived from the new key:
     peerbase keygen --relay-from - --network NETWORK
  5. Remove the old key.";

/// The options of all commands, of which each takes some.
#[derive(Default)]
struct Options {
    network: Option<String>,
    name: Option<String>,
    key: Option<String>,
    roles: Vec<Role>,
    list: Option<OsString>,
    authorities: Vec<AuthorityKey>,
    files: Vec<OsString>,
}

impl Options {
    /// Reads the rest of a command line whose options are among `known`.
    fn parse(parser: &mut lexopt::Parser, known: &[&str]) -> Outcome<Options> {
        let mut options = Options::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Value(file) => options.files.push(file),
                Arg::Long(name) if known.contains(&name) => {
                    let name = name.to_owned();
                    options.take(&name, parser)?;
                }
                arg => return Err(arg.unexpected().into()),
            }
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Outcome {
        let value = parser.value()?;
        match name {
            "network" => self.network = Some(value.string()?),
            "name" => self.name = Some(value.string()?),
            "key" => self.key = Some(value.string()?),
            "role" => self.roles.push(Role::new(&value.string()?)?),
            "list" => self.list = Some(value),
            _ => self
                .authorities
                .push(AuthorityKey::parse(&value.string()?)?),
        }
        Ok(())
    }

    /// The only file.
    fn file(&self) -> Outcome<&OsStr> {
        match self.files.as_slice() {
            [file] => Ok(file),
            [] => Err(Failure::Usage("which file?".into())),
            [_, other, ..] => Err(unexpected(other)),
        }
    }

    fn network(&self) -> Outcome<NetworkName> {
        Ok(NetworkName::new(given(&self.network, "--network")?)?)
    }

    /// The list in the file `--list`; none if there is no such file or option. It must be signed by
    /// one of these.
    fn list(
        &self,
        keys: &[AuthorityKey],
        network: &NetworkName,
    ) -> Outcome<Option<RevocationList>> {
        let Some(file) = &self.list else {
            return Ok(None);
        };
        let list = find(file, RevocationList::parse)?;
        if let Some(list) = &list {
            list.verify(keys, network).map_err(|e| fault(file, e))?;
        }
        Ok(list)
    }
}

fn unexpected(value: &OsStr) -> Failure {
    lexopt::Error::UnexpectedArgument(value.to_owned()).into()
}

fn given<'a>(value: &'a Option<String>, option: &str) -> Outcome<&'a str> {
    let value = value.as_deref();
    value.ok_or_else(|| Failure::Usage(format!("{option} is missing")))
}

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let what = word(&mut parser, "authority new, sign, revoke or list?")?;
    let known: &[&str] = match what.as_str() {
        "new" => &[],
        "sign" => &["network", "name", "key", "role", "list", "authority"],
        "revoke" => &["network", "list", "authority"],
        "list" => &["authority"],
        other => {
            return Err(Failure::Usage(format!(
                "no such command: authority {other}"
            )));
        }
    };
    let options = Options::parse(&mut parser, known)?;
    match what.as_str() {
        "new" => new(&options),
        "sign" => sign(&options),
        "revoke" => revoke(&options),
        _ => list(&options),
    }
}

fn new(options: &Options) -> Outcome {
    let authority = Authority::create(options.file()?, &mut OsEntropy::new()?)?;
    println!("{}", authority.key().to_text());
    Ok(())
}

/// The keys whose signatures count: the authority's own, and those that were named.
fn keys(authority: &Authority, options: &Options) -> Vec<AuthorityKey> {
    [&[authority.key()], options.authorities.as_slice()].concat()
}

fn sign(options: &Options) -> Outcome {
    let file = options.file()?;
    let name = given(&options.name, "--name")?;
    let key = given(&options.key, "--key")?;
    let (network, name) = (options.network()?, NodeName::new(name)?);
    let key = PublicKey::parse(key)?;
    let authority = Authority::load(file)?;
    let list = options.list(&keys(&authority, options), &network)?;
    if let (None, Some(file)) = (&list, &options.list) {
        return Err(fault(file, "there is no such file"));
    }
    let version = list.map_or(0, |list| list.version());
    let certificate = authority.sign(&network, &name, &key, &options.roles, version)?;
    print!("{}", certificate.to_text());
    Ok(())
}

fn revoke(options: &Options) -> Outcome {
    let mut files = options.files.iter();
    let file = files.next().ok_or(Failure::Usage("which file?".into()))?;
    let list_file = options.list.as_ref();
    let list_file = list_file.ok_or(Failure::Usage("--list is missing".into()))?;
    // An authority that replaces another signs that one's list, also if nothing is added to it.
    if files.len() == 0 && options.authorities.is_empty() {
        return Err(Failure::Usage("which certificates?".into()));
    }
    let network = options.network()?;
    let authority = Authority::load(file)?;
    // Two that revoke at once would each write the next version, and one would be lost.
    let locked = File::open(file).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(|e| fault(file, e))?;
    let keys = keys(&authority, options);
    let before = options.list(&keys, &network)?;
    let hash = |file: &OsString| {
        let certificate = read(file, Certificate::parse)?;
        let verified = certificate.verify(&keys, &network);
        verified.map_err(|e| fault(file, e))?;
        Ok(certificate.hash())
    };
    let hashes: Vec<CertificateHash> = files.map(hash).collect::<Outcome<_>>()?;
    let list = authority.revoke(&network, before.as_ref(), &hashes)?;
    replace(list_file, &list.to_text())?;
    show(&list, None);
    if !hashes.is_empty() {
        eprintln!("{ROTATE}");
    }
    Ok(())
}

fn list(options: &Options) -> Outcome {
    let file = options.file()?;
    let list = read(file, RevocationList::parse)?;
    if options.authorities.is_empty() {
        show(&list, None);
        return Ok(());
    }
    let verified = list.verify(&options.authorities, list.network());
    show(&list, Some(verified.is_ok()));
    verified.map_err(|e| fault(file, e))
}

/// Says what is in a list, and whether its signature holds, if that was asked.
fn show(list: &RevocationList, signed: Option<bool>) {
    let mut shown = json!({
        "network": list.network().as_str(),
        "version": list.version(),
        "revoked": list.len(),
    });
    if let Some(signed) = signed {
        shown["signed"] = signed.into();
    }
    println!("{shown}");
}
