/* PeerBase: programs find each other by name and call each other's commands, encrypted end to
 * end.
 *
 * Generated from src/ffi/ by cbindgen: do not edit.
 *
 * Strings. All strings are UTF-8 and NUL-terminated, unless a length goes with them.
 *
 * Errors. A function that can fail returns 0 or a negative PEERBASE_ERR_ code. peerbase_strerror
 * names a code, and peerbase_last_error says why the function failed. The comment of a function
 * lists the codes that it returns. Besides these, PEERBASE_ERR_INTERNAL means a bug in the
 * library, and PEERBASE_ERR_FORKED means that the node was started by the parent of this
 * process.
 *
 * Ownership. The library copies what it keeps of a function's arguments. The program frees what
 * the library hands out, each object with its own function and never with free().
 *
 * Results through pointers. A function that gives a result through a pointer empties what that
 * points to first (NULL, 0 or ""), and fills it only when there is a result: after a failure
 * nothing that was there before is left. Such a pointer may be NULL only where the function's
 * comment says so.
 *
 * Callbacks. A callback must return. It must not throw, because a C++ exception that leaves a
 * callback ends the process (abort). It must not leave by longjmp or pthread_exit, after which
 * the state of the library is undefined. The `user` of a callback must be valid until its
 * `drop_user` was called, or, without a `drop_user`, until the node was freed: a callback that
 * another thread replaces or removes may be about to run. `drop_user` must not throw either, and
 * should not call the library.
 *
 * Memory. If no memory is left, the process ends (abort), as in every Rust program: no function
 * returns an error for that. What peers can make a node hold is bounded, and so is what the
 * program asks for in one call.
 *
 * Timeouts. A timeout is milliseconds in an int. Where it is how long a call may take, it is 0
 * to INT_MAX; more than a day (86 400 000) counts as a day, and a negative one is
 * PEERBASE_ERR_ARGUMENT. For peerbase_node_process, peerbase_stream_read and
 * peerbase_stream_write it is 0 to INT_MAX, and a negative one waits as long as it takes.
 *
 * Limits. A node answers at most 1 024 requests of each peer at a time, unless
 * PEERBASE_LIMIT_SERVED_PER_PEER is set. Further requests end as PEERBASE_ERR_OVERLOADED for
 * their caller and do not run. */

#ifndef PEERBASE_H
#define PEERBASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A flag of `peerbase_node_call_many`: the first failure ends the call, and the function returns
 * it.
 */
#define PEERBASE_CALL_RAISE_ERRORS 1

/**
 * A flag of `peerbase_node_call_many`: a target that is not known is an error at once. Without the
 * flag the call waits for the target until its timeout.
 */
#define PEERBASE_CALL_NO_WAIT 2

/**
 * A node has proved that it is there and holds the key. Or a node of PeerBase 0.7.1 was heard,
 * which proves nothing.
 */
#define PEERBASE_EVENT_PEER_JOINED 1

/**
 * A node said goodbye, or was not heard for too long.
 */
#define PEERBASE_EVENT_PEER_LEFT 2

/**
 * A node that was there is there again, as a new process.
 */
#define PEERBASE_EVENT_PEER_RESTARTED 3

/**
 * Another node has the name of this node. All nodes resolve the name to this node.
 */
#define PEERBASE_EVENT_NAME_CONFLICT_WON 4

/**
 * Another node has the name of this node. All nodes resolve the name to the other node.
 */
#define PEERBASE_EVENT_NAME_CONFLICT_LOST 5

/**
 * This node has joined its network at a relay.
 */
#define PEERBASE_EVENT_RELAY_UP 6

/**
 * A relay cannot be reached, or the link to it was lost. The node tries it again. There is one
 * such event for each reason.
 */
#define PEERBASE_EVENT_RELAY_DOWN 7

/**
 * A relay has refused this node, or this node a relay, for example because of a wrong key. The
 * node tries it again now and then.
 */
#define PEERBASE_EVENT_RELAY_REFUSED 8

/**
 * Calls to a node that went through a relay go directly from now on.
 */
#define PEERBASE_EVENT_PATH_DIRECT 9

/**
 * Calls to a node go through a relay from now on, or through another relay than before.
 */
#define PEERBASE_EVENT_PATH_RELAY 10

/**
 * Too much happened while the event handler was busy, and it did not get all events. Ask for the
 * peers.
 */
#define PEERBASE_EVENT_MISSED 11

/**
 * A node at an address advertises under our network's name and another key: its key is wrong, or
 * ours, or there are two networks of one name. Each address is told once, at most one in a minute.
 */
#define PEERBASE_EVENT_OTHER_KEY 12

/**
 * A node at an address advertises under our network's name in a version of the protocol that this
 * node does not speak. Each address is told once, at most one in a minute.
 */
#define PEERBASE_EVENT_OTHER_VERSION 13

/**
 * The relay that this node has just joined has no relay key, so neither has proved anything to the
 * other. There is one such event for each relay.
 */
#define PEERBASE_EVENT_RELAY_UNPROVEN 14

/**
 * A node holds the network key and may not go by its name: `peerbase_last_error` says why, and
 * with which key. There is one such event for each name and reason, at most one in a minute.
 */
#define PEERBASE_EVENT_DISTRUSTED 15

/**
 * A node has closed the session because it does not trust this node: `peerbase_last_error` says
 * why. The same bounds hold as for PEERBASE_EVENT_DISTRUSTED.
 */
#define PEERBASE_EVENT_DISTRUSTED_BY 16

/**
 * So many names are pinned to keys (4096) that further names are not.
 */
#define PEERBASE_EVENT_PINS_FULL 17

/**
 * This node has a newer revocation list: `peerbase_last_error` says which version.
 */
#define PEERBASE_EVENT_LIST_TAKEN 18

/**
 * This node has a newer revocation list, and this node's own certificate is in it.
 */
#define PEERBASE_EVENT_REVOKED 19

/**
 * Somebody at an address has closed two links on which this node had asked for a session: it has
 * another network key, or is no PeerBase node. The same bounds hold as for
 * PEERBASE_EVENT_OTHER_KEY.
 */
#define PEERBASE_EVENT_HANDSHAKE_CLOSED 20

/**
 * Room in bytes for a file's hash as text: 64 hexadecimal digits and a NUL.
 */
#define PEERBASE_HASH_LEN 65

/**
 * Room in bytes for a key as text: 44 characters and a NUL.
 */
#define PEERBASE_KEY_LEN 45

/**
 * The major version of this header.
 */
#define PEERBASE_VERSION_MAJOR 0

/**
 * The minor version of this header.
 */
#define PEERBASE_VERSION_MINOR 1

/**
 * The patch version of this header.
 */
#define PEERBASE_VERSION_PATCH 0

/**
 * The codes of outcomes in the C interface: 0 is success, and every failure is negative.
 *
 * Codes are never renumbered: new ones are appended.
 */
enum peerbase_err
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Success.
     */
    PEERBASE_ERR_OK = 0,
    /**
     * An argument is NULL, negative or outside its range.
     */
    PEERBASE_ERR_ARGUMENT = -1,
    /**
     * A node name breaks a rule.
     */
    PEERBASE_ERR_NAME = -2,
    /**
     * A network name breaks a rule.
     */
    PEERBASE_ERR_NETWORK = -3,
    /**
     * A key is not written as keys of its kind are; a network key is 44 characters of base64url
     * that hold 32 bytes.
     */
    PEERBASE_ERR_KEY = -4,
    /**
     * A command path breaks a rule.
     */
    PEERBASE_ERR_PATH = -5,
    /**
     * Text that should be JSON is not, or is nested too deep, or repeats a key.
     */
    PEERBASE_ERR_JSON = -6,
    /**
     * An address is not IP:PORT (for a relay, HOST:PORT).
     */
    PEERBASE_ERR_ADDRESS = -7,
    /**
     * A string is not UTF-8.
     */
    PEERBASE_ERR_UTF8 = -8,
    /**
     * A body (arguments, value, message or file) is larger than its limit, or holds more JSON
     * values than are accepted. As the outcome of a call: the command did not run.
     */
    PEERBASE_ERR_TOO_LARGE = -9,
    /**
     * Another node of the network has this name.
     */
    PEERBASE_ERR_NAME_TAKEN = -10,
    /**
     * A port is in use by another program.
     */
    PEERBASE_ERR_PORT_IN_USE = -11,
    /**
     * The operating system refused something.
     */
    PEERBASE_ERR_IO = -12,
    /**
     * The peer has no command of that path.
     */
    PEERBASE_ERR_COMMAND_NOT_FOUND = -13,
    /**
     * The command ran and failed; the message says why.
     */
    PEERBASE_ERR_COMMAND_FAILED = -14,
    /**
     * No answer came in time.
     */
    PEERBASE_ERR_TIMEOUT = -15,
    /**
     * The peer is not known, or no path leads to it any more. If the peer had the call, it is
     * unknown whether the command ran.
     */
    PEERBASE_ERR_UNREACHABLE = -16,
    /**
     * The peer restarted while it had the call. It is unknown whether the command ran.
     */
    PEERBASE_ERR_PEER_RESTARTED = -17,
    /**
     * The caller cancelled the call.
     */
    PEERBASE_ERR_CANCELLED = -18,
    /**
     * Too much is in flight, at this node or at the peer. The command did not run.
     */
    PEERBASE_ERR_OVERLOADED = -19,
    /**
     * The peer refused the call or message, or something else was refused; the message says why.
     */
    PEERBASE_ERR_REFUSED = -20,
    /**
     * A function that waits was called in a callback, where it would wait for itself.
     */
    PEERBASE_ERR_WOULD_DEADLOCK = -21,
    /**
     * The node has been stopped.
     */
    PEERBASE_ERR_STOPPED = -22,
    /**
     * The process was forked after the node was started. A child process may only free the handle.
     */
    PEERBASE_ERR_FORKED = -23,
    /**
     * A command is already registered at this path.
     */
    PEERBASE_ERR_COMMAND_EXISTS = -24,
    /**
     * A bug in the library. The call was abandoned, and the process lives on.
     */
    PEERBASE_ERR_INTERNAL = -25,
    /**
     * The operation could not make progress without waiting, or within its timeout. Try again
     * later.
     */
    PEERBASE_ERR_WOULD_BLOCK = -26,
    /**
     * A stream ended before it was whole; the message says how much arrived.
     */
    PEERBASE_ERR_BROKEN = -27,
    /**
     * No node that can be asked has a file of this hash.
     */
    PEERBASE_ERR_FILE_UNKNOWN = -28,
    /**
     * What was read or received is not what it should be.
     */
    PEERBASE_ERR_DAMAGED = -29,
    /**
     * The command ran, but its answer was lost: there was no room to keep it, or it is larger than
     * this node accepts.
     */
    PEERBASE_ERR_ANSWER_LOST = -30,
    /**
     * The peer's rules do not let this node call that path. The command did not run.
     */
    PEERBASE_ERR_NOT_ALLOWED = -31,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum peerbase_err peerbase_err;
#else
typedef int32_t peerbase_err;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A bound on what other nodes can make a node hold or do. C sets it by its number, and the command
 * line by its name. Unless a limit says otherwise, a number of things is 1 to 1 048 576, bytes of
 * memory are 1 KiB to 1 GiB, and milliseconds are 1 to 86 400 000, a day.
 *
 * Numbers are never changed: new limits are appended.
 */
enum peerbase_limit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Peers that are known from adverts; 4 096 by default.
     */
    PEERBASE_LIMIT_PEERS = 1,
    /**
     * Addresses that are remembered for one peer; 4 by default.
     */
    PEERBASE_LIMIT_ADDRESSES_PER_PEER = 2,
    /**
     * Open sessions; 256 by default. Each takes a descriptor, and up to PEERBASE_LIMIT_LINK_QUEUE
     * bytes.
     */
    PEERBASE_LIMIT_SESSIONS = 3,
    /**
     * Links that other nodes opened and that have not finished their handshake, a quarter of them
     * through relays; 64 by default.
     */
    PEERBASE_LIMIT_HALF_OPEN = 4,
    /**
     * Dials under way; 32 by default.
     */
    PEERBASE_LIMIT_DIALS = 5,
    /**
     * Dials begun per second; 200 by default.
     */
    PEERBASE_LIMIT_DIALS_PER_SECOND = 6,
    /**
     * Bytes that wait for one slow reader; 256 KiB by default.
     */
    PEERBASE_LIMIT_LINK_QUEUE = 7,
    /**
     * This node's own calls in flight, and connects that wait for an address; 65 536 by default.
     */
    PEERBASE_LIMIT_CALLS = 8,
    /**
     * Bytes of arguments of this node's own calls in flight; 16 MiB by default.
     */
    PEERBASE_LIMIT_CALL_BYTES = 9,
    /**
     * Calls that one peer may have at this node, running or with their answers kept; 1 024 by
     * default. One peer has at most an eighth of what is free of PEERBASE_LIMIT_SERVED.
     */
    PEERBASE_LIMIT_SERVED_PER_PEER = 10,
    /**
     * Calls of all peers that run, or whose answers are kept; 16 384 by default. All peers of one
     * IPv4 address or IPv6 /48, or behind one relay, may have as many calls running as they leave
     * free: half of them if there are no others.
     */
    PEERBASE_LIMIT_SERVED = 11,
    /**
     * Bytes of answers kept for one peer until it confirms them, and four times as many for all
     * peers together; 8 MiB by default.
     */
    PEERBASE_LIMIT_REPLY_BYTES = 12,
    /**
     * Bytes of calls and messages of other nodes that wait for a handler, and of messages to all
     * nodes until they are consumed, plus 512 for each; 16 MiB by default.
     */
    PEERBASE_LIMIT_WAITING_BYTES = 13,
    /**
     * Bytes of what is asked in one call, and of its value; 4 MiB by default. As
     * `peerbase_config_set_max_message`: the budgets into which one such message must fit are
     * raised if they are too small for it. A budget that is to be smaller is set after this.
     */
    PEERBASE_LIMIT_MAX_MESSAGE = 14,
    /**
     * Values that are made of one call's arguments or answer for a handler in Rust; 262 144 by
     * default. A C program reads texts, for which no values are made.
     */
    PEERBASE_LIMIT_MAX_VALUES = 15,
    /**
     * Bytes of what other nodes ask, from its arrival until it is answered, and as many again for
     * large answers that arrive; 20 MiB by default. All peers of one IPv4 address or IPv6 /48, or
     * behind one relay, may take as much for what they ask as they leave free: half if there are
     * no others. A peer that is already asking something may take at most four times what it
     * leaves of that to the others there. Large answers from one peer may take half. So set it to
     * at least twice PEERBASE_LIMIT_MAX_MESSAGE, and to five times PEERBASE_LIMIT_MAX_MESSAGE if
     * one peer is to make two of the largest calls at a time.
     */
    PEERBASE_LIMIT_MESSAGE_BYTES = 16,
    /**
     * Bytes of one piece of a stream, 1024 to 48640; 16384 by default. As
     * `peerbase_config_set_chunk_size`.
     */
    PEERBASE_LIMIT_CHUNK_SIZE = 17,
    /**
     * Bytes of one stream that wait at each end, 97280 to 2^30; 256 KiB by default.
     */
    PEERBASE_LIMIT_STREAM_WINDOW = 18,
    /**
     * Ends of streams that may be open; 128 by default. All callers of one IPv4 address or IPv6
     * /48, or behind one relay, may have as many as they leave free, half of them if there are no
     * others, and one of these callers nearly half.
     */
    PEERBASE_LIMIT_STREAMS = 19,
    /**
     * Messages to all nodes that this node delivers and forwards per second; 200 by default.
     */
    PEERBASE_LIMIT_BROADCASTS_PER_SECOND = 20,
    /**
     * Sessions beyond which the node dials no peer only because another peer told of it, 0 to 1
     * 048 576; 64 by default. As `peerbase_config_set_max_peers`.
     */
    PEERBASE_LIMIT_MAX_PEERS = 21,
    /**
     * Files that are offered, 0 to 1 048 576; 16 384 by default.
     */
    PEERBASE_LIMIT_FILES = 22,
    /**
     * Bytes of the largest file that is fetched, any number; 4 GiB by default. As
     * `peerbase_config_set_file_limits`.
     */
    PEERBASE_LIMIT_FILE_BYTES = 23,
    /**
     * Files, or parts of files, that are read for other nodes at a time, 0 to 1 048 576; 8 by
     * default. Each takes a thread. All peers at one address, or behind one relay, may have as
     * many as they leave free: half of them if there are no others. One peer may have a third,
     * rounded up, if there are no others.
     */
    PEERBASE_LIMIT_UPLOADS = 24,
    /**
     * Bytes of files per second that are read for other nodes, all together, any number; 0 by
     * default, which means no limit.
     */
    PEERBASE_LIMIT_UPLOAD_BYTES_PER_SECOND = 25,
    /**
     * Adverts that are opened per second; 10 000 by default. Of those that a relay hands on, as
     * many as PEERBASE_LIMIT_PEERS if that is more.
     */
    PEERBASE_LIMIT_ADVERTS_PER_SECOND = 26,
    /**
     * Adverts that this node sends in an interval, whatever it hears; 5 by default.
     */
    PEERBASE_LIMIT_ADVERTS_PER_INTERVAL = 27,
    /**
     * Events that are kept for a slow event handler; 1 024 by default.
     */
    PEERBASE_LIMIT_EVENTS = 28,
    /**
     * Dials per second of relays that other nodes announce; 2 by default.
     */
    PEERBASE_LIMIT_LEARNT_DIALS_PER_SECOND = 29,
    /**
     * Connections from Python nodes and to them; 256 by default.
     */
    PEERBASE_LIMIT_COMPAT_LINKS = 30,
    /**
     * Connections of Python nodes from one address; 64 by default.
     */
    PEERBASE_LIMIT_COMPAT_LINKS_PER_ADDRESS = 31,
    /**
     * Packets that are on their way to one relay of Python nodes; 16 by default.
     */
    PEERBASE_LIMIT_COMPAT_POSTS = 32,
    /**
     * Milliseconds from connecting to a finished handshake; 5000 by default.
     */
    PEERBASE_LIMIT_HANDSHAKE_MS = 33,
    /**
     * Milliseconds within which a frame that was begun must be finished; 60000 by default.
     */
    PEERBASE_LIMIT_FRAME_MS = 34,
    /**
     * Milliseconds that a call may wait at most; 86 400 000, a day, by default.
     */
    PEERBASE_LIMIT_CALL_TIMEOUT_MS = 35,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum peerbase_limit peerbase_limit;
#else
typedef int32_t peerbase_limit;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The settings of a node. `peerbase_config_new` makes it, and it belongs to the program until
 * `peerbase_config_free`. Starting a node copies it, so it may be used again, or freed at once.
 * One thread at a time may use a configuration.
 */
typedef struct peerbase_config peerbase_config;

/**
 * A running node. Any thread may call any function of a node, also while another thread is in one,
 * unless the comment of the function says otherwise; `peerbase_node_free` must be the last call. A
 * child process of a fork may only call `peerbase_node_free` and the functions that free objects
 * of the node. Every other function that takes a node or one of its streams, or answers a request,
 * returns PEERBASE_ERR_FORKED there, or, if it does not return a code, what it returns for NULL,
 * with the reason in `peerbase_last_error`.
 */
typedef struct peerbase_node peerbase_node;

/**
 * The answers of one or several nodes: one entry for each, from 0. It never changes, so any thread
 * may read it. It belongs to the program until `peerbase_reply_free`, except for the reply that a
 * callback is given. The functions that read a reply accept NULL, which has no entries, and leave
 * `peerbase_last_error` as it is then.
 */
typedef struct peerbase_reply peerbase_reply;

/**
 * A call or message of another node. It belongs to the program, from any thread but one at a time,
 * until one of the functions that consume it; after that it must not be used. It may outlive its
 * node.
 */
typedef struct peerbase_request peerbase_request;

/**
 * One side of the two streams of a call: it reads one and writes the other; a stream to several
 * nodes only writes. It belongs to the program until `peerbase_stream_free`, which must be the
 * last use. One thread may read while another writes. The bytes that were read are verified only
 * when reading has reached the end: a stream that was cut off ends with PEERBASE_ERR_BROKEN, never
 * as if it were complete.
 */
typedef struct peerbase_stream peerbase_stream;

/**
 * A function that the library calls when an asynchronous call has ended. `reply` belongs to the
 * library and is valid until the function returns; `user` is what the call was begun with. It runs
 * where handlers run: see `peerbase_handler`.
 */
typedef void (*peerbase_callback)(const struct peerbase_reply *reply, void *user);

/**
 * A handler of commands or messages. It is given a request, which belongs to the program from then
 * on. The program must answer the request with one of the `peerbase_request_` functions that
 * consume it, now or later, from any thread. `user` is what the handler was registered with. The
 * handler runs on the node's own thread, or on the thread that calls `peerbase_node_process`, and
 * may call any function of the node, except that a function that waits returns
 * PEERBASE_ERR_WOULD_DEADLOCK there. It must not be NULL where it is registered.
 *
 * At most 1 024 requests of each peer may be unanswered at a time
 * (PEERBASE_LIMIT_SERVED_PER_PEER); the node answers further ones with PEERBASE_ERR_OVERLOADED,
 * and no handler gets them. So a handler that keeps requests must answer each at some time.
 * Messages to all nodes count together, in bytes, until they are consumed
 * (PEERBASE_LIMIT_WAITING_BYTES); further ones are dropped, and `peerbase_node_stats` counts them
 * as "messages_dropped".
 *
 * In a node with a thread of its own a handler may take its time: a second thread, "peerbase-io",
 * answers pings and goes on with calls meanwhile, and further requests wait. In a node that runs
 * in the program's own loop the program is the loop: if a handler, or anything else, keeps it from
 * `peerbase_node_process` for longer than a few seconds, peers believe that the node is dead
 * (after 15 seconds, unless `peerbase_config_set_ping` says otherwise).
 */
typedef void (*peerbase_handler)(struct peerbase_request *request, void *user);

/**
 * A handler of events. `event` is one of the PEERBASE_EVENT_ constants; `node` is the name of the
 * node that the event is about, or the address of the relay or the stranger, and is valid until
 * the handler returns; `user` is what the handler was set with. If a relay is down or has refused
 * this node, `peerbase_last_error` says why, and for missed events it says how many they are. It
 * runs where handlers run: see `peerbase_handler`.
 */
typedef void (*peerbase_event_handler)(int event, const char *node, void *user);

/**
 * A function that the library calls while a file is being fetched: how many bytes have been
 * received, the size of the whole file in bytes, and the `user` that it was given with. It runs on
 * the thread that called `peerbase_node_request_file`.
 */
typedef void (*peerbase_progress)(uint64_t received, uint64_t size, void *user);

/**
 * A function that gets log lines. `level` is 1 for an error, 2 for a warning, 3 for information
 * and 4 for debugging; `text` is valid until the function returns. The library may call it from
 * any thread. It must not call the library. No line holds a key.
 */
typedef void (*peerbase_log_handler)(int level, const char *text);

/**
 * One line of a table of commands.
 */
typedef struct peerbase_command {
    /**
     * The path of the command, below that of the table.
     */
    const char *path;
    /**
     * The handler that answers it.
     */
    peerbase_handler handler;
    /**
     * The pointer that the handler is given.
     */
    void *user;
    /**
     * Called once with `user` when the command is no longer needed; may be NULL.
     */
    void (*drop_user)(void *user);
} peerbase_command;

/**
 * A function that the library calls, where handlers run, when a stream can be read or written
 * again. It may still run once while, or after, another thread frees its stream: `user` must be
 * valid until `drop_user` was called.
 */
typedef void (*peerbase_ready)(void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Calls a command of another node and waits for the answer.
 *
 * `target` is the node's name. If no node of this name is known yet, the function waits for one
 * until the timeout. `args` is a JSON array and `kwargs` a JSON object; NULL stands for an empty
 * one. `timeout_ms` is 0 to INT_MAX milliseconds; more than a day (86 400 000) counts as a day.
 * All arguments are copied. `out` must not be NULL.
 *
 * If the peer answered with a value, or that the command failed, is unknown or was refused, `*out`
 * is a reply of one entry, which the program frees with `peerbase_reply_free`; otherwise `*out` is
 * NULL.
 *
 * Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns the
 * outcome of the call: 0, PEERBASE_ERR_COMMAND_NOT_FOUND, PEERBASE_ERR_COMMAND_FAILED,
 * PEERBASE_ERR_TIMEOUT, PEERBASE_ERR_UNREACHABLE, PEERBASE_ERR_PEER_RESTARTED,
 * PEERBASE_ERR_OVERLOADED if the command did not run because a limit was reached,
 * PEERBASE_ERR_ANSWER_LOST if it ran and its answer could not be kept or accepted,
 * PEERBASE_ERR_REFUSED or PEERBASE_ERR_STOPPED. After PEERBASE_ERR_TIMEOUT the command may have
 * run, even with a timeout of 0. If an argument is invalid, returns the code for that;
 * PEERBASE_ERR_TOO_LARGE also means that the arguments exceed the limit of the peer.
 */
int peerbase_node_call(struct peerbase_node *handle,
                       const char *target,
                       const char *path,
                       const char *args,
                       const char *kwargs,
                       int timeout_ms,
                       struct peerbase_reply **out);

/**
 * Sends bytes to another node's message handler, and waits for the bytes that the handler answers.
 * Read them with `peerbase_reply_data`. `data` is copied, and may be NULL when `len` is 0.
 * Otherwise as `peerbase_node_call`.
 */
int peerbase_node_send(struct peerbase_node *handle,
                       const char *target,
                       const uint8_t *data,
                       size_t len,
                       int timeout_ms,
                       struct peerbase_reply **out);

/**
 * Calls a command of several nodes and waits for all of them.
 *
 * `targets` are `count` names; NULL and 0 stand for every peer that is known now. At most
 * `max_in_flight` nodes are asked at a time; 0 stands for 64. `flags` is a sum of PEERBASE_CALL_
 * constants, or 0. `*out` is a reply with an entry for each target, which the program frees with
 * `peerbase_reply_free`. Of every peer, those whose rules do not allow the call have no entry.
 *
 * Returns 0 whatever the entries say, unless PEERBASE_CALL_RAISE_ERRORS is among the flags: then
 * it returns the first failure, after which the other calls were cancelled. Otherwise as
 * `peerbase_node_call`.
 */
int peerbase_node_call_many(struct peerbase_node *handle,
                            const char *const *targets,
                            size_t count,
                            const char *path,
                            const char *args,
                            const char *kwargs,
                            int timeout_ms,
                            size_t max_in_flight,
                            uint32_t flags,
                            struct peerbase_reply **out);

/**
 * Calls a command of every peer that is known now and waits for all of them. This is
 * `peerbase_node_call_many` with no names, no flags, and 64 nodes at a time.
 */
int peerbase_node_call_all(struct peerbase_node *handle,
                           const char *path,
                           const char *args,
                           const char *kwargs,
                           int timeout_ms,
                           struct peerbase_reply **out);

/**
 * Begins a call of another node's command, or of every known peer's if `target` is "*", and
 * returns at once.
 *
 * If this function returns 0, `callback` is called once when the call has ended, where handlers
 * run; otherwise it is not called. `callback` must not be NULL. `drop_user` is called once with
 * `user` in any case, and may be NULL.
 *
 * `id` may be NULL; otherwise `*id` is the number that `peerbase_node_cancel` takes, or 0 for "*"
 * and after a failure. The call may end before this function returns, and `*id` is written after
 * that, so `id` must not point into memory that `callback` or `drop_user` frees.
 *
 * Any thread, also in a callback. Otherwise as `peerbase_node_call`.
 */
int peerbase_node_call_async(struct peerbase_node *handle,
                             const char *target,
                             const char *path,
                             const char *args,
                             const char *kwargs,
                             int timeout_ms,
                             peerbase_callback callback,
                             void *user,
                             void (*drop_user)(void *user),
                             uint64_t *id);

/**
 * Cancels a call that was begun with `peerbase_node_call_async`. Unless the call has ended before,
 * its callback is told PEERBASE_ERR_CANCELLED. Any thread, also in a callback. Returns 0, also if
 * the call has ended, PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT if `handle` is NULL.
 */
int peerbase_node_cancel(struct peerbase_node *handle, uint64_t id);

/**
 * Asks another node for its commands. This is `peerbase_node_call` of "__list_commands__", whose
 * answer is a JSON array of dotted paths.
 */
int peerbase_node_get_commands(struct peerbase_node *handle,
                               const char *target,
                               int timeout_ms,
                               struct peerbase_reply **out);

/**
 * Switches compat on or off: with it, the node also speaks to Python nodes of PeerBase 0.7.1, in
 * their protocol. It is off by default, because that protocol proves nothing and hides no names:
 * anyone on the LAN can take any name, or have a recorded call run again, but cannot read
 * anything. The other functions of compat switch it on, too.
 *
 * One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 *
 * The library has the functions of compat if it was built with the feature of that name, which is
 * a default feature.
 */
int peerbase_config_set_compat(struct peerbase_config *config, bool enabled);

/**
 * Sets where the node takes calls from Python nodes, as "IPV4:PORT": the first of their `ports`.
 * By default it takes them on every IPv4 address, at any free port. The node also advertises this
 * address, unless it is 0.0.0.0. `addr` is copied and must not be NULL.
 *
 * One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_compat_listen(struct peerbase_config *config, const char *addr);

/**
 * Sets the UDP port on which Python nodes advertise: the second of their `ports`; 1001 by default.
 * One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_compat_port(struct peerbase_config *config, uint16_t port);

/**
 * Adds a relay of Python nodes, as "HOST:PORT": their `relay.py`, or a `peerbase relay`. A node
 * uses at most 16. The relay learns this node's name. `addr` is copied and must not be NULL.
 *
 * One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_add_compat_relay(struct peerbase_config *config, const char *addr);

/**
 * Sets how often the node polls a relay of Python nodes that does not answer as soon as something
 * arrives, in milliseconds, 10 to 60000; 250 by default. It corresponds to their `keepalive_tick`.
 * One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_compat_tick(struct peerbase_config *config, uint32_t interval_ms);

/**
 * Makes a new configuration with every default.
 *
 * `name` and `network` are 1 to 64 bytes of UTF-8 without control characters, without invisible
 * characters (zero-width and bidirectional controls, variation selectors, spaces other than
 * U+0020), and without any of `| . : @`; a name is not "*". `key` is the network's key as
 * `peerbase_key_generate` writes it. None may be NULL; all are copied.
 *
 * Any thread. Returns the configuration, which the program frees with `peerbase_config_free`; or
 * NULL, with the reason in `peerbase_last_error`, if an argument breaks a rule.
 */
struct peerbase_config *peerbase_config_new(const char *name, const char *network, const char *key);

/**
 * Sets where the node listens for links, as "IP:PORT" or `[IPV6]:PORT`; port 0 is any free one. By
 * default it listens on every address, at any free port. `addr` is copied and must not be NULL.
 * One thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_listen(struct peerbase_config *config, const char *addr);

/**
 * Sets the UDP port on which the nodes advertise; 3334 by default. All nodes of a network use the
 * same port, and all nodes of one host share it. One thread at a time may use `config`, which must
 * not be NULL. Returns 0, or PEERBASE_ERR_ARGUMENT, also for port 0.
 */
int peerbase_config_set_advertise_port(struct peerbase_config *config, uint16_t port);

/**
 * Sets where other nodes dial this node, as "IP:PORT", if not at the address from which its
 * adverts come; port 0 is the port on which it listens. `addr` is copied and must not be NULL. One
 * thread at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_advertise_address(struct peerbase_config *config, const char *addr);

/**
 * Sets the time between two adverts in milliseconds, 50 to 300000; 1000 by default. Other nodes
 * consider a peer gone after three and a half of its intervals without an advert. One thread at a
 * time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_advertise_interval(struct peerbase_config *config, uint32_t interval_ms);

/**
 * Switches discovery on the networks of this host on or off; it is on by default. Without it a
 * node needs a relay, or `peerbase_node_connect`. One thread at a time may use `config`, which
 * must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_lan(struct peerbase_config *config, bool enabled);

/**
 * Adds a relay to which the node connects, as "HOST:PORT" or `[IPV6]:PORT`; at most 16. If a relay
 * cannot be reached, or its name cannot be resolved, the node reports an event and tries again.
 * `addr` is copied and must not be NULL. One thread at a time may use `config`, which must not be
 * NULL. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_add_relay(struct peerbase_config *config, const char *addr);

/**
 * Sets to how many relays the node connects at most, 0 to 16: first to those that were added, then
 * to those that other nodes announce. By default it is 3, or the number of relays that were added
 * if that is more; and 0 if none was added. A node with more relays added than this does not start
 * (PEERBASE_ERR_ARGUMENT). One thread at a time may use `config`, which must not be NULL. Returns
 * 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_remotes(struct peerbase_config *config, uint32_t count);

/**
 * Sets how long a path through a relay may be silent before the node pings the peer, in
 * milliseconds, 100 to 30000; 10000 by default. After three times as long without a sign of life
 * the path is dead. One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_relay_keepalive(struct peerbase_config *config, uint32_t interval_ms);

/**
 * Sets the largest size of what is asked in one call, and of its value, in bytes, 1024 to 2^30; 4
 * MiB by default. What does not fit into one frame is sent in pieces, which the program does not
 * notice. PEERBASE_LIMIT_CALL_BYTES, PEERBASE_LIMIT_REPLY_BYTES and PEERBASE_LIMIT_MESSAGE_BYTES
 * are raised where one such message would not fit into them; set them afterwards to have them
 * otherwise. One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_message(struct peerbase_config *config, size_t bytes);

/**
 * Sets the size of one piece of a stream in bytes, 1024 to 48640; 16384 by default. One thread at
 * a time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_chunk_size(struct peerbase_config *config, size_t bytes);

/**
 * Sets how long a peer may be silent before the node pings it, in milliseconds, 100 to 3600000,
 * and after how long in all it counts as dead, at least twice as much; 5000 and 15000 by default.
 * One thread at a time may use `config`, which must not be NULL. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_ping(struct peerbase_config *config,
                             uint32_t interval_ms,
                             uint32_t dead_ms);

/**
 * Sets the number of links beyond which the node dials no peer only because another peer told of
 * it; 64 by default, and 0 means that it never does. One thread at a time may use `config`, which
 * must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_peers(struct peerbase_config *config, uint32_t count);

/**
 * Sets what files may cost: `max_bytes` is the size of the largest file that is fetched, 4 GiB by
 * default; `uploads` is how many files are read for other nodes at a time, 8 by default;
 * `bytes_per_second` is how fast files are read for other nodes, all together, where 0, the
 * default, means no limit. One thread at a time may use `config`, which must not be NULL. Returns
 * 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_file_limits(struct peerbase_config *config,
                                    uint64_t max_bytes,
                                    uint32_t uploads,
                                    uint64_t bytes_per_second);

/**
 * Sets one of the bounds on what other nodes can make this node hold or do. `limit` is a
 * PEERBASE_LIMIT_ constant; its comment says what it counts, and its default. A number of things
 * is 1 to 1 048 576, bytes of memory are 1024 to 2^30, and milliseconds 1 to 86 400 000, unless
 * the comment says otherwise. One thread at a time may use `config`, which must not be NULL.
 * Returns 0, or PEERBASE_ERR_ARGUMENT, also for a limit that this library does not know.
 */
int peerbase_config_set_limit(struct peerbase_config *config, int limit, uint64_t value);

/**
 * Keeps all traffic on this host, on 127.0.0.0/8, if `only` is true; it is false by default. One
 * thread at a time may use `config`, which must not be NULL. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_loopback(struct peerbase_config *config, bool only);

/**
 * Adds a key that the node accepts besides the network's key, while that is being rotated; at most
 * three. The node seals only with the first key. `key` is copied and must not be NULL. One thread
 * at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8, or PEERBASE_ERR_KEY, also for a fourth key.
 */
int peerbase_config_add_key(struct peerbase_config *config, const char *key);

/**
 * Sets who the node is, also after its next start. `identity` is the secret text of an identity
 * file, "identity-" and 44 characters; it is copied and must not be NULL. Without an identity the
 * node makes one at its start, and forgets it at its end. Two nodes must not have one identity.
 * One thread at a time may use `config`, which must not be NULL. Returns 0,
 * PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_KEY.
 */
int peerbase_config_set_identity(struct peerbase_config *config, const char *identity);

/**
 * Sets who the node is, by a file that keeps its identity. If there is no such file, it is made,
 * with an identity of its own and with mode 0600; a file that is there is never changed. `path` is
 * copied and must not be NULL. One thread at a time may use `config`, which must not be NULL.
 * Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8, PEERBASE_ERR_REFUSED if others than the
 * owner may read or write the file, PEERBASE_ERR_DAMAGED if the file is no identity file, or
 * PEERBASE_ERR_IO if it cannot be read or made.
 */
int peerbase_config_set_identity_file(struct peerbase_config *config, const char *path);

/**
 * Lets callers call the paths of a pattern, besides those that other rules for the same paths let,
 * and nobody else; at most 256 rules. A path that no rule covers is open to every member of the
 * network.
 *
 * `pattern` is a path whose parts may be "*", which stands for any one part; a last part "**"
 * stands for all further parts, also none. "__message__" stands for messages to this node,
 * "__file_info__" and "__file__" for its files, and "**" for everything. Rules do not cover
 * messages to every node, nor calls of the node to itself.
 *
 * `callers` is "name:PATTERN" for nodes of this name, where "*" stands for any characters;
 * "key:FINGERPRINT" or "key:PUBLIC-KEY" for the node that has proved this key; or "role:NAME" for
 * nodes whose certificate gives them this role. In an open network whoever has the network's key
 * can take a name that is free, and nobody has a role: prefer keys there. No rule names the nodes
 * of PeerBase 0.7.1.
 *
 * A call that is not allowed does not run, and ends as PEERBASE_ERR_NOT_ALLOWED for its caller.
 * Both strings are copied, and neither may be NULL. One thread at a time may use `config`, which
 * must not be NULL. Returns 0, PEERBASE_ERR_PATH for a bad pattern, PEERBASE_ERR_NAME or
 * PEERBASE_ERR_KEY for a bad name or key, PEERBASE_ERR_UTF8, or PEERBASE_ERR_ARGUMENT, also for
 * other callers and for one rule too many.
 */
int peerbase_config_allow(struct peerbase_config *config, const char *pattern, const char *callers);

/**
 * Registers a command before the node starts; otherwise as `peerbase_node_register`.
 *
 * `drop_user` may be NULL; otherwise it is called once with `user` when this configuration and
 * every node that was started from it are gone, also if this function fails. One thread at a time
 * may use `config`, which must not be NULL.
 */
int peerbase_config_register(struct peerbase_config *config,
                             const char *path,
                             peerbase_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Sets the handler of messages before the node starts; otherwise as `peerbase_config_register`.
 */
int peerbase_config_on_message(struct peerbase_config *config,
                               peerbase_handler handler,
                               void *user,
                               void (*drop_user)(void *user));

/**
 * Sets the handler of events before the node starts; NULL removes it. Unlike a handler that
 * `peerbase_node_on_event` sets, which may miss events after the first 1 024, it gets every event
 * since the start. It runs where handlers run, on the thread that processes the node: for
 * `peerbase_node_open` that is not before the first `peerbase_node_process`. `drop_user` as for
 * `peerbase_config_register`. One thread at a time may use `config`, which must not be NULL.
 * Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_on_event(struct peerbase_config *config,
                             peerbase_event_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Frees a configuration. NULL is allowed. Freeing it twice is not; a debug build of the library
 * notices that and does nothing. One thread at a time may use `config`.
 */
void peerbase_config_free(struct peerbase_config *config);

/**
 * The name of a code, such as "command not found"; "unknown code" for a number that is none. The
 * string is static and never NULL. Any thread.
 */
const char *peerbase_strerror(int code);

/**
 * Says in English why the last function that failed on this thread has failed: the text that
 * `peerbase_strerror` gives for the code, and most often a colon and details, such as which
 * argument was wrong, the system's words, or what the other node said. "" if none has failed.
 * Never NULL.
 *
 * A function that succeeds leaves the text as it is, so read it only after a failure. Do not read
 * it among the arguments of one statement with the function that may fail, because C evaluates
 * arguments in any order. Each thread has its own text: a failure in a callback sets it on the
 * thread that ran the callback, which may be this thread, in a function that waits. Before an
 * event of a relay that is down or has refused this node, the library sets the text to the reason.
 *
 * What another node said may be long and hold any character but NUL: do not use it as a format of
 * printf, and do not write it to a terminal unchecked. Compare codes, not texts, because texts may
 * change. The string belongs to the library, and is valid until another function of the library
 * fails on this thread.
 */
const char *peerbase_last_error(void);

/**
 * The version of the library that is linked, such as "0.1.0". The PEERBASE_VERSION_ macros are the
 * version of the header. The string is static and never NULL. Any thread.
 */
const char *peerbase_version(void);

/**
 * Offers a file to the network. This function reads the whole file before it returns, so do not
 * call it in a callback, because no other handler of the node runs meanwhile. If the file is later
 * changed or removed, the node no longer offers it. `path` is copied. `hash` must have room for
 * PEERBASE_HASH_LEN bytes, and receives the hash by which other nodes ask for the file, or ""
 * after a failure. Neither may be NULL.
 *
 * Any thread. Returns 0, PEERBASE_ERR_IO if the file cannot be read, PEERBASE_ERR_DAMAGED if it
 * changed meanwhile, PEERBASE_ERR_OVERLOADED if the node offers as many files as it may,
 * PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
 *
 * The functions of files are in the library if it was built with the feature `files`, which it is
 * unless that was switched off.
 */
int peerbase_node_add_file(struct peerbase_node *handle, const char *path, char *hash);

/**
 * Sets the folder into which files are fetched, and whose files `peerbase_node_refresh` offers.
 * The folder is made if it does not exist. `folder` is copied and must not be NULL. Any thread.
 * Returns 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_set_file_dir(struct peerbase_node *handle, const char *folder);

/**
 * Looks at the offered files again. A file that has changed is offered with its new contents; a
 * file that is gone is no longer offered; and a new regular file in the folder is offered from now
 * on, unless its name begins with a dot. New contents are read before the function returns, so do
 * not call it in a callback of a node that has to answer meanwhile.
 *
 * `*out`, if `out` is not NULL, is a reply of one entry, whose JSON is an object with the numbers
 * "added", "changed" and "removed"; the program frees it with `peerbase_reply_free`. Any thread.
 * Returns 0, PEERBASE_ERR_IO, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_refresh(struct peerbase_node *handle, struct peerbase_reply **out);

/**
 * Fetches a file by its hash into the folder of `peerbase_node_set_file_dir`, from the peers that
 * have it, several at once. `timeout_ms` is how long the transfer may make no progress, also
 * before any peer has said that it has the file, 0 to INT_MAX milliseconds; more than a day
 * (86 400 000) counts as a day. If a transfer is interrupted, also by an error of this node such
 * as a full disk, the pieces that have arrived whole are kept in the subfolder ".peerbase-parts",
 * and the next request for the file resumes with them. The file gets its final name after it was
 * verified.
 *
 * `hash` is copied and must not be NULL. `progress` may be NULL, and must not throw or longjmp.
 * `*out`, if `out` is not NULL, is a reply of one entry, whose JSON is an object with "path" and
 * "size" (in bytes); the program frees it with `peerbase_reply_free`.
 *
 * Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0,
 * PEERBASE_ERR_FILE_UNKNOWN if no peer has the file, PEERBASE_ERR_DAMAGED if no peer sent what the
 * hash says, PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_BROKEN if the transfer was interrupted,
 * PEERBASE_ERR_IO if the file cannot be written, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8, or
 * PEERBASE_ERR_ARGUMENT, also if no folder is set.
 */
int peerbase_node_request_file(struct peerbase_node *handle,
                               const char *hash,
                               int timeout_ms,
                               peerbase_progress progress,
                               void *user,
                               struct peerbase_reply **out);

/**
 * Makes a new network key, as text.
 *
 * `out` must not be NULL and must have room for PEERBASE_KEY_LEN bytes; it belongs to the program.
 * After success it holds a secret, after a failure "". Any thread. Returns 0,
 * PEERBASE_ERR_ARGUMENT, or PEERBASE_ERR_IO if the kernel has no random source.
 */
int peerbase_key_generate(char *out);

/**
 * Sets the function that gets the library's log lines of level 1 to `level`. Without it the
 * library logs nothing. It can be set once in a process, from any thread. Returns 0,
 * PEERBASE_ERR_ARGUMENT if `handler` is NULL or `level` is outside 1 to 4, or PEERBASE_ERR_REFUSED
 * if a log is already set.
 */
int peerbase_set_log(int level, peerbase_log_handler handler);

/**
 * Connects to the node at an address, "IP:PORT" or `[IPV6]:PORT`, whatever its name. After that
 * this node dials the address again whenever the link is lost, exchanges peers with the other
 * node, and connects to those peers as well.
 *
 * `addr` is copied and must not be NULL. `timeout_ms` is 0 to INT_MAX milliseconds; more than a
 * day (86 400 000) counts as a day. `*out`, if `out` is not NULL, is a reply of one entry with the
 * name of the node that answered, which the program frees with `peerbase_reply_free`; after a
 * failure it is NULL.
 *
 * Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0,
 * PEERBASE_ERR_UNREACHABLE if no node of this network answered in time, PEERBASE_ERR_ADDRESS,
 * PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_connect(struct peerbase_node *handle,
                          const char *addr,
                          int timeout_ms,
                          struct peerbase_reply **out);

/**
 * Sends bytes to every node that can be reached through any chain of nodes, once to each, and
 * waits for the report. `data` is copied, and may be NULL when `len` is 0.
 *
 * `timeout_ms` is as for `peerbase_node_connect`. `*out`, if `out` is not NULL, is a reply of one
 * entry, which the program frees with `peerbase_reply_free`. Its JSON is an object: "delivered" is
 * how many nodes have the bytes; "failed" is how many did not answer, and "names" are some of
 * those; "cut" says whether a chain was too long. The reply is there also when some nodes were
 * missed; otherwise a failure leaves NULL.
 *
 * Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK. Returns 0 if
 * the bytes were delivered to all nodes, PEERBASE_ERR_UNREACHABLE if not, PEERBASE_ERR_TOO_LARGE,
 * PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_broadcast(struct peerbase_node *handle,
                            const uint8_t *data,
                            size_t len,
                            int timeout_ms,
                            struct peerbase_reply **out);

/**
 * Sends bytes to one node's message handler, and waits until the handler has answered; the answer
 * is discarded. `data` is copied, and may be NULL when `len` is 0. Otherwise as
 * `peerbase_node_send`, without a reply.
 */
int peerbase_node_send_to(struct peerbase_node *handle,
                          const char *target,
                          const uint8_t *data,
                          size_t len,
                          int timeout_ms);

/**
 * Writes the addresses of the peers to which this node has a direct link, for
 * `peerbase_node_load_state` after the next start. The file is replaced as a whole: after a power
 * cut it is the old one or the new one. `file` is copied and must not be NULL. Any thread. Returns
 * 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_save_state(struct peerbase_node *handle, const char *file);

/**
 * Reads a file that `peerbase_node_save_state` wrote. The node dials its addresses for as long as
 * it runs. `file` is copied and must not be NULL. Any thread.
 *
 * Returns how many addresses there are, 0 if there is no such file; PEERBASE_ERR_DAMAGED if it is
 * not such a file: then it is kept under its name with ".damaged" added, and the node runs on
 * without the addresses; PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED, PEERBASE_ERR_UTF8 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_load_state(struct peerbase_node *handle, const char *file);

/**
 * Starts a node on a thread of its own, named "peerbase".
 *
 * It takes a quarter of a second, in which the node asks the network whether its name is taken. It
 * takes longer until the relays that were added have been asked as well, or have failed: two
 * seconds at most. Starting copies `config`. Neither argument may be NULL. `*out` is the node,
 * which belongs to the program until `peerbase_node_free`, or NULL. Any thread. Returns 0, or what
 * is wrong, for example PEERBASE_ERR_NAME_TAKEN, PEERBASE_ERR_PORT_IN_USE, PEERBASE_ERR_IO or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_start(const struct peerbase_config *config, struct peerbase_node **out);

/**
 * Opens a node that the program drives from its own event loop: poll `peerbase_node_fd` for at
 * most `peerbase_node_timeout_ms`, then call `peerbase_node_process`. Every callback runs on the
 * loop's thread, which is the thread that opened the node or last processed it; for a stop see
 * `peerbase_node_stop`. A blocking function drives the loop itself while it waits. On another
 * thread than the loop's it handles network traffic only, and leaves the callbacks to the loop's
 * thread. Otherwise as `peerbase_node_start`.
 */
int peerbase_node_open(const struct peerbase_config *config, struct peerbase_node **out);

/**
 * A descriptor that is readable whenever `peerbase_node_process` would do something, timers apart.
 * It is level-triggered. It belongs to the node: poll it, and do nothing else with it. Any thread.
 * Returns -1 for NULL and in a child of a fork, with the reason in `peerbase_last_error`.
 */
int peerbase_node_fd(const struct peerbase_node *handle);

/**
 * How many milliseconds to poll at most before `peerbase_node_process`; -1 means without limit.
 * Ask again after every use of the node. Any thread. Returns 0 for NULL and in a child of a fork,
 * with the reason in `peerbase_last_error`, so that a loop does not wait for what never comes.
 */
int peerbase_node_timeout_ms(const struct peerbase_node *handle);

/**
 * Waits at most `timeout_ms` milliseconds (a negative number: as long as it takes) for something
 * to do, does it, and runs the callbacks. Any thread; the thread that calls it is the loop's
 * thread from then on. Returns 0, PEERBASE_ERR_STOPPED, PEERBASE_ERR_FORKED in a child of a fork,
 * PEERBASE_ERR_WOULD_DEADLOCK in a callback, PEERBASE_ERR_ARGUMENT for NULL and for a node with a
 * thread of its own, or PEERBASE_ERR_IO.
 */
int peerbase_node_process(struct peerbase_node *handle, int timeout_ms);

/**
 * Runs a node that `peerbase_node_open` made on this thread until it is stopped. Any thread.
 * Returns 0, or a code as `peerbase_node_process` does: for example PEERBASE_ERR_ARGUMENT for a
 * node that `peerbase_node_start` made, or that another thread already runs.
 */
int peerbase_node_run(struct peerbase_node *handle);

/**
 * Stops a node: sends the answers that wait, for two seconds at most, says goodbye to the network,
 * and ends what is in flight, as PEERBASE_ERR_STOPPED. The program still has to free the node. Any
 * thread, also in a callback, where it returns at once. If the node runs in the program's own loop
 * and no other thread drives it just now, it returns when all of this is done, and runs the
 * callbacks of asynchronous calls on this thread. Returns 0, also if the node was stopped before,
 * PEERBASE_ERR_FORKED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_stop(struct peerbase_node *handle);

/**
 * Stops a node and frees it. NULL is allowed. Freeing it twice is not; a debug build of the
 * library notices that and does nothing.
 *
 * It first sends the answers that wait, for two seconds at most; then peers have half a second to
 * close their links. Functions that wait on other threads return PEERBASE_ERR_STOPPED. When it
 * returns, no callback runs and every `drop_user` was called, except those of a configuration and
 * of streams that are not freed yet. Any thread, also in a callback: there it returns at once, and
 * the node ends after that callback, within three seconds, so let `drop_user` free what `user`
 * points to. In a child process of a fork it frees the handle only: descriptors stay open until
 * exec or exit, and no `drop_user` is called.
 */
void peerbase_node_free(struct peerbase_node *handle);

/**
 * The TCP port on which the node listens. Any thread. Returns 0 for NULL and in a child of a fork,
 * with the reason in `peerbase_last_error`.
 */
uint16_t peerbase_node_port(const struct peerbase_node *handle);

/**
 * Registers a command at a dotted path, such as "sensor.read". Paths that begin with "__" are the
 * library's.
 *
 * `path` is copied; neither it nor `handler` may be NULL. `drop_user` may be NULL; otherwise it is
 * called once with `user`, from any thread, when the command is no longer needed, also if this
 * function fails. Any thread. Returns 0, PEERBASE_ERR_PATH, PEERBASE_ERR_COMMAND_EXISTS,
 * PEERBASE_ERR_UTF8, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_register(struct peerbase_node *handle,
                           const char *path,
                           peerbase_handler handler,
                           void *user,
                           void (*drop_user)(void *user));

/**
 * Registers `count` commands below a path, or none of them; otherwise as `peerbase_node_register`.
 * `table` is copied, and may be NULL when `count` is 0.
 */
int peerbase_node_register_table(struct peerbase_node *handle,
                                 const char *path,
                                 const struct peerbase_command *table,
                                 size_t count);

/**
 * Removes the command at a path and all below it. A call of it that runs is not disturbed. `path`
 * must not be NULL. Any thread. Returns how many commands were removed, or PEERBASE_ERR_PATH,
 * PEERBASE_ERR_UTF8, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_unregister(struct peerbase_node *handle, const char *path);

/**
 * Sets the handler of messages, in place of the one before; otherwise as `peerbase_node_register`.
 */
int peerbase_node_on_message(struct peerbase_node *handle,
                             peerbase_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Sets the handler of events, in place of the one before; NULL removes it. The first handler also
 * gets the events since the start, 1 024 at most. `drop_user` as for `peerbase_node_register`. Any
 * thread. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_on_event(struct peerbase_node *handle,
                           peerbase_event_handler handler,
                           void *user,
                           void (*drop_user)(void *user));

/**
 * Lists the peers that are known now. `*out` has an entry for each, with its name. The code of an
 * entry is 0 if a session with the peer is open, and PEERBASE_ERR_UNREACHABLE if it is only known
 * so far. The JSON of an entry, if any, is an object: "address" is the peer's address, or "relay"
 * the relay through which it is reached; "ping_us" is how long its last ping took, in
 * microseconds, and "ping_ago_ms" how long ago that was, in milliseconds; "fingerprint" is that of
 * the peer's public key, once a session with it was open, for people to compare. A peer that
 * speaks the protocol of PeerBase 0.7.1 has code 0 while it is heard, and "compat" is true:
 * nothing about it is proven.
 *
 * `out` must not be NULL; the program frees the reply with `peerbase_reply_free`. Any thread.
 * Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_STOPPED or PEERBASE_ERR_FORKED; after a failure
 * `*out` is NULL.
 */
int peerbase_node_peers(const struct peerbase_node *handle, struct peerbase_reply **out);

/**
 * Gives the counters of a node since its start. `*out` has one entry, whose JSON is an object of
 * numbers. `out` must not be NULL; the program frees the reply with `peerbase_reply_free`. Any
 * thread. Returns 0, also for a node that was stopped; or PEERBASE_ERR_ARGUMENT or
 * PEERBASE_ERR_FORKED, and then `*out` is NULL.
 */
int peerbase_node_stats(const struct peerbase_node *handle, struct peerbase_reply **out);

/**
 * The number of entries; 0 for NULL. Any thread.
 */
size_t peerbase_reply_count(const struct peerbase_reply *reply);

/**
 * The name of the node of entry `i`. The string is valid as long as the reply. Any thread. Returns
 * NULL if there is no such entry.
 */
const char *peerbase_reply_node(const struct peerbase_reply *reply, size_t i);

/**
 * The outcome of entry `i`: 0 or a PEERBASE_ERR_ code; PEERBASE_ERR_ARGUMENT if there is no such
 * entry. Any thread.
 */
int peerbase_reply_code(const struct peerbase_reply *reply, size_t i);

/**
 * The value of entry `i` as JSON. The string is valid as long as the reply. Any thread. Returns
 * NULL if the entry failed, holds bytes, or does not exist.
 */
const char *peerbase_reply_json(const struct peerbase_reply *reply, size_t i);

/**
 * Says why entry `i` failed; "" if it did not. The string is valid as long as the reply. Any
 * thread. Returns NULL if there is no such entry.
 */
const char *peerbase_reply_message(const struct peerbase_reply *reply, size_t i);

/**
 * The bytes with which a message was answered, or a command that answers with bytes; `*len` is
 * their number. `len` must not be NULL. The bytes are valid as long as the reply. Any thread.
 * Returns NULL, and 0 bytes, if the entry failed, holds JSON, or does not exist. The pointer to an
 * answer of no bytes is not NULL.
 */
const uint8_t *peerbase_reply_data(const struct peerbase_reply *reply, size_t i, size_t *len);

/**
 * Frees a reply. NULL is allowed. Freeing it twice is not; a debug build of the library notices
 * that and does nothing. Any thread, while no other thread uses the reply.
 */
void peerbase_reply_free(struct peerbase_reply *reply);

/**
 * The name of the node that asks. One thread at a time may use the request. The string is valid
 * until the request is consumed. Returns NULL for a NULL request.
 */
const char *peerbase_request_caller(const struct peerbase_request *request);

/**
 * The fingerprint of the public key by which the node that asks has proved who it is, such as
 * "k7qp-2mzd-abcd-efgh-ijkl"; of a message to all nodes, that of the node which has signed it.
 * Another node that goes by the same name has another one. "" for a node of PeerBase 0.7.1, which
 * proves nothing. One thread at a time may use the request. The string is valid until the request
 * is consumed. Returns NULL for a NULL request.
 */
const char *peerbase_request_fingerprint(const struct peerbase_request *request);

/**
 * The path that is called; "" for a message. One thread at a time may use the request. The string
 * is valid until the request is consumed. Returns NULL for a NULL request.
 */
const char *peerbase_request_path(const struct peerbase_request *request);

/**
 * The positional arguments, a JSON array. It is well-formed, has no repeated keys, and its lists
 * and objects, this one included, are nested at most 127 deep. One thread at a time may use the
 * request. The string is valid until the request is consumed. Returns NULL for a NULL request.
 */
const char *peerbase_request_args(const struct peerbase_request *request);

/**
 * The named arguments, a JSON object. Otherwise as `peerbase_request_args`.
 */
const char *peerbase_request_kwargs(const struct peerbase_request *request);

/**
 * The bytes of a message, or those that a command was called with; `*len` is their number. `len`
 * must not be NULL. One thread at a time may use the request. The bytes are valid until the
 * request is consumed. Returns NULL, and 0 bytes, for a command that was called with JSON; the
 * arguments of one that was called with bytes are "[]" and "{}". The pointer to no bytes is not
 * NULL.
 */
const uint8_t *peerbase_request_data(const struct peerbase_request *request, size_t *len);

/**
 * Whether the caller still waits: it has not cancelled the call, its timeout is not over, and the
 * node was not stopped. Any thread, one at a time for a request. Returns false for NULL.
 */
bool peerbase_request_is_wanted(const struct peerbase_request *request);

/**
 * Whether a message is for this node alone. It is false if the message was sent to all nodes by
 * `peerbase_node_broadcast`: then no node waits for an answer, but the program must consume the
 * request all the same. One thread at a time may use the request. Returns true for a command, and
 * false for NULL.
 */
bool peerbase_request_is_private(const struct peerbase_request *request);

/**
 * Whether the caller of a command streams, and accepts a stream: see `peerbase_request_stream`.
 * One thread at a time may use the request. Returns false for a message and for NULL.
 */
bool peerbase_request_has_streams(const struct peerbase_request *request);

/**
 * Answers a command with a JSON value, and consumes the request whatever it returns.
 *
 * `json` is copied and must not be NULL. Any thread. Returns 0; PEERBASE_ERR_JSON or
 * PEERBASE_ERR_UTF8 if `json` is not that, and PEERBASE_ERR_TOO_LARGE if it does not fit into a
 * message, in which cases the caller is told that the command failed; PEERBASE_ERR_ARGUMENT if
 * `json` or `request` is NULL, or for a message; PEERBASE_ERR_STOPPED if the node was stopped.
 */
int peerbase_request_reply(struct peerbase_request *request, const char *json);

/**
 * Answers a message or a command with bytes, and consumes the request whatever it returns. The
 * caller of a command is told that its value is bytes, and not JSON.
 *
 * `data` is copied, and may be NULL when `len` is 0. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_TOO_LARGE or PEERBASE_ERR_STOPPED.
 */
int peerbase_request_reply_data(struct peerbase_request *request, const uint8_t *data, size_t len);

/**
 * Answers that the command failed, and why; consumes the request whatever it returns.
 *
 * `message` is copied; NULL stands for "". Any thread. Returns 0, PEERBASE_ERR_UTF8,
 * PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_request_fail(struct peerbase_request *request, const char *message);

/**
 * Answers that the caller may not have what it asks for, and why; otherwise as
 * `peerbase_request_fail`.
 */
int peerbase_request_refuse(struct peerbase_request *request, const char *reason);

/**
 * Calls a command of another node, and streams to it and from it.
 *
 * As `peerbase_node_call`, but it returns at once. `timeout_ms` is how long nothing may move in
 * either direction, 0 to INT_MAX milliseconds; more than a day (86 400 000) counts as a day. `out`
 * must not be NULL; `*out` is the stream, which the program frees with `peerbase_stream_free`, or
 * NULL. Any thread, also in a callback. Returns 0, what is wrong with the arguments,
 * PEERBASE_ERR_OVERLOADED or PEERBASE_ERR_STOPPED. `peerbase_stream_wait` says how the call ends.
 */
int peerbase_node_call_stream(struct peerbase_node *handle,
                              const char *target,
                              const char *path,
                              const char *args,
                              const char *kwargs,
                              int timeout_ms,
                              struct peerbase_stream **out);

/**
 * Calls a command of several nodes and streams the same to each. `targets` are `count` names; NULL
 * and 0 stand for every peer that is known now, except those whose rules do not allow the call.
 * The slowest node sets the pace, and a node that fails is left out. The stream cannot be read.
 * Otherwise as `peerbase_node_call_stream`.
 */
int peerbase_node_call_stream_many(struct peerbase_node *handle,
                                   const char *const *targets,
                                   size_t count,
                                   const char *path,
                                   const char *args,
                                   const char *kwargs,
                                   int timeout_ms,
                                   struct peerbase_stream **out);

/**
 * Gives the streams of a command whose caller streams: one from the caller, and one to it. The
 * program still has to answer the request, with a function that consumes it, once all is written;
 * an answer with a value also finishes the stream that was written. `out` must not be NULL; `*out`
 * is the stream, which the program frees with `peerbase_stream_free`, or NULL.
 *
 * One thread at a time may use the request. Handlers must not wait: read and write on another
 * thread, or with a timeout of 0. Returns 0, PEERBASE_ERR_ARGUMENT if the caller does not stream,
 * or its streams were already taken, PEERBASE_ERR_BROKEN if the caller has given up, or
 * PEERBASE_ERR_STOPPED.
 */
int peerbase_request_stream(const struct peerbase_request *request, struct peerbase_stream **out);

/**
 * Reads at most `size` bytes into `data`; `*got` is how many. It is 0 at the end, when all bytes
 * have arrived and were verified. Waits at most `timeout_ms` milliseconds for bytes to arrive; a
 * negative number waits as long as the call lives, and 0 does not wait.
 *
 * Neither `data` nor `got` may be NULL, and `size` must not be 0. `*got` is 0 unless the function
 * returns 0; the contents of `data` beyond `*got` are undefined. Any thread, but in a callback
 * only with a timeout of 0. Returns 0, PEERBASE_ERR_WOULD_BLOCK if nothing arrived in time,
 * PEERBASE_ERR_BROKEN if the stream ended before it was whole (`peerbase_last_error` says why, and
 * how much had arrived, if anything had), PEERBASE_ERR_WOULD_DEADLOCK in a callback,
 * PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_stream_read(struct peerbase_stream *stream,
                         uint8_t *data,
                         size_t size,
                         int timeout_ms,
                         size_t *got);

/**
 * Writes `len` bytes, or as many of them as there is room for within `timeout_ms` milliseconds in
 * all; `*wrote` is how many. They are copied. `data` may be NULL when `len` is 0. `wrote` may be
 * NULL if `timeout_ms` is negative: then all bytes are written, or the function fails. A stream to
 * several nodes takes all bytes and waits as long as it takes, so in a callback it returns
 * PEERBASE_ERR_WOULD_DEADLOCK; and PEERBASE_ERR_WOULD_BLOCK while another thread writes to it.
 *
 * Otherwise as `peerbase_stream_read`, but `*wrote` also counts what was written before a failure.
 * PEERBASE_ERR_BROKEN also means that the reader accepts no more.
 */
int peerbase_stream_write(struct peerbase_stream *stream,
                          const uint8_t *data,
                          size_t len,
                          int timeout_ms,
                          size_t *wrote);

/**
 * Says that all was written. If a stream is freed before that, it is broken off, and its reader is
 * told so. Any thread, also in a callback. Returns 0, PEERBASE_ERR_FORKED, PEERBASE_ERR_ARGUMENT,
 * or PEERBASE_ERR_WOULD_BLOCK while another thread writes to a stream to several nodes.
 */
int peerbase_stream_finish(struct peerbase_stream *stream);

/**
 * Breaks off the stream that is written, and tells the reader why. `why` is copied, up to 1 024
 * bytes, and may be NULL. Any thread, also in a callback. Returns 0, PEERBASE_ERR_UTF8,
 * PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT, also for a stream to several nodes.
 */
int peerbase_stream_abort(struct peerbase_stream *stream, const char *why);

/**
 * Sets the handler that is called when a read or write that returned PEERBASE_ERR_WOULD_BLOCK can
 * be tried again; NULL removes it. It is called at least once after such returns, but only once if
 * both directions can go on at a time: so it tries all that it waits for. Set it before the first
 * read or write. It may read and write with a timeout of 0, and must not free the stream.
 * `drop_user` is called once with `user`, and may be NULL. Any thread. Returns 0,
 * PEERBASE_ERR_FORKED, or PEERBASE_ERR_ARGUMENT, also for a stream to several nodes.
 */
int peerbase_stream_on_ready(struct peerbase_stream *stream,
                             peerbase_ready handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Says that all was written, discards what was not read, and waits for the value of the call that
 * this stream was made with. `out` must not be NULL; `*out` has an entry for each target, and the
 * program frees it with `peerbase_reply_free`.
 *
 * Any thread, but not in a callback: there it returns PEERBASE_ERR_WOULD_DEADLOCK, and changes
 * nothing. Returns 0 for several targets; for one target as `peerbase_node_call`, and
 * PEERBASE_ERR_BROKEN if the stream of the command broke off; PEERBASE_ERR_WOULD_BLOCK while
 * another thread writes to a stream to several nodes; PEERBASE_ERR_ARGUMENT for a command's own
 * stream, or the second time.
 */
int peerbase_stream_wait(struct peerbase_stream *stream, struct peerbase_reply **out);

/**
 * Frees a stream: what was not read is discarded, what was not finished is broken off, and a call
 * that was not waited for is cancelled. NULL is allowed. Freeing it twice is not; a debug build of
 * the library notices that and does nothing. Any thread, also in a callback other than the
 * stream's own; it must be the last use of the stream.
 */
void peerbase_stream_free(struct peerbase_stream *stream);

/**
 * Adds the public key of an authority, "authority-" and 44 characters; at most 2. From then on the
 * network is a certified one for this node: a peer must show a certificate that one of these
 * authorities has signed. All nodes of a network must be given the same authorities. A node with
 * an authority needs `peerbase_config_set_certificate` and an identity, and does not speak to
 * nodes of PeerBase 0.7.1. `key` is copied and must not be NULL. One thread at a time may use
 * `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or
 * PEERBASE_ERR_KEY.
 */
int peerbase_config_add_authority(struct peerbase_config *config, const char *key);

/**
 * Sets the certificate that the node shows: the whole text that `peerbase authority sign` prints,
 * at most 1024 bytes. It must be that of the network, the name and the identity of the node, or
 * else the node does not start (PEERBASE_ERR_REFUSED). `certificate` is copied and must not be
 * NULL. One thread at a time may use `config`, which must not be NULL. Returns 0,
 * PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_DAMAGED.
 */
int peerbase_config_set_certificate(struct peerbase_config *config, const char *certificate);

/**
 * Sets a revocation list that the node has from the start on: the whole text of the file that
 * `peerbase authority revoke` writes, at most 262144 bytes. See `peerbase_node_revoke`. `list` is
 * copied and must not be NULL. One thread at a time may use `config`, which must not be NULL.
 * Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_DAMAGED.
 */
int peerbase_config_set_revocations(struct peerbase_config *config, const char *list);

/**
 * Sets the folder in which the node keeps what it must not forget: which names belong to which
 * keys, and the newest revocation list. The node makes the folder if it is not there; it belongs
 * to one node. Each file is replaced as a whole, at most once a minute, and what is left is
 * written when the node is freed. Without a folder, names are pinned to keys until the node ends.
 * If a file there is damaged, the node does not start (PEERBASE_ERR_DAMAGED) and keeps the file
 * aside, and the next start goes on without it. `path` is copied and must not be NULL. One thread
 * at a time may use `config`, which must not be NULL. Returns 0, PEERBASE_ERR_ARGUMENT or
 * PEERBASE_ERR_UTF8.
 */
int peerbase_config_set_state_dir(struct peerbase_config *config, const char *path);

/**
 * Says that from now on a name belongs to this key in an open network, whatever it belonged to:
 * after PEERBASE_EVENT_DISTRUSTED, if the node that has the name was given a new identity. Compare
 * the fingerprints first. Sessions with nodes of that name that have another key are closed.
 * `name` is the node's; `key` is its public key, "peer-" and 44 characters. Both are copied and
 * must not be NULL. Any thread. Returns 0, PEERBASE_ERR_NAME, PEERBASE_ERR_KEY,
 * PEERBASE_ERR_ARGUMENT also in a certified network, PEERBASE_ERR_OVERLOADED if 4096 other names
 * belong to keys, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_accept_key(struct peerbase_node *handle, const char *name, const char *key);

/**
 * Gives the names that belong to a key. `*out` is a reply of one entry, which the program frees
 * with `peerbase_reply_free`; after a failure it is NULL. Its JSON is a list of objects with
 * "name", "key" and "fingerprint", in the order of the names, and empty in a certified network.
 * `out` must not be NULL. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_pins(struct peerbase_node *handle, struct peerbase_reply **out);

/**
 * Gives a node of a certified network a revocation list: the whole text of the file that
 * `peerbase authority revoke` writes. If the list is newer than the one that the node has, it
 * closes the sessions of the nodes that the list names at once, and hands it on to every other
 * node, which does the same. `list` is copied and must not be NULL. `*is_new`, if `is_new` is not
 * NULL, is set to whether the list is newer, and to false after a failure. Any thread. Returns 0,
 * PEERBASE_ERR_REFUSED if no authority that the node knows has signed the list for this network,
 * PEERBASE_ERR_DAMAGED, PEERBASE_ERR_ARGUMENT also in an open network, PEERBASE_ERR_UTF8 or
 * PEERBASE_ERR_STOPPED.
 */
int peerbase_node_revoke(struct peerbase_node *handle, const char *list, bool *is_new);

/**
 * Sets the keys of the network, in place of all that were set before: the first seals, and the
 * others are understood. Sessions go on. `keys` has `count` keys, 1 to 4, as for
 * `peerbase_config_new`; they are copied, and none may be NULL. To replace a key without
 * interrupting the network, give every node the new one as its second key, then as its first, and
 * then take the old one away. Any thread. Returns 0, PEERBASE_ERR_KEY, PEERBASE_ERR_ARGUMENT,
 * PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_set_keys(struct peerbase_node *handle, const char *const *keys, size_t count);

/**
 * Shows another certificate from now on: the whole text that `peerbase authority sign` prints, for
 * the network, the name and the identity of this node. Peers see it with their next session.
 * `certificate` is copied and must not be NULL. Any thread. Returns 0, PEERBASE_ERR_REFUSED if it
 * is not such a certificate, PEERBASE_ERR_DAMAGED if it is none, PEERBASE_ERR_ARGUMENT also in an
 * open network, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_set_certificate(struct peerbase_node *handle, const char *certificate);

/**
 * Gives this node another identity, and in a certified network the certificate for it. To the
 * other nodes it leaves, and joins again under its name. Calls of this node that are under way end
 * as PEERBASE_ERR_CANCELLED, and it is not known whether their commands ran. In an open network,
 * other nodes have to accept the new key (`peerbase_node_accept_key`). `identity` is as for
 * `peerbase_config_set_identity` and must not be NULL; `certificate` is NULL in an open network.
 * Both are copied. Any thread. Returns 0, PEERBASE_ERR_KEY, PEERBASE_ERR_REFUSED if the
 * certificate is not that of the network, the name and the identity, PEERBASE_ERR_DAMAGED,
 * PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_UTF8 or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_set_identity(struct peerbase_node *handle,
                               const char *identity,
                               const char *certificate);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PEERBASE_H */
