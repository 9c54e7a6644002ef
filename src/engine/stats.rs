//! What the engine counts. Whatever is dropped or refused is counted here.

macro_rules! stats {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// Counters since start, and a few current sizes.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Stats {
            /// Every counter with its name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

stats! {
    /// Peers known now.
    peers,
    /// Links open now, in whatever state.
    links,
    /// Calls of ours in flight now.
    calls_open,
    /// Calls of others held now: running, or answered and not yet confirmed.
    serving,
    /// Adverts sent.
    adverts_sent,
    /// Adverts of others that were taken in.
    adverts_heard,
    /// Datagrams that were no frame, or no advert inside.
    adverts_malformed,
    /// Datagrams whose token did not open: another key, or tampering.
    adverts_refused,
    /// Adverts older than one already heard of the same instance.
    adverts_stale,
    /// Datagrams dropped unread, over the rate or with the table full.
    adverts_throttled,
    /// Frames and datagrams of other networks, ignored.
    foreign,
    /// Frames taken in on links.
    frames_in,
    /// Frames sent on links.
    frames_out,
    /// Links closed for bytes that are no frame, or a frame out of place.
    refused_frame,
    /// Links closed for a token that did not open.
    refused_token,
    /// Links closed for a hello meant for somebody else, reflected, or of another version.
    refused_hello,
    /// Links closed for a record that was malformed, replayed, skipped or out of order.
    refused_record,
    /// Links closed because the handshake took too long.
    timed_out_handshake,
    /// Links closed because the peer was silent, or did not read, for too long.
    timed_out_silent,
    /// Links closed before their handshake to make room for others.
    half_open_evicted,
    /// Sessions closed to make room for others.
    sessions_evicted,
    /// Sessions made.
    sessions,
    /// Dials begun.
    dials,
    /// Dials that did not end in a session.
    dials_failed,
    /// Calls begun.
    calls,
    /// Calls sent again after their path died.
    calls_retried,
    /// Answers to calls nobody waits for.
    replies_unexpected,
    /// Calls taken in.
    served,
    /// Calls recognised as sent before, and not run again.
    served_again,
    /// Calls and answers turned away because too much was in flight.
    overloaded,
    /// Answers that came after their call was over.
    replies_late,
}
