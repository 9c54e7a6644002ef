//! The commands that every node has.

use super::command::Registry;
use super::request::{Answer, Texts};
use crate::json_object::Object;
use crate::wire::record::Status;

const ECHO: &str = "__echo__";
const LIST_COMMANDS: &str = "__list_commands__";
const PEERS: &str = "__peers__";

type BuiltIn = fn(&Registry, Vec<u8>, Vec<u8>, Answer);

/// The command of this name, if there is one.
pub(super) fn find(path: &str) -> Option<BuiltIn> {
    match path {
        ECHO => Some(echo),
        LIST_COMMANDS => Some(list_commands),
        PEERS => Some(peers),
        _ => None,
    }
}

/// Answers with what it was called with.
fn echo(_: &Registry, args: Vec<u8>, kwargs: Vec<u8>, answer: Answer) {
    match Texts::check(args, kwargs) {
        Ok(texts) => answer.send(Status::Value, put_together(texts.args, &texts.kwargs)),
        Err(e) => answer.send(Status::Refused, e.to_string().into_bytes()),
    }
}

/// Both texts were checked, so they can be put together as they are; in place, because they can be
/// large.
fn put_together(args: Vec<u8>, kwargs: &[u8]) -> Vec<u8> {
    const PARTS: [&[u8]; 3] = [b"{\"args\":", b",\"kwargs\":", b"}"];
    let mut text = args;
    text.reserve_exact(PARTS.iter().map(|part| part.len()).sum::<usize>() + kwargs.len());
    text.splice(0..0, PARTS[0].iter().copied());
    text.extend_from_slice(PARTS[1]);
    text.extend_from_slice(kwargs);
    text.extend_from_slice(PARTS[2]);
    text
}

/// Answers with the paths of all commands but the reserved ones of files.
fn list_commands(registry: &Registry, _: Vec<u8>, _: Vec<u8>, answer: Answer) {
    let mut list = registry.paths();
    list.extend([ECHO, LIST_COMMANDS, PEERS].map(str::to_owned));
    // Texts in a list: nothing that JSON could not say.
    let text = serde_json::to_vec(&list).unwrap_or_default();
    answer.send(Status::Value, text);
}

/// Answers with the names of the peers that are known, and how each is reached.
fn peers(_: &Registry, _: Vec<u8>, _: Vec<u8>, answer: Answer) {
    let mut object = Object::new();
    for peer in answer.peers() {
        let how = peer
            .path
            .map_or("known".to_owned(), |path| path.to_string());
        object.text(peer.name.as_str(), &how);
    }
    answer.send(Status::Value, object.end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_the_texts_as_they_came() {
        let text = put_together(b"[1, 2]".to_vec(), b"{\"a\": []}");
        assert_eq!(text, b"{\"args\":[1, 2],\"kwargs\":{\"a\": []}}");
    }

    #[test]
    fn no_other_command_is_built_in() {
        assert!(
            [ECHO, LIST_COMMANDS, PEERS]
                .into_iter()
                .all(|path| find(path).is_some())
        );
        assert!(
            ["", "__file__", "echo"]
                .into_iter()
                .all(|path| find(path).is_none())
        );
    }
}
