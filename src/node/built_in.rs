//! The commands that every node has.

use super::request::{Answer, Texts};
use crate::json_object::Object;
use crate::wire::record::Status;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuiltIn {
    Echo,
    ListCommands,
    Peers,
}

impl BuiltIn {
    const ALL: [BuiltIn; 3] = [BuiltIn::Echo, BuiltIn::ListCommands, BuiltIn::Peers];

    fn path(self) -> &'static str {
        match self {
            BuiltIn::Echo => "__echo__",
            BuiltIn::ListCommands => "__list_commands__",
            BuiltIn::Peers => "__peers__",
        }
    }

    /// The command of this path, if it is built in.
    pub(super) fn find(path: &str) -> Option<BuiltIn> {
        let mut all = BuiltIn::ALL.into_iter();
        all.find(|command| command.path() == path)
    }

    /// Answers a call. `paths` lists the commands of the program.
    pub(super) fn run(
        self,
        args: Vec<u8>,
        kwargs: Vec<u8>,
        answer: Answer,
        paths: impl FnOnce() -> Vec<String>,
    ) {
        match self {
            BuiltIn::Echo => echo(args, kwargs, answer),
            BuiltIn::ListCommands => list_commands(paths(), answer),
            BuiltIn::Peers => peers(answer),
        }
    }
}

/// Answers with what it was called with.
fn echo(args: Vec<u8>, kwargs: Vec<u8>, answer: Answer) {
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

/// Answers with the paths of the program's commands and of these, but not of those that are
/// reserved for files.
fn list_commands(mut list: Vec<String>, answer: Answer) {
    list.extend(BuiltIn::ALL.map(|command| command.path().to_owned()));
    // Texts in a list: nothing that JSON could not say.
    let text = serde_json::to_vec(&list).unwrap_or_default();
    answer.send(Status::Value, text);
}

/// Answers with the names of the peers that are known, and how each is reached.
fn peers(answer: Answer) {
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
        for command in BuiltIn::ALL {
            assert_eq!(BuiltIn::find(command.path()), Some(command));
        }
        for path in ["", "__file__", "echo"] {
            assert_eq!(BuiltIn::find(path), None);
        }
    }
}
