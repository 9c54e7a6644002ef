//! `peerbase node`: a node with a console on stdin.

use crate::console::{Answer, execute};
use crate::{Failure, Outcome, logging, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{Event, Message, Node, Path};
use serde_json::json;
use std::io::{BufRead, ErrorKind, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::thread;

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let (mut name, mut folder, mut connect) = (None, None, Vec::new());
    let options = options::parse(&mut parser, |arg, parser| {
        match arg {
            Arg::Value(value) if name.is_none() => name = Some(value.string()?),
            // Where fetched files go, and whose files are offered.
            Arg::Long("files") => folder = Some(parser.value()?),
            Arg::Long("connect") => connect.push(parser.value()?.parse::<SocketAddr>()?),
            arg => return Err(arg.unexpected().into()),
        }
        Ok(())
    })?;
    let name = name.ok_or(Failure::Usage("which name?".into()))?;

    logging::start();
    let builder = options.builder(&name)?.on_message(heard);
    // A node that a signal ends has done what it was for.
    signals::run_beside(builder, 0, move |node| {
        let events = node.events();
        if let Some(folder) = folder {
            node.set_file_dir(folder)?;
            node.refresh()?;
        }
        for address in connect {
            node.add_seed(address)?;
        }
        eprintln!("{name} is ready, listening on port {}", node.port());
        thread::spawn(move || {
            for event in events {
                eprintln!("{}", words(&event));
            }
        });
        console(node)
    })?;
    Ok(())
}

/// Does what is typed, until nothing more is.
fn console(node: &Node) -> Outcome {
    let mut input = std::io::stdin().lock();
    for line in input.by_ref().lines() {
        let line = match line {
            Ok(line) => line,
            Err(e) if e.kind() == ErrorKind::InvalidData => {
                eprintln!("this line is not UTF-8, and was ignored");
                continue;
            }
            // The terminal is gone, for example.
            Err(_) => break,
        };
        match execute(node, &line) {
            Answer::Results(results) => {
                let mut out = std::io::stdout().lock();
                for value in results {
                    writeln!(out, "{value}")?;
                }
                out.flush()?;
            }
            Answer::Words(words) => eprintln!("{words}"),
            Answer::Exit => return Ok(()),
        }
    }
    // A person who closes the terminal is done; a service has no terminal to begin with.
    while !input.is_terminal() {
        thread::park();
    }
    Ok(())
}

/// A message, for whoever reads the output.
fn heard(message: Message) {
    let text = String::from_utf8_lossy(message.data());
    let line = json!({"from": message.sender().as_str(), "message": text, "private": message.is_private()});
    println!("{line}");
}

/// What an event says that may be why a call has failed; nothing for any other.
pub(crate) fn warning(event: &Event) -> Option<String> {
    match event {
        Event::OtherKey(_)
        | Event::OtherVersion(_)
        | Event::HandshakeClosed(_)
        | Event::Distrusted { .. }
        | Event::DistrustedBy { .. }
        | Event::RelayDown { .. } => Some(words(event)),
        _ => None,
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::PeerJoined(name) => format!("{name} joined"),
        Event::PeerLeft(name) => format!("{name} left"),
        Event::PeerRestarted(name) => format!("{name} restarted"),
        Event::NameConflict { wins: true } => "another node has our name; it resolves to us".into(),
        Event::NameConflict { wins: false } => {
            "another node has our name, and it resolves to that one".into()
        }
        Event::OtherKey(from) => format!(
            "somebody at {from} uses the name of this network with another key: compare the keys"
        ),
        Event::OtherVersion(from) => format!(
            "somebody at {from} uses the name of this network in another version of the protocol: \
             update the older node"
        ),
        Event::Distrusted { peer, key, why } => {
            format!(
                "{peer} is not trusted, whose key is {}: {why}",
                key.to_text()
            )
        }
        Event::DistrustedBy { peer, why } => {
            format!("{peer} does not trust this node; it says: {why}")
        }
        Event::PinsFull => "too many names belong to keys already; no more are pinned".into(),
        Event::ListTaken { version, is_own } => match is_own {
            true => format!(
                "this node's own certificate is in revocation list {version}: it needs a new one"
            ),
            false => format!("revocation list {version} has come"),
        },
        Event::HandshakeClosed(from) => format!(
            "{from} closed the link during the handshake: another key, or not a PeerBase node"
        ),
        Event::RelayUp(relay) => format!("relay {relay} is up"),
        Event::RelayUnproven(relay) => {
            format!("relay {relay} has no relay key, so it proves nothing, and neither do we")
        }
        Event::RelayDown { relay, why } => format!("relay {relay} is down: {why}"),
        Event::PathChanged {
            peer,
            path: Path::Direct,
        } => format!("{peer} is reached directly now"),
        Event::PathChanged {
            peer,
            path: Path::Relay(relay),
        } => format!("{peer} is reached through relay {relay} now"),
        other => format!("{other:?}"),
    }
}
