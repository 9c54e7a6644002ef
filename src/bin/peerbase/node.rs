//! `peerbase node`: a node with a console on stdin.

use crate::console::{Answer, execute};
use crate::{Failure, Outcome, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{Event, Path};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::mpsc;

enum Next {
    Line(String),
    End,
    Stop,
}

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let mut name = None;
    let options = options::parse(&mut parser, |arg, _| match arg {
        Arg::Value(value) if name.is_none() => {
            name = Some(value.string()?);
            Ok(())
        }
        arg => Err(arg.unexpected().into()),
    })?;
    let name = name.ok_or(Failure::Usage("which name?".into()))?;

    let (tell, next) = mpsc::channel();
    let stop = tell.clone();
    // Before the node starts, so that a signal in between is not lost.
    signals::on_stop(move || {
        let _ = stop.send(Next::Stop);
    })?;
    let node = options.builder(&name)?.start()?;
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
