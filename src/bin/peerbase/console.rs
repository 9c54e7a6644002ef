//! What a person, or a program, types at a node.

use crate::{Failure, logging, text_file};
use peerbase::{
    Error, Node, NodeName, Path, PeerInfo, Progress, PublicKey, Report, RevocationList,
};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a line was answered with.
pub(crate) enum Answer {
    /// One line of JSON each.
    Results(Vec<Value>),
    /// Words, because it did not work.
    Words(String),
    /// The node is to end.
    Exit,
}

const HELP: &str = "\
peers                                who is there
commands NODE                        what can be called there
call TARGET PATH [JSON]... [K=JSON]...
                                     calls one node, several with commas between, or all with *
msg TEXT                             says something to everyone
tell NODE TEXT                       says something to one
connect IP:PORT                      links to whoever is there, and to whom they know
add FILE                             offers a file; its hash
req HASH                             fetches the file of a hash, into the folder of --files
refresh                              looks at the offered files, and those of that folder, again
save FILE, load FILE                 where the peers are
pins                                 which names belong to which keys
accept NODE KEY                      that from now on a name belongs to this public key
revoke FILE                          hands a revocation list to all nodes of a certified network
debug                                tells what goes on, or no longer
help, exit";

/// Does what a line says.
pub(crate) fn execute(node: &Node, line: &str) -> Answer {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let outcome = match (word, rest.trim()) {
        ("", _) => Ok(Vec::new()),
        ("exit", _) => return Answer::Exit,
        ("help", _) => return Answer::Words(HELP.into()),
        ("peers", _) => Ok(node.peers().iter().map(peer).collect()),
        ("pins", _) => node.pins().map(|pins| pins.iter().map(pin).collect()),
        ("refresh", _) => node.refresh().map(|found| {
            let (added, changed, removed) = (found.added, found.changed, found.removed);
            vec![json!({"added": added, "changed": changed, "removed": removed})]
        }),
        ("debug", _) => Ok(vec![json!({"debug": logging::toggle()})]),
        ("call", rest) => match parse_call(rest) {
            Ok(call) => perform(node, &call, TIMEOUT),
            Err(why) => {
                return Answer::Words(format!("{why}; call TARGET PATH [JSON]... [K=JSON]..."));
            }
        },
        (
            word @ ("commands" | "msg" | "tell" | "connect" | "add" | "req" | "save" | "load"
            | "accept" | "revoke"),
            "",
        ) => {
            return Answer::Words(format!("{word} what? See help"));
        }
        (word, rest) => match with_argument(node, word, rest) {
            Some(outcome) => outcome.map(|value| vec![value]),
            None => return Answer::Words(format!("no such command: {word}; see help")),
        },
    };
    match outcome {
        Ok(results) => Answer::Results(results),
        Err(e) => Answer::Words(e.to_string()),
    }
}

fn with_argument(node: &Node, word: &str, rest: &str) -> Option<Result<Value, Error>> {
    Some(match word {
        "commands" => node.get_commands(rest, TIMEOUT).map(|list| json!(list)),
        "msg" => node.broadcast(rest.as_bytes(), TIMEOUT).map(|r| report(&r)),
        "tell" => {
            let (name, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let told = node.send_to(name, text.trim_start().as_bytes(), TIMEOUT);
            told.map(|()| json!({"told": name}))
        }
        "connect" => match rest.parse() {
            Ok(address) => {
                let who = node.connect(address, TIMEOUT);
                who.map(|name| json!({"connected": name.as_str()}))
            }
            Err(_) => Err(Error::Address(rest.into())),
        },
        "add" => node
            .add_file(rest)
            .map(|hash| json!({"hash": hash, "path": rest})),
        "req" => {
            let shown = std::io::stderr().is_terminal();
            let got = node.request_file(rest, TIMEOUT, |p| {
                if shown {
                    bar(p);
                }
            });
            if shown {
                eprintln!();
            }
            got.map(|file| json!({"path": file.path, "size": file.size}))
        }
        "save" => node.save_state(rest).map(|()| json!({"saved": rest})),
        "load" => node.load_state(rest).map(|count| json!({"loaded": count})),
        "accept" => {
            let (name, key) = rest.rsplit_once(char::is_whitespace).unwrap_or((rest, ""));
            let name = name.trim_end();
            let key = PublicKey::parse(key);
            let accepted = key.and_then(|key| node.accept_key(name, &key));
            accepted.map(|()| json!({"accepted": name}))
        }
        "revoke" => match text_file::read(rest.as_ref(), RevocationList::parse) {
            Ok(list) => node
                .revoke(&list)
                .map(|is_new| json!({"version": list.version(), "new": is_new})),
            Err(Failure::Usage(why) | Failure::Failed(why)) => Err(Error::Refused(why)),
        },
        _ => return None,
    })
}

fn pin((name, key): &(NodeName, PublicKey)) -> Value {
    let fingerprint = key.fingerprint().to_string();
    json!({"name": name.as_str(), "key": key.to_text(), "fingerprint": fingerprint})
}

fn peer(p: &PeerInfo) -> Value {
    let path = p.path.as_ref().map(Path::to_string);
    let ping = p.ping.map(|ping| {
        let us = ping.round_trip.as_micros() as u64;
        json!({"us": us, "ago_ms": ping.ago.as_millis() as u64})
    });
    let fingerprint = p.key.map(|key| key.fingerprint().to_string());
    json!({
        "name": p.name.as_str(),
        "address": p.address,
        "reachable": p.reachable,
        "path": path,
        "ping": ping,
        "fingerprint": fingerprint,
    })
}

fn report(r: &Report) -> Value {
    let names: Vec<&str> = r.names.iter().map(|n| n.as_str()).collect();
    json!({"delivered": r.delivered, "failed": r.failed, "names": names, "cut": r.cut})
}

/// How far a file has come, on one line of a terminal.
fn bar(p: Progress) {
    let width = 40;
    let done = match p.size {
        0 => width,
        size => p.received * width / size,
    };
    let filled: String = (0..width)
        .map(|i| if i < done { '#' } else { '.' })
        .collect();
    let (received, size, holders) = (p.received / 1_000, p.size / 1_000, p.holders);
    let line = format!("\r[{filled}] {received}/{size} kB from {holders}");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A call as typed.
#[derive(Default)]
pub(crate) struct Typed {
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map<String, Value>,
}

fn parse_call(text: &str) -> Result<Typed, String> {
    let mut words = text.splitn(3, char::is_whitespace);
    let target = words
        .next()
        .filter(|w| !w.is_empty())
        .ok_or("which node?")?;
    let path = words.next().ok_or("which command?")?;
    let mut call = Typed {
        target: target.into(),
        path: path.into(),
        ..Typed::default()
    };
    let mut rest = words.next().unwrap_or("").trim_start();
    while !rest.is_empty() {
        let name = rest.split_once('=').map(|(name, _)| name);
        let name = name.filter(|n| n.chars().all(|c| c.is_alphanumeric() || c == '_'));
        let value_at = name.map_or(0, |n| n.len() + 1);
        let mut stream = serde_json::Deserializer::from_str(&rest[value_at..]).into_iter::<Value>();
        let value = stream
            .next()
            .ok_or("a value is missing")?
            .map_err(|e| e.to_string())?;
        let end = value_at + stream.byte_offset();
        match name {
            Some(name) => {
                call.kwargs.insert(name.to_owned(), value);
            }
            None => call.args.push(value),
        }
        rest = rest[end..].trim_start();
    }
    Ok(call)
}

/// Calls, and gives a value for one target, an object for each of several.
pub(crate) fn perform(
    node: &Node,
    call: &Typed,
    timeout: Duration,
) -> Result<Vec<Value>, peerbase::Error> {
    let mut builder = node.call(&call.path).timeout(timeout);
    for arg in &call.args {
        builder = builder.arg(arg.clone());
    }
    for (name, value) in &call.kwargs {
        builder = builder.kwarg(name, value.clone());
    }
    let builder = match call.target.as_str() {
        "*" => builder.to_all(),
        list if list.contains(',') => builder.to_each(list.split(',')),
        one => return builder.to(one).send().map(|value| vec![value]),
    };
    let results = builder.send_all()?.into_iter().map(|r| match r.result {
        Ok(value) => json!({"node": r.node.as_str(), "value": value}),
        Err(e) => json!({"node": r.node.as_str(), "error": e.to_string(), "code": e.code() as i32}),
    });
    Ok(results.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_spaces_are_one_argument() {
        let call = parse_call(r#"roof a.b 1 "two words" [3, 4] k={"x": 5} t=true"#)
            .ok()
            .unwrap();
        assert_eq!(call.args, [json!(1), json!("two words"), json!([3, 4])]);
        assert_eq!(
            Value::Object(call.kwargs),
            json!({"k": {"x": 5}, "t": true})
        );
        assert!(
            parse_call("roof").is_err()
                && parse_call("roof p {").is_err()
                && parse_call("").is_err()
        );
    }
}
