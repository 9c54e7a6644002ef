//! `peerbase node`: a node with a console on stdin.

use crate::console::{Answer, execute};
use crate::{Failure, Outcome, logging, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{Event, Message, Path};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::mpsc;

enum Next {
    Line(String),
    End,
    Stop,
}

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

    let (tell, next) = mpsc::channel();
    let stop = tell.clone();
    // Before the node starts, so that a signal in between is not lost.
    signals::on_stop(move || {
        let _ = stop.send(Next::Stop);
    })?;
    logging::start();
    let node = options.builder(&name)?.on_message(heard).start()?;
    if let Some(folder) = folder {
        node.set_file_dir(folder)?;
        node.refresh()?;
    }
    for address in connect {
        node.add_seed(address)?;
    }
    eprintln!("{name} is ready, listening on port {}", node.port());
    let events = node.events();
    std::thread::spawn(move || {
        for event in events {
            eprintln!("{}", words(&event));
        }
    });
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.send(Next::Line(line)).is_err() {
                return;
            }
        }
        let _ = tell.send(Next::End);
    });

    for step in next {
        match step {
            Next::Line(line) => match execute(&node, &line) {
                Answer::Results(results) => {
                    let mut out = std::io::stdout().lock();
                    for value in results {
                        writeln!(out, "{value}")?;
                    }
                    out.flush()?;
                }
                Answer::Words(words) => eprintln!("{words}"),
                Answer::Exit => break,
            },
            // A person who closes the terminal is done; a service has no terminal to begin with.
            Next::End if std::io::stdin().is_terminal() => break,
            Next::End => {}
            Next::Stop => break,
        }
    }
    node.stop();
    Ok(())
}

/// A message, for whoever reads the output.
fn heard(message: Message) {
    let text = String::from_utf8_lossy(message.data());
    let line = json!({"from": message.sender().as_str(), "message": text, "private": message.is_private()});
    println!("{line}");
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
        Event::RelayUp(relay) => format!("relay {relay} is up"),
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
