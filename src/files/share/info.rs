//! Telling other nodes whether a file is offered.

use super::line::{Asker, Line};
use super::{Offer, Share};
use crate::files::FileHash;
use crate::json_object::Object;
use crate::logging::record;
use crate::node::Call;
use crate::signals;
use serde_json::Value;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Questions of other nodes whether a file is offered, for whose answers the disk must be asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: Line<Question>,
    /// Whether a thread answers them.
    answered: bool,
}

/// A question whether a file is offered.
#[derive(Debug)]
struct Question {
    hash: FileHash,
    call: Call,
}

impl Share {
    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a file is offered. An offered file may have changed meanwhile, and the event loop
/// must not wait for the disk, or for the server on which it is. So one thread looks, for all
/// questions.
pub(super) fn tell(share: &Arc<Share>, call: Call) {
    let asked = call.args().first().and_then(Value::as_str);
    let hash = asked.and_then(|text| FileHash::parse(text).ok());
    let Some(hash) = hash.filter(|hash| share.has_offered(*hash)) else {
        let _ = call.reply_text(b"null".to_vec());
        return;
    };
    // Nobody waits for the answer of a call that is over, and Python nodes do not ask for files.
    let Some(source) = call.source() else {
        let _ = call.turn_away();
        return;
    };
    let name = call.caller().clone();
    let mut questions = share.questions();
    let question = Question { hash, call };
    if let Err(refused) = questions.waiting.push(Asker { source, name }, question) {
        drop(questions);
        let _ = refused.call.turn_away();
        return;
    }
    if std::mem::replace(&mut questions.answered, true) {
        return;
    }
    drop(questions);
    let answers = Answers {
        share: share.clone(),
        over: false,
    };
    if let Err(e) = signals::spawn("peerbase-file", move || answers.run()) {
        record!(Warn, "starting to look for a file: {e}");
    }
}

/// The thread that answers questions until there are none. If it cannot be started, or panics, the
/// callers of the waiting questions are told that there is no answer, and the next question starts
/// the thread again.
struct Answers {
    share: Arc<Share>,
    /// Whether no question was left.
    over: bool,
}

impl Answers {
    fn run(mut self) {
        while let Some(Question { hash, call }) = self.next() {
            let _ = call.reply_text(info(self.share.find(hash)));
        }
    }

    fn next(&mut self) -> Option<Question> {
        let mut questions = self.share.questions();
        let next = questions.waiting.pop();
        questions.answered = next.is_some();
        self.over = next.is_none();
        next
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if !self.over {
            // Dropped outside the lock, because a call that is dropped is answered.
            let left = std::mem::take(&mut *self.share.questions());
            drop(left);
        }
    }
}

fn info(offer: Option<Offer>) -> Vec<u8> {
    let Some(offer) = offer else {
        return b"null".to_vec();
    };
    let mut object = Object::new();
    object.plain("size", offer.stamp.size);
    match offer.path.file_name().and_then(|name| name.to_str()) {
        Some(name) => object.text("name", name),
        None => object.plain("name", "null"),
    }
    object.end()
}
