//! What the engine counts. Whatever is dropped or refused is counted here.

crate::stats::stats! {
    /// What an engine has counted since start, and a few current sizes.
    Stats;
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
    /// Datagrams that were no frame, too short for an advert, or no advert inside.
    adverts_malformed,
    /// Datagrams whose token did not open: another key, or tampering.
    adverts_refused,
    /// Adverts older than one already heard of the same instance.
    adverts_stale,
    /// Adverts dropped, over the rate or with the table full.
    adverts_throttled,
    /// Addresses that adverts or peers told of where nothing may be dialled on their word.
    addresses_refused,
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
    /// Links closed for a message of a handshake that was recorded before, out of turn, meant for
    /// another node, of another version, or one too many in a second.
    refused_hello,
    /// Links closed for a record that was malformed, replayed, skipped or out of order.
    refused_record,
    /// Sessions closed because a rule of streams or of broadcasts was broken.
    refused_stream,
    /// Links closed because the handshake took too long.
    timed_out_handshake,
    /// Links closed because the peer was silent, or did not read, for too long.
    timed_out_silent,
    /// Links closed before their handshake to make room for others.
    half_open_evicted,
    /// Sessions closed to make room for others.
    sessions_evicted,
    /// Handshakes of nodes that hold the network key and may not go by their name.
    distrusted,
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
    /// Answers to calls that no program waits for.
    replies_unexpected,
    /// Calls taken in.
    served,
    /// Calls of others that the rules of this node did not allow.
    calls_denied,
    /// Calls recognised as sent before, and not run again.
    served_again,
    /// Calls and answers turned away because too much was in flight, and questions of other nodes
    /// for a session because there were too many in a second.
    overloaded,
    /// Answers that came after their call was over.
    replies_late,
    /// Broadcasts of this node.
    broadcasts_said,
    /// Broadcasts of others, delivered here.
    broadcasts_heard,
    /// Broadcasts of others that were dropped because too much waited for a handler.
    messages_dropped,
    /// Peers told of by others that there was no room to look into.
    hearsay_dropped,
    /// Ends of streams open now.
    streams,
    /// Bytes of streams sent, large messages included; again after a lost session, too.
    stream_bytes_out,
    /// Bytes of streams taken in.
    stream_bytes_in,
    /// Records of streams that are over, or from another session than the one they go over now.
    stream_stray,
    /// Requests and adverts in the protocol of PeerBase 0.7.1 that were turned away.
    compat_refused,
    /// Relays joined now.
    relays_up,
    /// Dials of relays begun.
    relay_dials,
    /// Dials of relays that did not end in having joined.
    relay_dials_failed,
    /// Routes through relays known now.
    routes,
    /// Frames from relays for links that are no more, or from senders that are not known.
    forwards_stray,
    /// Routes that sent nonsense, which their relay was asked to block.
    routes_blocked,
    /// Times a path to a peer was replaced by another.
    paths_changed,
    /// Relays learnt from others and given up because they stayed dead.
    relays_dropped,
}
