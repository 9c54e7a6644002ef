//! What a person, or a program, types at a node.

use peerbase::{Node, Path};
use serde_json::{Map, Value, json};
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

/// Does what a line says.
pub(crate) fn execute(node: &Node, line: &str) -> Answer {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "" => Answer::Results(Vec::new()),
        "exit" => Answer::Exit,
        "peers" => Answer::Results(
            node.peers()
                .iter()
                .map(|p| {
                    let path = match &p.path {
                        Some(Path::Direct) => json!("direct"),
                        Some(Path::Relay(relay)) => json!(format!("relay {relay}")),
                        _ => Value::Null,
                    };
                    json!({"name": p.name.as_str(), "address": p.address, "reachable": p.reachable, "path": path})
                })
                .collect(),
        ),
        "call" => match parse_call(rest) {
            Ok(call) => match perform(node, &call, TIMEOUT) {
                Ok(results) => Answer::Results(results),
                Err(e) => Answer::Words(e.to_string()),
            },
            Err(why) => Answer::Words(format!("{why}; call TARGET PATH [JSON]... [K=JSON]...")),
        },
        _ => Answer::Words("commands: peers, call TARGET PATH [JSON]... [K=JSON]..., exit".into()),
    }
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
