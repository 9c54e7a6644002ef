//! The hello: how two nodes make a session, sealed under the network key.
//!
//! ```text
//! version u8 | role u8 | flags u8 | instance [16] | nonce [32] | port u16 | name text | meant text
//! | (answers only) the asker's nonce [32]
//! ```
//!
//! The session's two keys are derived from both hellos and the network key: see
//! [`session_keys`](super::session_keys).

use super::{Instance, Malformed, Reader, VERSION, put_text};
use crate::name::NodeName;

/// 32 fresh random bytes, which make the keys of each session different.
pub type Nonce = [u8; 32];

/// The side that sends a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that opened the link.
    Ask,
    /// The side that was asked, and the nonce that it answers.
    Answer(Nonce),
}

/// One hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The side that sends it.
    pub role: Role,
    /// Whether the sender still asks whether its name is taken.
    pub probing: bool,
    /// The start of the sender.
    pub instance: Instance,
    /// Fresh for this hello.
    pub nonce: Nonce,
    /// The TCP port on which the sender listens.
    pub port: u16,
    /// The sender's name.
    pub name: NodeName,
    /// The node that the sender means to speak to. Only the side that asks may leave it open, as an
    /// empty text.
    pub meant: Option<NodeName>,
}

impl Hello {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(match self.role {
            Role::Ask => 0,
            Role::Answer(_) => 1,
        });
        out.push(u8::from(self.probing));
        out.extend_from_slice(&self.instance.0);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.port.to_be_bytes());
        put_text(self.name.as_str(), out);
        put_text(self.meant.as_ref().map_or("", |m| m.as_str()), out);
        if let Role::Answer(asked) = &self.role {
            out.extend_from_slice(asked);
        }
    }

    /// Reads a hello that takes all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Hello, Malformed> {
        let mut r = Reader(bytes);
        if r.u8()? != VERSION {
            return Err(Malformed);
        }
        let role = r.u8()?;
        let probing = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        let instance = Instance(r.array()?);
        let nonce = r.array()?;
        let port = r.u16()?;
        let name = NodeName::new(r.text()?).map_err(|_| Malformed)?;
        let meant = match r.text()? {
            "" if role == 0 => None,
            name => Some(NodeName::new(name).map_err(|_| Malformed)?),
        };
        let role = match role {
            0 => Role::Ask,
            1 => Role::Answer(r.array()?),
            _ => return Err(Malformed),
        };
        r.end()?;
        Ok(Hello {
            role,
            probing,
            instance,
            nonce,
            port,
            name,
            meant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::some_name;
    use proptest::prelude::*;

    fn hello(role: Role, who: u8, name: &str, meant: &str) -> Hello {
        Hello {
            role,
            probing: false,
            instance: Instance([who; 16]),
            nonce: [who; 32],
            port: 7,
            name: NodeName::new(name).unwrap(),
            meant: Some(NodeName::new(meant).unwrap()),
        }
    }

    proptest! {
        #[test]
        fn round_trip_and_every_cut_is_malformed(asked in any::<Option<[u8; 32]>>(), who in any::<u8>(), name in some_name()) {
            let h = hello(asked.map_or(Role::Ask, Role::Answer), who, name.as_str(), "x");
            let mut bytes = Vec::new();
            h.encode(&mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Hello::decode(&bytes[..cut]), Err(Malformed));
            }
            prop_assert_eq!(Hello::decode(&bytes), Ok(h));
        }

        #[test]
        fn what_decodes_encodes_back(mut bytes in prop::collection::vec(any::<u8>(), 54..130)) {
            bytes[0] = VERSION;
            bytes[1] %= 2;
            bytes[2] %= 2;
            if let Ok(h) = Hello::decode(&bytes) {
                let mut again = Vec::new();
                h.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
