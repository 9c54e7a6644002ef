//! What a relay, or a member of one, can try.
