//! The options that `node` and `call` share, and the second word of a command that has one.

use crate::{Failure, Outcome, identity_file, text_file};
use lexopt::{Arg, ValueExt};
use peerbase::{
    ADVERTISE_PORT, AuthorityKey, Builder, Certificate, Compat, Key, Limits, Node, RevocationList,
    Rules,
};
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::ParseIntError;

/// Where a key may come from without being seen in the list of processes.
pub(crate) const KEY_VARIABLE: &str = "PEERBASE_KEY";

#[derive(Default)]
pub(crate) struct Options {
    network: Option<String>,
    key: Option<String>,
    identity: Option<OsString>,
    /// Whether an identity file that others may read is an error.
    strict: bool,
    authorities: Vec<AuthorityKey>,
    certificate: Option<Certificate>,
    revocations: Option<RevocationList>,
    state: Option<OsString>,
    listen: Option<SocketAddr>,
    advertise_port: Option<u16>,
    loopback: bool,
    no_lan: bool,
    relays: Vec<String>,
    max_remotes: Option<usize>,
    limits: Limits,
    /// Patterns of paths, and who may call them.
    rules: Vec<(String, String)>,
    compat: Option<Compat>,
}

impl Options {
    /// Takes an option if it is one of these.
    pub(crate) fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Outcome<bool> {
        match name {
            "network" => self.network = Some(parser.value()?.string()?),
            "key" => self.key = Some(parser.value()?.string()?),
            "key-file" => {
                let path = parser.value()?;
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Failure::Failed(format!("{}: {e}", path.to_string_lossy())))?;
                self.key = Some(text.trim().to_owned());
            }
            "identity" => self.identity = Some(parser.value()?),
            "strict" => self.strict = true,
            "authority" => {
                let key = parser.value()?.string()?;
                self.authorities.push(AuthorityKey::parse(&key)?);
            }
            "certificate" => {
                self.certificate = Some(text_file::read(&parser.value()?, Certificate::parse)?);
            }
            "revocations" => {
                let list = text_file::find(&parser.value()?, RevocationList::parse)?;
                self.revocations = list;
            }
            "state" => self.state = Some(parser.value()?),
            "listen" => self.listen = Some(parser.value()?.parse()?),
            "advertise-port" => self.advertise_port = Some(parser.value()?.parse()?),
            "loopback" => self.loopback = true,
            "no-lan" => self.no_lan = true,
            "relay" => self.relays.push(parser.value()?.string()?),
            // Each of these is about Python nodes, and speaks to them.
            "compat" => self.compat = Some(self.compat.take().unwrap_or_default()),
            "compat-listen" => {
                let address = parser.value()?.parse()?;
                self.compat = Some(self.compat.take().unwrap_or_default().listen(address));
            }
            "compat-port" => {
                let port = parser.value()?.parse()?;
                self.compat = Some(self.compat.take().unwrap_or_default().advertise_port(port));
            }
            "compat-relay" => {
                let relay = parser.value()?.string()?;
                self.compat = Some(self.compat.take().unwrap_or_default().relay(&relay));
            }
            "limit" => {
                let text = parser.value()?.string()?;
                let fault = |why: &dyn Display| Failure::Usage(format!("--limit {text}: {why}"));
                let (name, value) = text
                    .split_once('=')
                    .ok_or(fault(&"NAME=VALUE is asked for"))?;
                let limit = name.parse().map_err(|e: peerbase::Error| fault(&e))?;
                let value = value.parse().map_err(|e: ParseIntError| fault(&e))?;
                self.limits.set(limit, value).map_err(|e| fault(&e))?;
            }
            "allow" => {
                let text = parser.value()?.string()?;
                let fault = |why: &dyn Display| Failure::Usage(format!("--allow {text}: {why}"));
                let (pattern, callers) = text
                    .split_once('=')
                    .ok_or(fault(&"PATTERN=CALLERS is asked for"))?;
                let is_rule = Rules::default().allow(pattern, callers);
                is_rule.map_err(|e| fault(&e))?;
                self.rules.push((pattern.to_owned(), callers.to_owned()));
            }
            "max-remotes" => self.max_remotes = Some(parser.value()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The name that the certificate is for, if there is one.
    pub(crate) fn certified_name(&self) -> Option<String> {
        let certificate = self.certificate.as_ref();
        certificate.map(|certificate| certificate.name().to_string())
    }

    /// A node of this name with these options.
    pub(crate) fn builder(self, name: &str) -> Outcome<Builder> {
        let network = self
            .network
            .ok_or(Failure::Usage("--network is missing".into()))?;
        let key = self.key.or_else(|| std::env::var(KEY_VARIABLE).ok());
        let key = key.ok_or(Failure::Usage("--key or --key-file is missing".into()))?;
        let mut builder = Node::builder(name, &network, Key::parse(&key)?)
            .advertise_port(self.advertise_port.unwrap_or(ADVERTISE_PORT))
            .lan(!self.no_lan)
            .limits(self.limits)
            .loopback(self.loopback);
        if let Some(file) = self.identity {
            builder = builder.identity(identity_file::load_or_create(&file, self.strict)?);
        }
        for authority in self.authorities {
            builder = builder.authority(authority);
        }
        if let Some(certificate) = self.certificate {
            builder = builder.certificate(certificate);
        }
        if let Some(list) = self.revocations {
            builder = builder.revocation_list(list);
        }
        if let Some(folder) = self.state {
            builder = builder.state_dir(folder);
        }
        for (pattern, callers) in &self.rules {
            builder = builder.allow(pattern, callers);
        }
        for relay in &self.relays {
            builder = builder.relay(relay);
        }
        if let Some(mut compat) = self.compat {
            // A relay of ours is both at one address; one that is only theirs is a --compat-relay.
            for relay in &self.relays {
                compat = compat.relay(relay);
            }
            builder = builder.compat(compat);
        }
        if let Some(count) = self.max_remotes {
            builder = builder.max_remotes(count);
        }
        if let Some(address) = self.listen {
            builder = builder.listen(address);
        }
        Ok(builder)
    }
}

/// Reads a command line of options and values; `other` is given what is not among [`Options`].
pub(crate) fn parse(
    parser: &mut lexopt::Parser,
    mut other: impl FnMut(Arg<'_>, &mut lexopt::Parser) -> Outcome,
) -> Outcome<Options> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long(name) => {
                let name = name.to_owned();
                if !options.take(&name, parser)? {
                    other(Arg::Long(&name), parser)?;
                }
            }
            Arg::Value(value) => other(Arg::Value(value), parser)?,
            arg => return Err(arg.unexpected().into()),
        }
    }
    Ok(options)
}

/// The next word of a command line, which must not be an option.
pub(crate) fn word(parser: &mut lexopt::Parser, which: &str) -> Outcome<String> {
    match parser.next()? {
        Some(Arg::Value(word)) => Ok(word.string()?),
        Some(arg) => Err(arg.unexpected().into()),
        None => Err(Failure::Usage(which.into())),
    }
}
