//! What records about streams do, and which of them a peer may send.

use super::ends::{Credit, ReceivingEnd, Violation};
use super::{Ctx, Feedback, LinkId, RequestId, Says, StreamId, Streams};
use crate::wire::Instance;
use crate::wire::record::{Body, Of, Outcome};

/// The peer that has sent a record about a stream, and what decides whether it may speak of one
/// that is not open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker {
    pub(crate) link: LinkId,
    pub(crate) peer: Instance,
    /// The highest number of a call that came from the peer in this session.
    pub(crate) last_call: Option<u64>,
    /// The number that the next call of this node will have.
    pub(crate) next_own: u64,
}

/// What a record about a stream has led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) id: StreamId,
    /// Whether the stream is one of programs and has moved, so that its call has as long again.
    pub(crate) moved: bool,
    pub(crate) next: Next,
}

/// What is to be done after a record about a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    Tell(Feedback),
    /// Those that stand in line may go on.
    Send,
    /// No more will come on the stream.
    Ended,
}

impl Streams {
    /// Takes in a record about a stream. `None` if the stream is over, or goes over another session
    /// now; that is counted.
    pub(crate) fn take_in(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        record: Body<'_>,
    ) -> Result<Option<Step>, Violation> {
        match record {
            Body::Data { of, offset, bytes } => self.data(ctx, speaker, of, offset, bytes),
            Body::End {
                of,
                length,
                outcome,
            } => self.end_came(ctx, speaker, of, length, outcome),
            Body::Credit {
                of,
                received,
                limit,
            } => self.credit(ctx, speaker, of, Credit { received, limit }),
            Body::Stop { of, why } => self.stop(ctx, speaker, of, why),
            _ => Ok(None),
        }
    }

    /// The stream that a record is about, of which the speaker is the sender or the receiver. One
    /// that is over is counted. An honest peer does not speak of one that never was.
    fn find(
        &self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        (channel, number): Of,
        by_sender: bool,
    ) -> Result<Option<StreamId>, Violation> {
        let (caller, was) = if channel.is_callers() == by_sender {
            let was = speaker.last_call.is_some_and(|last| number <= last);
            (speaker.peer, was)
        } else {
            (ctx.instance, number < speaker.next_own)
        };
        let id = RequestId { caller, number }.stream(channel);
        match self.open.get(&id) {
            Some(stream) if stream.peer == speaker.peer => Ok(Some(id)),
            Some(_) => Err(Violation),
            None if was => {
                ctx.stats.stream_stray += 1;
                Ok(None)
            }
            None => Err(Violation),
        }
    }

    /// The receiving end of a record's stream, unless that is over or goes over another session.
    fn find_receiving(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        of: Of,
    ) -> Result<Option<(StreamId, &mut ReceivingEnd)>, Violation> {
        let Some(id) = self.find(ctx, speaker, of, true)? else {
            return Ok(None);
        };
        let into = self.receiving(id).ok_or(Violation)?;
        if into.link() != Some(speaker.link) {
            ctx.stats.stream_stray += 1;
            return Ok(None);
        }
        Ok(Some((id, into)))
    }

    /// A piece of a stream came.
    fn data(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        of: Of,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Option<Step>, Violation> {
        let Some((id, into)) = self.find_receiving(ctx, speaker, of)? else {
            return Ok(None);
        };
        into.data(offset, bytes)?;
        ctx.stats.stream_bytes_in += bytes.len() as u64;
        let mut next = Next::Nothing;
        if !id.is_of_programs() {
            into.keep();
            if let Some(credit) = into.credit_due() {
                next = Next::Tell(Feedback {
                    link: speaker.link,
                    id,
                    says: Says::Credit(credit),
                });
            }
        }
        Ok(Some(self.step(ctx, id, true, next)))
    }

    /// The sender of a stream says how it ends.
    fn end_came(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        of: Of,
        length: u64,
        outcome: Outcome<'_>,
    ) -> Result<Option<Step>, Violation> {
        let Some((id, into)) = self.find_receiving(ctx, speaker, of)? else {
            return Ok(None);
        };
        match outcome {
            Outcome::Whole => into.whole(length)?,
            Outcome::Broken(_) if into.is_ended() => return Err(Violation),
            Outcome::Broken(why) => into.fail(&said(why, "the sender broke it off")),
        }
        Ok(Some(self.step(ctx, id, true, Next::Ended)))
    }

    /// The receiver of a stream says how far it may be sent.
    fn credit(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        of: Of,
        credit: Credit,
    ) -> Result<Option<Step>, Violation> {
        let Some(id) = self.find(ctx, speaker, of, false)? else {
            return Ok(None);
        };
        let out = self.sending(id).ok_or(Violation)?;
        let moved = out.credit(speaker.link, credit)?;
        self.line_up(id);
        Ok(Some(self.step(ctx, id, moved, Next::Send)))
    }

    /// The receiver of a stream takes no more.
    fn stop(
        &mut self,
        ctx: &mut Ctx<'_>,
        speaker: &Speaker,
        of: Of,
        why: &[u8],
    ) -> Result<Option<Step>, Violation> {
        let Some(id) = self.find(ctx, speaker, of, false)? else {
            return Ok(None);
        };
        let out = self.sending(id).ok_or(Violation)?;
        let moved = out.stop(said(why, "the receiver takes no more"));
        Ok(Some(self.step(ctx, id, moved, Next::Nothing)))
    }

    /// Tells the program if the stream has moved and the program waits for that.
    fn step(&mut self, ctx: &mut Ctx<'_>, id: StreamId, moved: bool, next: Next) -> Step {
        if moved {
            self.wake(ctx.outputs, id);
        }
        Step {
            id,
            moved: moved && id.is_of_programs(),
            next,
        }
    }
}

/// Why a stream ended as the peer says, or `nothing` if the peer gives no reason.
fn said(why: &[u8], nothing: &str) -> String {
    match why {
        [] => nothing.to_owned(),
        why => String::from_utf8_lossy(why).into_owned(),
    }
}
