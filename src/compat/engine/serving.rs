//! What Python nodes ask of us, straight or through a relay, until it is answered.

use super::Output;
use super::context::Ctx;
use crate::address::RelayAddress;
use crate::compat::http::write_answer;
use crate::compat::message::{Call, answer_text, open, relayed_answer_text, seal};
use crate::compat::post::{Kind, Packet};
use crate::compat::python_text::{ctime, repr};
use crate::compat::status::{answer_lost, told};
use crate::error::Error;
use crate::json::{self, quoted};
use crate::limits::ASKED_ROOM;
use crate::name::{CommandPath, NodeName};
use crate::protocol::LinkId;
use crate::rules::Rules;
use crate::shares::{Amount, Shares};
use crate::site_share::is_within_share;
use crate::table::Table;
use crate::wire::record::Status;
use std::net::IpAddr;

/// How a caller is answered.
#[derive(Clone, Debug)]
pub(super) enum Back {
    /// On the link that its call came by.
    Straight(LinkId),
    /// With a packet.
    Relayed(Return),
}

/// Where a packet with an answer goes.
#[derive(Clone, Debug)]
pub(super) struct Return {
    pub(super) relay: RelayAddress,
    /// The id of the call's packet.
    pub(super) id: String,
    pub(super) to: NodeName,
}

/// Where a call comes from. Callers are counted by it, because their names are not proven.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// An address, or an IPv6 /48.
    Site(IpAddr),
    Relay(RelayAddress),
}

/// A call that the program has.
#[derive(Debug)]
struct Served {
    /// None once no caller waits any more.
    back: Option<Back>,
    source: Source,
    command: String,
    /// What it asks takes so many bytes.
    bytes: usize,
}

/// An answer that is to be given back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) back: Back,
    /// The HTTP status.
    pub(super) status: u16,
    /// A JSON text.
    pub(super) value: Vec<u8>,
}

/// What a call asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing that a path can name.
    Nothing,
    /// What a Python node answers itself; of these callers expect what their own would say.
    Echo,
    Peers,
    /// A command of the program.
    Command(CommandPath),
}

impl Work {
    pub(super) fn of(call: &Call, rules: &Rules) -> Work {
        match CommandPath::new(&call.command) {
            Err(_) => Work::Nothing,
            // The native engine refuses it, as it does a command of the program.
            Ok(path) if rules.cover(path.as_str()) => Work::Command(path),
            Ok(path) if path.as_str() == "__echo__" => Work::Echo,
            Ok(path) if path.as_str() == "__peers__" => Work::Peers,
            Ok(path) => Work::Command(path),
        }
    }
}

/// Opens and reads a call: `None` if it is not sealed with our key, else what is wrong with it, if
/// anything.
pub(super) fn read(ctx: &mut Ctx<'_>, body: &[u8]) -> Option<Result<Call, &'static str>> {
    let text = open(body, &ctx.config.keys, ctx.opened)?;
    Some(Call::decode(text, &ctx.config.network))
}

/// What an echo is answered with.
pub(super) fn echo(unix: u64, args: &[u8], kwargs: &[u8]) -> Result<String, Error> {
    json::check_args(args)?;
    json::check_kwargs(kwargs)?;
    let mut text = String::from("Echoed args ");
    repr(&String::from_utf8_lossy(args), &mut text);
    text.push_str(" and kwargs ");
    repr(&String::from_utf8_lossy(kwargs), &mut text);
    Ok(quoted(&format!("{text} at time [{}]", ctime(unix))))
}

/// The whole HTTP answer that carries a value straight back.
pub(super) fn straight_answer(ctx: &mut Ctx<'_>, status: u16, value: &[u8]) -> Vec<u8> {
    let (keys, unix) = (&ctx.config.keys, ctx.now.unix);
    let mut sealed = seal(&answer_text(value, unix), keys, unix, ctx.entropy);
    sealed.push(b'\n');
    let mut answer = Vec::with_capacity(sealed.len() + 256);
    let kind = "text/plain; charset=utf-8";
    write_answer(status, kind, "", &sealed, &mut answer);
    answer
}

/// The packet that carries a value back through a relay.
pub(super) fn relayed_answer(ctx: &mut Ctx<'_>, to: &Return, status: u16, value: &[u8]) -> Packet {
    let (keys, unix) = (&ctx.config.keys, ctx.now.unix);
    let sealed = seal(&relayed_answer_text(status, value), keys, unix, ctx.entropy);
    Packet {
        id: to.id.clone(),
        originator: ctx.config.name.clone(),
        kind: Kind::Response,
        data: String::from_utf8_lossy(&sealed).into_owned(),
        remote: to.relay.to_string(),
    }
}

/// Bytes that a call takes until the program has answered it.
fn size(call: &Call) -> usize {
    call.command.len() + call.args.len() + call.kwargs.len() + ASKED_ROOM
}

/// Calls of others that the program has not answered yet. Each counts until then, even if its
/// caller has hung up: the program still holds it.
#[derive(Debug, Default)]
pub(super) struct Serving {
    served: Table<u64, Box<Served>>,
    /// Calls of all callers together and of each source, and bytes of what they ask.
    shares: Shares<Source>,
    next_ticket: u64,
}

impl Serving {
    /// Whether there is room for one more call of a source, in number and in bytes. It has as many
    /// calls as one peer may, and there are places for twice as many; of these, and of the bytes,
    /// it has no more than it leaves for others.
    pub(super) fn has_room_for(&self, ctx: &Ctx<'_>, source: &Source, call: &Call) -> bool {
        let (limits, bytes) = (&ctx.config.limits, size(call));
        let (all, own) = (self.shares.all(), self.shares.of(source));
        is_within_share(all.count + 1, own.count + 1, 2 * limits.served_per_peer)
            && is_within_share(all.bytes + bytes, own.bytes + bytes, limits.message_bytes)
    }

    /// Begins to answer a call; its ticket.
    pub(super) fn add(&mut self, source: Source, call: &Call, back: Back) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let served = Served {
            back: Some(back),
            source: source.clone(),
            command: call.command.clone(),
            bytes: size(call),
        };
        self.shares.add(source, Amount::one(served.bytes));
        self.served.insert(ticket, Box::new(served));
        ticket
    }

    /// How the caller is answered; none if the call has ended, or no caller waits.
    pub(super) fn back(&self, ticket: u64) -> Option<Back> {
        self.served.get(&ticket)?.back.clone()
    }

    /// Ends with an answer: a value is a JSON text, anything else words. `has_room` says whether
    /// there is room for it. None if the call has ended before, or no caller waits.
    pub(super) fn end(
        &mut self,
        ticket: u64,
        status: Status,
        body: &[u8],
        has_room: bool,
    ) -> Option<Reply> {
        let served = *self.served.remove(&ticket)?;
        self.shares
            .remove(&served.source, Amount::one(served.bytes));
        let back = served.back?;
        let has_run = status.is_value() || matches!(status, Status::Failed | Status::TooLarge);
        let (status, value) = match has_run && !has_room {
            // Not the 503 after which a caller may try again.
            true => answer_lost(),
            false => told(status, body, &served.command),
        };
        Some(Reply {
            back,
            status,
            value,
        })
    }

    /// No caller waits for this answer any more. The call counts until the program answers it.
    pub(super) fn withdraw(&mut self, ctx: &mut Ctx<'_>, ticket: u64) {
        let served = self.served.get_mut(&ticket);
        if served.is_some_and(|served| served.back.take().is_some()) {
            ctx.outputs.push_back(Output::Withdrawn(ticket));
        }
    }

    pub(super) fn clear(&mut self) {
        self.served = Table::default();
        self.shares = Shares::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::{at, core, name};
    use super::*;
    use crate::limits::Limits;

    const BACK: Back = Back::Straight(LinkId(5));

    fn source(last: u8) -> Source {
        Source::Site([10, 0, 0, last].into())
    }

    fn call(command: &str) -> Call {
        Call {
            command: command.into(),
            args: b"[1]".to_vec(),
            kwargs: b"{}".to_vec(),
            caller: name("beta"),
        }
    }

    #[test]
    fn a_call_is_answered_once_under_its_ticket() {
        let (mut core, mut serving) = (core(Limits::default()), Serving::default());
        let call = call("add");
        let mut add = || serving.add(source(1), &call, BACK);
        let (one, two) = (add(), add());
        assert_ne!(one, two);
        let ctx = &mut core.at(at(0));
        let reply = serving.end(one, Status::Value, b"3", true).unwrap();
        assert_eq!((reply.status, &reply.value[..]), (200, &b"3"[..]));
        assert!(serving.end(one, Status::Value, b"3", true).is_none());
        serving.withdraw(ctx, two);
        serving.withdraw(ctx, two);
        assert!(matches!(core.outputs.pop_front(), Some(Output::Withdrawn(n)) if n == two));
        assert!(core.outputs.is_empty());
    }

    #[test]
    fn a_call_counts_until_the_program_answers_it_even_if_its_caller_has_hung_up() {
        let limits = Limits {
            served_per_peer: 1,
            ..Limits::default()
        };
        let (mut core, mut serving) = (core(limits), Serving::default());
        let (ctx, call) = (&mut core.at(at(0)), call("add"));
        assert!(serving.has_room_for(ctx, &source(1), &call));
        let ticket = serving.add(source(1), &call, BACK);
        assert!(!serving.has_room_for(ctx, &source(1), &call));
        serving.withdraw(ctx, ticket);
        let has_room = serving.has_room_for(ctx, &source(1), &call);
        assert!(!has_room, "the program has it");
        let reply = serving.end(ticket, Status::Value, b"3", true);
        assert!(reply.is_none(), "nobody waits for it");
        assert!(serving.has_room_for(ctx, &source(1), &call));
    }

    #[test]
    fn the_calls_of_one_source_leave_places_for_those_of_others() {
        let limits = Limits {
            served_per_peer: 4,
            ..Limits::default()
        };
        let (mut core, mut serving) = (core(limits), Serving::default());
        let (ctx, call) = (&core.at(at(0)), call("add"));
        let relay = Source::Relay(RelayAddress::new("relay:80").unwrap());
        let mut fill = |source: &Source| {
            let mut count = 0;
            while serving.has_room_for(ctx, source, &call) {
                serving.add(source.clone(), &call, BACK);
                count += 1;
            }
            count
        };
        assert_eq!(fill(&relay), 4, "as many as one peer may have");
        assert_eq!((fill(&source(1)), fill(&source(2))), (2, 1));
        assert_eq!(fill(&relay), 0);
    }

    #[test]
    fn what_calls_ask_is_bounded_in_bytes_for_each_source() {
        let limits = Limits {
            message_bytes: 4 * (ASKED_ROOM + 8),
            ..Limits::default()
        };
        let (mut core, mut serving) = (core(limits), Serving::default());
        let (ctx, call) = (&mut core.at(at(0)), call("add"));
        let first = serving.add(source(1), &call, BACK);
        assert!(serving.has_room_for(ctx, &source(1), &call));
        serving.add(source(1), &call, BACK);
        assert!(!serving.has_room_for(ctx, &source(1), &call), "half");
        assert!(serving.has_room_for(ctx, &source(2), &call));
        serving.end(first, Status::Value, b"3", true);
        assert!(serving.has_room_for(ctx, &source(1), &call));
    }

    #[test]
    fn a_caller_is_told_in_words_and_that_its_command_ran_if_there_is_no_room() {
        let mut serving = Serving::default();
        for (status, has_room, code, words) in [
            (Status::NotFound, true, 404, "\"CMD \\\"add\\\" NOT FOUND\""),
            (Status::Refused, true, 403, "\"why\""),
            (
                Status::NotAllowed,
                true,
                403,
                "\"the rules of this node let no Python node call add\"",
            ),
            (Status::Failed, true, 500, "\"why\""),
            // That did not run, whether there is room or not.
            (Status::Refused, false, 403, "\"why\""),
            (
                Status::Value,
                false,
                500,
                "\"the command ran, but there was no room for its answer\"",
            ),
        ] {
            let ticket = serving.add(source(1), &call("add"), BACK);
            let reply = serving.end(ticket, status, b"why", has_room).unwrap();
            let value = String::from_utf8(reply.value).unwrap();
            assert_eq!((reply.status, &value[..]), (code, words));
        }
    }

    #[test]
    fn a_call_is_read_if_it_is_sealed_with_our_key() {
        let mut core = core(Limits::default());
        let ctx = &mut core.at(at(0));
        assert!(read(ctx, b"clear").is_none());
        let sealed = seal(b"{}", &ctx.config.keys, 0, ctx.entropy);
        assert!(matches!(read(ctx, &sealed), Some(Err(_))));
    }

    #[test]
    fn what_a_python_node_answers_itself_is_no_command_of_the_program() {
        let work = |command, rules: &Rules| Work::of(&call(command), rules);
        let mut rules = Rules::default();
        assert_eq!(work("__echo__", &rules), Work::Echo);
        assert_eq!(work("__peers__", &rules), Work::Peers);
        assert_eq!(work("", &rules), Work::Nothing);
        let command = |path| Work::Command(CommandPath::new(path).unwrap());
        assert_eq!(work("add", &rules), command("add"));
        rules.allow("**", "name:beta").unwrap();
        assert_eq!(work("__echo__", &rules), command("__echo__"));
        assert_eq!(work("__peers__", &rules), command("__peers__"));
        assert!(echo(0, b"[1]", b"{}").unwrap().contains("Echoed args "));
        assert!(echo(0, b"{}", b"{}").is_err());
    }

    #[test]
    fn an_answer_through_a_relay_has_the_id_of_its_call() {
        let mut core = core(Limits::default());
        let to = Return {
            relay: RelayAddress::new("relay:80").unwrap(),
            id: "p1".into(),
            to: name("beta"),
        };
        let ctx = &mut core.at(at(0));
        let packet = relayed_answer(ctx, &to, 200, b"3");
        assert_eq!((&packet.id[..], packet.kind), ("p1", Kind::Response));
        let keys = &ctx.config.keys;
        let text = open(packet.data.as_bytes(), keys, ctx.opened).unwrap();
        let answer = crate::compat::message::read_relayed_answer(text);
        assert_eq!(answer, Some((200, b"3".to_vec())));
    }
}
