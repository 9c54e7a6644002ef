//! What PeerBase 0.7.1 seals: calls, and their answers.
//!
//! ```text
//! body   = base64url( Fernet token of a JSON text )          the token is base64url already
//! call   = {"timestamp": s, "command": path, "args": […], "kwargs": {…},
//!           "initiator": "network.name"}
//! answer = {"timestamp": s, "response": value}    straight; the HTTP status says how it went
//! answer = {"status": 200, "result": value}       through a relay
//! ```
//!
//! Nothing in an answer says which call it is for, and nothing in a call that it was not sent
//! before: any program that recorded one can send it again, and that cannot be told.

use super::fields::Object;
use crate::entropy::Entropy;
use crate::fernet::{Keyring, token_len};
use crate::json::quoted;
use crate::name::{CommandPath, NetworkName, NodeName};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::value::RawValue;

/// Bytes of a body whose JSON text has `text` bytes.
pub const fn body_len(text: usize) -> usize {
    token_len(text).div_ceil(3) * 4
}

/// Seals a text.
pub fn seal(text: &[u8], keys: &Keyring, unix: u64, entropy: &mut dyn Entropy) -> Vec<u8> {
    let mut iv = [0; 16];
    entropy.fill(&mut iv);
    let mut token = Vec::with_capacity(token_len(text.len()));
    keys.sealer(keys.first()).seal(text, unix, &iv, &mut token);
    URL_SAFE.encode(token).into_bytes()
}

/// Opens a body; `None` if it is none, or under another key.
pub fn open<'b>(body: &[u8], keys: &Keyring, buf: &'b mut Vec<u8>) -> Option<&'b str> {
    let token = URL_SAFE.decode(body.trim_ascii_end()).ok()?;
    let (text, _) = keys.open(&token, buf).ok()?;
    std::str::from_utf8(text).ok()
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The command's dotted path, as it was sent.
    pub command: String,
    /// A JSON array.
    pub args: Vec<u8>,
    /// A JSON object.
    pub kwargs: Vec<u8>,
    /// Who calls, as it says.
    pub caller: NodeName,
}

impl Call {
    /// Reads a text that was opened. What is wrong with it, in words.
    pub fn decode(text: &str, network: &NetworkName) -> Result<Call, &'static str> {
        let call =
            Object::read(text).ok_or("the call is no JSON object; NaN and Infinity are no JSON")?;
        let initiator = call.text("initiator").ok_or("the call has no initiator")?;
        let caller = initiator
            .split_once('.')
            .filter(|(of, _)| *of == network.as_str())
            .and_then(|(_, name)| NodeName::new(name).ok())
            .ok_or("the initiator is no node of this network")?;
        let raw = |key, empty: &str| {
            call.get(key)
                .map_or(empty, RawValue::get)
                .as_bytes()
                .to_vec()
        };
        Ok(Call {
            command: call.text("command").ok_or("the call names no command")?,
            args: raw("args", "[]"),
            kwargs: raw("kwargs", "{}"),
            caller,
        })
    }
}

/// The text of a call.
pub fn call_text(
    path: &CommandPath,
    (args, kwargs): (&[u8], &[u8]),
    network: &NetworkName,
    caller: &NodeName,
    unix: u64,
) -> Vec<u8> {
    let command = quoted(path.as_str());
    let initiator = quoted(&format!("{network}.{caller}"));
    [
        format!("{{\"timestamp\": {unix}.0, \"command\": {command}, \"args\": ").as_bytes(),
        args,
        b", \"kwargs\": ",
        kwargs,
        format!(", \"initiator\": {initiator}}}").as_bytes(),
    ]
    .concat()
}

/// The text of an answer that goes straight.
pub fn answer_text(response: &[u8], unix: u64) -> Vec<u8> {
    let head = format!("{{\"timestamp\": {unix}.0, \"response\": ");
    [head.as_bytes(), response, b"}"].concat()
}

/// The text of an answer that goes through a relay.
pub fn relayed_answer_text(status: u16, result: &[u8]) -> Vec<u8> {
    let head = format!("{{\"status\": {status}, \"result\": ");
    [head.as_bytes(), result, b"}"].concat()
}

/// Reads an answer that came straight: its value, a JSON text.
pub fn read_answer(text: &str) -> Option<Vec<u8>> {
    let answer = Object::read(text)?;
    Some(answer.get("response")?.get().as_bytes().to_vec())
}

/// Reads an answer that came through a relay: its status, and its value.
pub fn read_relayed_answer(text: &str) -> Option<(u16, Vec<u8>)> {
    let answer = Object::read(text)?;
    let status = answer.get("status")?.get().parse().ok()?;
    Some((status, answer.get("result")?.get().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;
    use crate::fernet::Key;

    fn network() -> NetworkName {
        NetworkName::new("plant").unwrap()
    }

    #[test]
    fn a_call_comes_out_as_it_went_in() {
        let path = CommandPath::new("a.b").unwrap();
        let (args, kwargs) = (&b"[1,2.50,\"\\u00e9\"]"[..], &b"{\"k\":null}"[..]);
        let caller = NodeName::new("x").unwrap();
        let text = call_text(&path, (args, kwargs), &network(), &caller, 7);
        let key = Keyring::from(Key::from_bytes([7; 32]));
        let body = seal(&text, &key, 7, &mut OsEntropy::new().unwrap());
        assert_eq!(body.len(), body_len(text.len()));
        let mut buf = Vec::new();
        let opened = open(&[&body[..], b"\n"].concat(), &key, &mut buf).unwrap();
        let call = Call::decode(opened, &network()).unwrap();
        assert_eq!((call.command.as_str(), call.caller), ("a.b", caller));
        assert_eq!(
            (&call.args[..], &call.kwargs[..]),
            (args, kwargs),
            "not even a digit differs"
        );
        let other = Keyring::from(Key::from_bytes([8; 32]));
        assert_eq!(open(&body, &other, &mut buf), None);
    }

    #[test]
    fn a_call_that_a_python_node_made() {
        // base64.urlsafe_b64encode(Fernet(key).encrypt(json.dumps({…})))
        let text = r#"{"timestamp": 1700000000.25, "command": "__echo__", "args": [], "kwargs": {}, "initiator": "plant.alpha"}"#;
        let call = Call::decode(text, &network()).unwrap();
        assert_eq!(
            (call.command.as_str(), call.caller.as_str()),
            ("__echo__", "alpha")
        );
    }

    #[test]
    fn what_is_no_call() {
        let ok = r#"{"command":"a","initiator":"plant.x"}"#;
        assert!(Call::decode(ok, &network()).is_ok());
        for bad in [
            "",
            "[]",
            r#"{"command":"a"}"#,
            r#"{"initiator":"plant.x"}"#,
            r#"{"command":1,"initiator":"plant.x"}"#,
            r#"{"command":"a","initiator":"other.x"}"#,
            r#"{"command":"a","initiator":"plant.x.y"}"#,
            r#"{"command":"a","command":"b","initiator":"plant.x"}"#,
            r#"{"command":"a","initiator":"plant.x"} "#.trim_end_matches("} "),
        ] {
            assert!(Call::decode(bad, &network()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_both_ways() {
        let text = String::from_utf8(answer_text(b"[1]", 5)).unwrap();
        assert_eq!(read_answer(&text).unwrap(), b"[1]");
        let text = String::from_utf8(relayed_answer_text(404, b"\"no\"")).unwrap();
        assert_eq!(
            read_relayed_answer(&text).unwrap(),
            (404, b"\"no\"".to_vec())
        );
        assert_eq!(read_answer("{}"), None);
        assert_eq!(read_relayed_answer(r#"{"status":"x","result":1}"#), None);
    }
}
