//! Every bound of the library, its default, and why it is what it is.
//!
//! Bounds that the wire protocol fixes are the constants below. Bounds that a program may set are
//! fields of [`Limits`] for a node (`node`) and of [`RelayLimits`] for a relay (`relay`). A node's
//! limits that can also be set from C or on the command line have a [`Limit`] as well
//! (`numbered`).

mod node;
mod numbered;
mod relay;

pub use node::Limits;
pub use numbered::Limit;
pub use relay::RelayLimits;

use std::time::Duration;

/// Bytes of a network or node name. The first field of a frame must be found, or refused, within
/// this many bytes.
pub const NAME_MAX: usize = 64;

/// Rules of a node about who may call what. Each call is compared with all of them, which takes
/// some microseconds.
pub const RULES_MAX: usize = 256;

/// Bytes of a command path: its length fits into one byte on the wire.
pub const PATH_MAX: usize = 255;

/// Bytes of a frame on a stream, terminator included. A peer can make a node hold as much before it
/// has proved anything.
pub const FRAME_MAX: usize = 65_536;

/// Bytes of a frame in a datagram. With headers it stays below the 1 280 bytes that every IPv6 link
/// carries unfragmented, so that one lost fragment never costs an advert.
pub const DATAGRAM_MAX: usize = 1_200;

/// Bytes of the body of one call or answer (path, args and kwargs; or the value or message). It is
/// the largest body that seals into one frame: a frame's 65 536 bytes, less 76 of net, type and
/// terminator, times 3/4 for base64, less 73 of token overhead and of the record's own fields.
pub const BODY_MAX: usize = 48_640;

/// Bytes of a message of a Noise handshake (revision 34, section 3): its length always fits into
/// two bytes.
pub const NOISE_MESSAGE_MAX: usize = 65_535;

/// Relays that one advert may name: enough to grow a network, and few enough to fit into a
/// datagram.
pub const ADVERT_RELAYS_MAX: usize = 8;

/// Bytes of a role in a certificate: enough for a word or three.
pub const ROLE_MAX: usize = 32;

/// Roles in one certificate: a node does a few things, and the certificate travels with each
/// handshake.
pub const ROLES_MAX: usize = 16;

/// Bytes of a certificate: the longest, with two names and all roles that it may have, has 885.
pub const CERTIFICATE_MAX: usize = 1_024;

/// Certificates in a revocation list. Each takes 32 bytes at every node, and is never taken out. A
/// network that has lost more devices than this needs a new authority and new certificates.
pub const REVOCATIONS_MAX: usize = 4_096;

/// Bytes of a revocation list as a text: the longest has 54 for each certificate, and some 250.
pub const REVOCATION_LIST_MAX: usize = 256 * 1024;

/// Bytes of a revocation list in a record: its version, how many certificates it has, their hashes,
/// and the signature.
pub const REVOCATION_RECORD_MAX: usize = 8 + 2 + 32 * REVOCATIONS_MAX + 64;

/// Authorities that a node may know: two are needed while one is replaced.
pub const AUTHORITIES_MAX: usize = 2;

/// Names that a node of an open network pins to keys: some 150 bytes each. It has as many peers at
/// the most (see [`Limits::peers`]), unless they change their names.
pub const PINS_MAX: usize = 4_096;

/// Peers of which a node remembers to have told its program why it does not trust them, for each
/// reason. Members can make up names.
pub const DISTRUSTED_MAX: usize = 16;

/// The time between two events of one kind about strangers and about peers that are not trusted. A
/// source can be forged and names made up, so whoever floods the network must not flood the
/// program.
pub const EVENT_PAUSE: Duration = Duration::from_secs(60);

/// The time between two writes to the files of a node's state folder: a gateway's flash wears out.
pub const STATE_PAUSE: Duration = Duration::from_secs(60);

/// Bytes of a file of a node's state folder that are read: some times what is ever written.
pub const STATE_FILE_MAX: u64 = 2 * 1024 * 1024;

/// Bytes of a file that holds an identity or the secret of an authority: one line, and a page of
/// comments.
pub const SECRET_FILE_MAX: usize = 4_096;

/// Keys that a keyring may hold: two are needed while a key is rotated, and every datagram of a
/// stranger costs one MAC per key.
pub const KEYS_MAX: usize = 4;

/// Bytes of a word between a node and a relay, with its fields and without its seal: several times
/// what the longest takes today.
pub const WORD_MAX: usize = 1_024;

/// Characters of the name of a field behind a word. Every value of a word that has a `=` in its
/// text is longer before it, so that no value is taken for a field.
pub const FIELD_NAME_MAX: usize = 16;

/// Tags that a member carries at a relay: one for each of its keys.
pub const TAGS_MAX: usize = KEYS_MAX;

/// Learnt relays of which a node remembers that they have proved the relay key, when it has given
/// them up. Adverts can name any number of them.
pub(crate) const PROVED_RELAYS_MAX: usize = 64;

/// Bytes of memory that a member takes at a relay, at most, while nothing waits for it and it has
/// nothing under way: its advert, and what the relay knows of it.
pub const IDLE_MEMBER: usize = 2 * 1024;

/// Bytes of `fwd` frames that may be on their way through a relay to one route, unless the relay
/// grants more. A node can make a relay hold as much for a member that does not read. It is enough
/// for a long line at a megabyte a second.
pub const ROUTE_WINDOW: u32 = 256 * 1024;

/// Bytes of the extension fields of one structure: a later version that needs more can put it into
/// a record. A node keeps them only while it reads the structure.
pub const EXTENSIONS_MAX: usize = 1_024;

/// Questions of other nodes that a node answers in a second. Each costs some 0.2 ms of work on the
/// curve, so that strangers with recordings, and members, take 2 % of a core at most.
pub const HANDSHAKES_PER_SECOND: u32 = 100;

/// Of these, the ones of one source that may take the last half of the room.
pub const HANDSHAKES_OF_ONE: u32 = 10;

/// Nodes with another key or of another version that a node remembers to have told its program of.
/// A person looks at a few of them, and sources can be forged.
pub const STRANGERS_MAX: usize = 16;

/// Questions of other nodes by whose ephemeral keys a node recognises recordings: 64 KiB.
pub const QUESTIONS_REMEMBERED: usize = 4_096;

/// Records under one key of a session; then the sender renews it. It bounds what somebody who takes
/// the memory of a node can open of what was recorded, far below what Fernet allows for one key.
pub const RENEW_RECORDS: u32 = 1 << 20;

/// How long a sender uses one key of a session, for the same reason.
pub const RENEW_AFTER: Duration = Duration::from_secs(3_600);

/// Relays to which a node may be linked at a time: more do not make it more reachable, and each
/// costs a link.
pub const REMOTES_MAX: usize = 16;

/// Bytes of one piece of a stream, unless set otherwise. Sealing a piece takes some 30 us, and a
/// short call waits for no more than a few of them.
pub const CHUNK: usize = 16 * 1024;

/// The furthest that a receiver may let a sender go ahead of what the receiver has. It is more than
/// any line holds, and not so much that sums of it could overflow.
pub const STREAM_WINDOW_MAX: u64 = 1 << 30;

/// Bytes of streams that wait for one link, however much it would take: a short call may have as
/// much before it in the queue.
pub const STREAM_QUEUE: usize = 48 * 1024;

/// Bytes of the text with which a stream is broken off: a sentence or two, which always fit into
/// one record.
pub const REASON_MAX: usize = 1_024;

/// Questions about files that may wait for the disk: a few from each of as many nodes as one has
/// sessions with. One source may have as many as it leaves free.
pub const FILE_QUESTIONS: usize = 1_024;

/// How long a node to which a file is sent may accept none of it, before another node gets its
/// place.
pub const UPLOAD_STALLED: Duration = Duration::from_secs(30);

/// How long all nodes together have to say whether they have a file, before those that have said so
/// are taken, or all are asked again if there are none. One that is there answers in far less.
#[cfg(feature = "files")]
pub const FILE_ASKING: Duration = Duration::from_secs(5);

/// How long the nodes that say one size of a file may send it in the first round, before those that
/// say another size may: enough for a piece at 800 KB/s. It doubles with each round.
#[cfg(feature = "files")]
pub const FILE_TURN: Duration = match cfg!(test) {
    true => Duration::from_secs(1),
    false => Duration::from_secs(5),
};

/// How long nodes may send a file of which nobody says another size, before all nodes are asked
/// again who has it: an honest holder may have joined. To ask more often would cost a slow transfer
/// too many pieces that are not whole yet.
#[cfg(feature = "files")]
pub const FILE_ALONE: Duration = match cfg!(test) {
    true => Duration::from_secs(3),
    false => Duration::from_secs(600),
};

/// How long it may take until one piece of a file is whole, unless the program allows more: enough
/// at 26 KB/s. So a node that sends a byte now and then is given up.
#[cfg(feature = "files")]
pub const FILE_PIECE: Duration = match cfg!(test) {
    true => Duration::from_secs(3),
    false => Duration::from_secs(160),
};

/// Sizes of one file that are tried in a round. All but one are lies, and each costs a turn.
#[cfg(feature = "files")]
pub const FILE_SIZES: usize = 16;

/// Nodes that did not send a file after which no more of them are tried: eight of each of as many
/// sizes as a round has. Names cost nothing, so a request would not end otherwise.
#[cfg(feature = "files")]
pub const FILE_GIVEN_UP: usize = 128;

/// How long the pieces of a file stay on the disk if no request goes on with them: over a weekend
/// and a few days more.
#[cfg(feature = "files")]
pub const FILE_PARTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many nodes may forward a broadcast, one after the other. Networks with longer chains were
/// not built on purpose.
pub const BROADCAST_HOPS: u8 = 32;

/// How long a node asks a peer to take a broadcast of another node, however long that waits: enough
/// for a peer that was lost a moment ago to come back. The message takes memory for as long.
pub const HAND_ON_MAX: Duration = Duration::from_secs(60);

/// Addresses to which a program may ask to be linked: a few are enough to find the network again.
pub const SEEDS_MAX: usize = 256;

/// Bytes of the head of an HTTP request or response: the head that Python's `requests` sends is a
/// twentieth of it.
pub const HTTP_HEAD_MAX: usize = 8 * 1024;

/// Fields of such a head: five are usual, and a proxy adds a few.
pub const HTTP_FIELDS_MAX: usize = 64;

/// Relays of Python nodes that are accepted from one message: as many as those to which a node may
/// be linked.
pub const SERVERS_MAX: usize = REMOTES_MAX;

/// How many times `max_values` the answers of one call of several may hold together: a program
/// holds all of them at a time.
pub const ANSWERS_OF_SEVERAL: usize = 4;

/// Bytes that a call of another node takes at this node besides what is asked.
pub const ASKED_ROOM: usize = 512;
