//! What comes on links, in words for other parts to act on.

use super::RelayFault;
use crate::handshake::{Question, Refused};
use crate::wire::Instance;
use crate::wire::advert::Advert;
use crate::wire::record::Body;
use crate::wire::relay::Route;
use std::time::Duration;

/// Why a link is refused; each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Frame,
    Token,
    Hello,
    Record,
}

impl From<Refused> for Refuse {
    fn from(why: Refused) -> Refuse {
        match why {
            Refused::Unopened => Refuse::Token,
            Refused::Malformed => Refuse::Hello,
        }
    }
}

/// What came on a link, for other parts to act on.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    /// A frame that the links have dealt with themselves.
    Nothing,
    /// A record of a session.
    Record { peer: Instance, body: Body<'a> },
    /// Another node asks for a session.
    Question(Box<Question>),
    /// The node that we have asked for a session answers.
    Answer(Answer),
    /// The node that asked for a session has proved itself: the session is open.
    Opened,
    /// The echo of a keepalive; from this peer, if it had been challenged to show that it lives.
    Echo(Option<Instance>),
    /// The other side has ended a link through a relay.
    Ended {
        /// Whether because of what came there: the relay has altered what it carried.
        altered: bool,
    },
    /// The other side broke a rule.
    Refused(Refuse),
    /// A relay handed us the sealed advert of a member at this route; it is `None` if it does not
    /// open.
    Advert(Route, Option<Advert>),
    /// A relay has taken us in.
    Joined {
        /// Whether it has proved that it has the relay key, and we have.
        is_proven: bool,
    },
    /// A relay says that a route leads nowhere.
    Gone(Route),
    /// A relay has dropped something of a session, which has to end.
    Busy,
    /// A relay takes more of a session.
    Credit,
    /// A relay breaks a rule, or refuses us.
    GiveUp(RelayFault),
}

/// The answer to our question, with which [`Links::open`] opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The instance that was dialled, or else the one that answered.
    pub(crate) dialled: Instance,
    /// How long the way there and back took.
    pub(crate) took: Duration,
    /// Whether it went through a relay.
    pub(crate) relayed: bool,
}
