//! `peerbase call`: one call, and its answer.

use crate::console::{Typed, perform};
use crate::node::warning;
use crate::{Failure, Outcome, options, signals};
use lexopt::{Arg, ValueExt};
use peerbase::{ADVERTISE_INTERVAL, Entropy, Node, OsEntropy};
use serde_json::Value;
use std::time::{Duration, Instant};

fn json(text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_err(|e| Failure::Usage(format!("not JSON: {text}: {e}")))
}

pub(crate) fn run(mut parser: lexopt::Parser) -> Outcome {
    let (mut values, mut call, mut timeout) =
        (Vec::new(), Typed::default(), Duration::from_secs(10));
    let options = options::parse(&mut parser, |arg, parser| {
        match arg {
            Arg::Value(value) => values.push(value.string()?),
            Arg::Long("kw") => {
                let text = parser.value()?.string()?;
                let (name, value) = text
                    .split_once('=')
                    .ok_or(Failure::Usage("--kw K=JSON".into()))?;
                call.kwargs.insert(name.to_owned(), json(value)?);
            }
            Arg::Long("timeout") => {
                let seconds: f64 = parser.value()?.parse()?;
                timeout = Duration::try_from_secs_f64(seconds)
                    .map_err(|_| Failure::Usage("--timeout must be seconds".into()))?;
            }
            arg => return Err(arg.unexpected().into()),
        }
        Ok(())
    })?;
    let mut values = values.into_iter();
    call.target = values.next().ok_or(Failure::Usage("which node?".into()))?;
    call.path = values
        .next()
        .ok_or(Failure::Usage("which command?".into()))?;
    call.args = values.map(|v| json(&v)).collect::<Outcome<_>>()?;

    // Names are unique, and several of these may run at once.
    let name = match options.certified_name() {
        Some(name) => name,
        None => format!("call-{:08x}", u32::from_be_bytes(OsEntropy::new()?.array())),
    };
    let builder = options.builder(&name)?;
    let values = signals::run_beside(builder, 1, move |node| {
        if call.target == "*" {
            hear_everyone(node);
        }
        let events = node.events();
        let performed = perform(node, &call, timeout);
        if performed.is_err() {
            // What has happened meanwhile may say why.
            let happened = std::iter::from_fn(|| events.next_timeout(Duration::ZERO));
            for words in happened.filter_map(|event| warning(&event)) {
                eprintln!("{words}");
            }
        }
        Ok(performed?)
    })?;
    let values = values.ok_or(Failure::Failed("ended by a signal".into()))?;
    for value in values {
        println!("{value}");
    }
    Ok(())
}

/// Everyone is heard once in an interval; whoever is greeted at once need not wait, but a node that
/// is busy greeting others answers with its next advert.
fn hear_everyone(node: &Node) {
    let until = Instant::now() + ADVERTISE_INTERVAL + ADVERTISE_INTERVAL / 4;
    let events = node.events();
    let left = || until.saturating_duration_since(Instant::now());
    while events.next_timeout(left()).is_some() {}
}
