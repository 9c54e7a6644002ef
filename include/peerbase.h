/* PeerBase: programs find each other by name and call each other's commands, encrypted end to end.
 *
 * Generated from src/ffi/ by cbindgen: do not edit.
 *
 * All strings are UTF-8 and NUL-terminated, unless a length goes with them. A function that can fail
 * returns 0 or a negative PEERBASE_ERR_ code; peerbase_strerror names it, and peerbase_last_error says
 * why. Whatever the library hands out is freed with its own function, never with free().
 *
 * A function that gives something through a pointer empties what that points to first (NULL, 0 or ""), and fills
 * it only when there is something: after a failure nothing that was there before is left. Such a pointer may be
 * NULL only where the function's comment says so.
 *
 * Callbacks must return. They must not throw, because a C++ exception that leaves one ends the process (abort), and
 * must not leave by longjmp or pthread_exit, after which the library is in no defined state. The `user` of a
 * callback must be good until its `drop_user` was called, or, without one, until the node was freed: a callback that
 * is replaced or taken away on another thread may be about to run. `drop_user` must not throw either, and should not
 * call the library.
 *
 * Where there is no memory left the process ends (abort), as in every Rust program: no function returns that. What
 * peers can make a node hold is bounded, and so is what the program asks for in one call. A bug of the library is
 * PEERBASE_ERR_INTERNAL.
 *
 * Timeouts are milliseconds in an int. Where one is how long a call may take, it is 0 to INT_MAX, more than a day
 * (86 400 000) counts as a day, and a negative one is PEERBASE_ERR_ARGUMENT. For peerbase_node_process,
 * peerbase_stream_read and peerbase_stream_write it is 0 to INT_MAX, and a negative one waits as long as it takes.
 *
 * A node answers at most 1 024 requests of each peer at a time, unless PEERBASE_LIMIT_SERVED_PER_PEER is set; further
 * ones are PEERBASE_ERR_OVERLOADED for their caller and do not run. */

#ifndef PEERBASE_H
#define PEERBASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * For `flags`: the first failure ends a call of several, and is what it returns.
 */
#define PEERBASE_CALL_RAISE_ERRORS 1

/**
 * For `flags`: a name that is not known is an error at once, and not waited for.
 */
#define PEERBASE_CALL_NO_WAIT 2

/**
 * A node has proved that it is there and holds the key; or one of PeerBase 0.7.1 is heard, which proves nothing.
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
 * Another node has our name; everyone resolves it to this one.
 */
#define PEERBASE_EVENT_NAME_CONFLICT_WON 4

/**
 * Another node has our name; everyone resolves it to the other one.
 */
#define PEERBASE_EVENT_NAME_CONFLICT_LOST 5

/**
 * This node has joined its network at a relay.
 */
#define PEERBASE_EVENT_RELAY_UP 6

/**
 * A relay cannot be reached, or was lost; it is tried again. Told once for each reason.
 */
#define PEERBASE_EVENT_RELAY_DOWN 7

/**
 * A relay has refused this node, for a wrong key say; it is tried again now and then.
 */
#define PEERBASE_EVENT_RELAY_REFUSED 8

/**
 * Calls to a node that went through a relay go straight from now on.
 */
#define PEERBASE_EVENT_PATH_DIRECT 9

/**
 * Calls to a node go through a relay from now on, or through another one.
 */
#define PEERBASE_EVENT_PATH_RELAY 10

/**
 * Too much happened while the event handler was busy, and it was not told of all of it. Ask for the peers.
 */
#define PEERBASE_EVENT_MISSED 11

/**
 * Bytes of a file's hash as text: 64 digits of hexadecimal and a NUL.
 */
#define PEERBASE_HASH_LEN 65

/**
 * Room for a key as text: 44 characters and the NUL.
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
 * The outcome codes of the C interface; 0 is success, every failure is negative.
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
     * A network key is not 44 characters of base64url that hold 32 bytes.
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
     * An address is not IP:PORT.
     */
    PEERBASE_ERR_ADDRESS = -7,
    /**
     * A string is not UTF-8.
     */
    PEERBASE_ERR_UTF8 = -8,
    /**
     * A body (arguments, value, message or file) is larger than its limit, or holds more JSON values than
     * are accepted. As the outcome of a call: the command did not run.
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
     * The peer is not known, or no path leads to it any more. If it had the call, whether the command ran is
     * unknown.
     */
    PEERBASE_ERR_UNREACHABLE = -16,
    /**
     * The peer restarted while it had the call; whether the command ran is unknown.
     */
    PEERBASE_ERR_PEER_RESTARTED = -17,
    /**
     * The caller cancelled.
     */
    PEERBASE_ERR_CANCELLED = -18,
    /**
     * Too much is in flight, here or at the peer; the command did not run.
     */
    PEERBASE_ERR_OVERLOADED = -19,
    /**
     * The peer does not want this.
     */
    PEERBASE_ERR_REFUSED = -20,
    /**
     * A blocking call from inside a callback would wait for itself.
     */
    PEERBASE_ERR_WOULD_DEADLOCK = -21,
    /**
     * The node has been stopped.
     */
    PEERBASE_ERR_STOPPED = -22,
    /**
     * The process forked after start; a child may only free the handle.
     */
    PEERBASE_ERR_FORKED = -23,
    /**
     * A command is already registered at this path.
     */
    PEERBASE_ERR_COMMAND_EXISTS = -24,
    /**
     * A bug in the library; the call was abandoned and the process lives on.
     */
    PEERBASE_ERR_INTERNAL = -25,
    /**
     * The operation could not make progress without waiting, or within its timeout; try again later.
     */
    PEERBASE_ERR_WOULD_BLOCK = -26,
    /**
     * A stream ended before it was whole; the message says how much arrived.
     */
    PEERBASE_ERR_BROKEN = -27,
    /**
     * Nobody who can be asked has a file of this hash.
     */
    PEERBASE_ERR_FILE_UNKNOWN = -28,
    /**
     * What was read or received is not what it should be.
     */
    PEERBASE_ERR_DAMAGED = -29,
    /**
     * The command ran, but its answer was lost: there was no room to keep it, or it is more than is taken here.
     */
    PEERBASE_ERR_ANSWER_LOST = -30,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum peerbase_err peerbase_err;
#else
typedef int32_t peerbase_err;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A bound on what others can make a node hold or do, as it is set by its number in C and by its name at a command
 * line. A number of things is 1 to 1 048 576, bytes of memory are 1 KiB to 1 GiB, and milliseconds are 1 to a day,
 * unless something else is said.
 *
 * Numbers are never changed: new limits are appended.
 */
enum peerbase_limit
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Peers known from adverts; 4 096 unless set.
     */
    PEERBASE_LIMIT_PEERS = 1,
    /**
     * Addresses remembered for one peer; 4 unless set.
     */
    PEERBASE_LIMIT_ADDRESSES_PER_PEER = 2,
    /**
     * Sessions that are open; 256 unless set. Each takes a descriptor, and up to what PEERBASE_LIMIT_LINK_QUEUE says.
     */
    PEERBASE_LIMIT_SESSIONS = 3,
    /**
     * Links that others opened and that have not finished their handshake, a quarter of them through relays; 64 unless
     * set.
     */
    PEERBASE_LIMIT_HALF_OPEN = 4,
    /**
     * Dials under way; 32 unless set.
     */
    PEERBASE_LIMIT_DIALS = 5,
    /**
     * Dials begun a second; 200 unless set.
     */
    PEERBASE_LIMIT_DIALS_PER_SECOND = 6,
    /**
     * Bytes that wait for one slow reader; 256 KiB unless set.
     */
    PEERBASE_LIMIT_LINK_QUEUE = 7,
    /**
     * Calls of this node's own in flight, and connects that wait for an address; 65 536 unless set.
     */
    PEERBASE_LIMIT_CALLS = 8,
    /**
     * Bytes of arguments of this node's own calls in flight; 16 MiB unless set.
     */
    PEERBASE_LIMIT_CALL_BYTES = 9,
    /**
     * Calls that one peer may have here, running or with their answers kept, and at most an eighth of what is free
     * of PEERBASE_LIMIT_SERVED; 1 024 unless set.
     */
    PEERBASE_LIMIT_SERVED_PER_PEER = 10,
    /**
     * Calls of all peers that run, or whose answers are kept; 16 384 unless set. Peers of one IPv4 address or IPv6
     * /48, or behind one relay, may together have as many running as they leave free: half of them if there are no
     * others.
     */
    PEERBASE_LIMIT_SERVED = 11,
    /**
     * Bytes of answers kept for one peer until it confirms them, and four times as many for all together; 8 MiB unless
     * set.
     */
    PEERBASE_LIMIT_REPLY_BYTES = 12,
    /**
     * Bytes of calls and messages of others that wait for a handler, and of messages to everyone until they are
     * consumed, with 512 for each; 16 MiB unless set.
     */
    PEERBASE_LIMIT_WAITING_BYTES = 13,
    /**
     * Bytes of what is asked in one call, and of its value; 4 MiB unless set. As `peerbase_config_set_max_message`.
     */
    PEERBASE_LIMIT_MAX_MESSAGE = 14,
    /**
     * Values that are made of one call's arguments or answer for a handler in Rust; 262 144 unless set. A program in C
     * reads texts, of which none are made.
     */
    PEERBASE_LIMIT_MAX_VALUES = 15,
    /**
     * Bytes of what others ask, from when it begins to come until it is answered, and apart from that of large answers
     * that are coming; 20 MiB unless set. Peers of one IPv4 address or IPv6 /48, or behind one relay, may together take as
     * much for what they ask as they leave free: half if there are no others. A peer that is asking something already
     * may take at most four times what it leaves of that to the others. Large answers from one peer may take half. So
     * it is to be twice PEERBASE_LIMIT_MAX_MESSAGE or more, and five times as much for two of the largest calls of one
     * peer at a time.
     */
    PEERBASE_LIMIT_MESSAGE_BYTES = 16,
    /**
     * Bytes of one piece of a stream, 1024 to 48640; 16384 unless set. As `peerbase_config_set_chunk_size`.
     */
    PEERBASE_LIMIT_CHUNK_SIZE = 17,
    /**
     * Bytes of one stream that wait at each end, 97280 to 2^30; 256 KiB unless set.
     */
    PEERBASE_LIMIT_STREAM_WINDOW = 18,
    /**
     * Ends of streams that may be open; 128 unless set. Callers of one IPv4 address or IPv6 /48, or behind one relay,
     * may have as many as they leave free, half of them if there are no others, and one of them nearly half.
     */
    PEERBASE_LIMIT_STREAMS = 19,
    /**
     * Messages to everyone that are delivered and handed on a second; 200 unless set.
     */
    PEERBASE_LIMIT_BROADCASTS_PER_SECOND = 20,
    /**
     * Sessions beyond which nobody is dialled on a peer's word, or 0; 64 unless set. As `peerbase_config_set_max_peers`.
     */
    PEERBASE_LIMIT_MAX_PEERS = 21,
    /**
     * Files that are offered, or 0; 16 384 unless set.
     */
    PEERBASE_LIMIT_FILES = 22,
    /**
     * Bytes of the largest file that is fetched, any number; 4 GiB unless set. As `peerbase_config_set_file_limits`.
     */
    PEERBASE_LIMIT_FILE_BYTES = 23,
    /**
     * Files, or parts of them, that are read for others at a time, or 0; 8 unless set. Each takes a thread. One peer
     * may have as many as it leaves free: half of them if there is no other.
     */
    PEERBASE_LIMIT_UPLOADS = 24,
    /**
     * Bytes of files a second that are read for others, all together, any number; 0, which is as fast as it goes,
     * unless set.
     */
    PEERBASE_LIMIT_UPLOAD_BYTES_PER_SECOND = 25,
    /**
     * Adverts opened a second; 10 000 unless set.
     */
    PEERBASE_LIMIT_ADVERTS_PER_SECOND = 26,
    /**
     * Adverts sent in an interval, whatever is heard; 5 unless set.
     */
    PEERBASE_LIMIT_ADVERTS_PER_INTERVAL = 27,
    /**
     * Events kept for a slow event handler; 1 024 unless set.
     */
    PEERBASE_LIMIT_EVENTS = 28,
    /**
     * Dials a second of relays that other nodes tell of; 2 unless set.
     */
    PEERBASE_LIMIT_LEARNT_DIALS_PER_SECOND = 29,
    /**
     * Connections of Python nodes, and to them; 256 unless set.
     */
    PEERBASE_LIMIT_COMPAT_LINKS = 30,
    /**
     * Connections of Python nodes from one address; 64 unless set.
     */
    PEERBASE_LIMIT_COMPAT_LINKS_PER_ADDRESS = 31,
    /**
     * Packets on their way to one relay of Python nodes; 16 unless set.
     */
    PEERBASE_LIMIT_COMPAT_POSTS = 32,
    /**
     * Milliseconds from connecting to a finished handshake; 5000 unless set.
     */
    PEERBASE_LIMIT_HANDSHAKE_MS = 33,
    /**
     * Milliseconds within which a frame that was begun must be finished; 60000 unless set.
     */
    PEERBASE_LIMIT_FRAME_MS = 34,
    /**
     * Milliseconds that a call may be kept waiting at most; a day unless set.
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
 * What a node is to be. Made by `peerbase_config_new`, and the caller's until `peerbase_config_free`.
 * Starting a node copies it: it may be used again, and freed at once. One thread at a time.
 */
typedef struct peerbase_config peerbase_config;

/**
 * A running node. Any thread may call any function of a node, also while another thread is in one, unless
 * the comment of the function says otherwise; `peerbase_node_free` must be the last call. A child process of
 * a fork may only call `peerbase_node_free` and the functions that free objects of the node. Every other
 * function that takes a node or one of its streams, or answers a request, returns PEERBASE_ERR_FORKED there,
 * or, if it does not return a code, what it returns for NULL, with the reason in `peerbase_last_error`.
 */
typedef struct peerbase_node peerbase_node;

/**
 * What one or several nodes answered: one entry for each, from 0. Never changes, so any thread may look
 * at it. The caller's until `peerbase_reply_free`, but for one that a callback is given. The functions that look
 * at one take NULL, which has no entries, and leave `peerbase_last_error` as it is then.
 */
typedef struct peerbase_reply peerbase_reply;

/**
 * A call or message of another node. The handler's, from any thread but one at a time, until one of the
 * functions that consume it; after that it must not be used. It may outlive its node.
 */
typedef struct peerbase_request peerbase_request;

/**
 * One side of the two streams of a call: it reads one and writes the other; a stream to several nodes only
 * writes. It belongs to the program until `peerbase_stream_free`, which must be the last use. One thread may
 * read while another writes. The bytes that were read are verified only when reading has reached the end: a
 * stream that was cut off ends with PEERBASE_ERR_BROKEN, never as if it were complete.
 */
typedef struct peerbase_stream peerbase_stream;

/**
 * What is told how a call ended: the reply, which is the library's and good during the call, and the
 * `user` it was begun with. Runs where handlers run.
 */
typedef void (*peerbase_callback)(const struct peerbase_reply *reply, void *user);

/**
 * What answers commands or messages. It is given a request, which it owns from then on and must answer
 * with one of the `peerbase_request_` functions that consume it, now or later, from any thread; and the
 * `user` it was registered with. It runs on the loop's thread, or the one that calls
 * `peerbase_node_process`, and may call any function of the node, except that waiting there is
 * PEERBASE_ERR_WOULD_DEADLOCK. It must not be NULL where it is registered.
 *
 * Of each peer at most 1 024 requests may be unanswered at a time (PEERBASE_LIMIT_SERVED_PER_PEER); further ones are
 * answered with PEERBASE_ERR_OVERLOADED and come to no handler. A handler that keeps requests must answer each some
 * time. Messages to everyone count together, in bytes, until they are consumed (PEERBASE_LIMIT_WAITING_BYTES);
 * further ones are dropped, and counted as "messages_dropped" by `peerbase_node_stats`.
 *
 * A handler may take its time in a node with a thread of its own: a second thread, "peerbase-io", answers
 * pings and goes on with calls meanwhile, and further requests wait. In a node that was opened in the
 * program's own loop the program is the loop: a handler, or anything else, that keeps it from
 * `peerbase_node_process` for longer than a few seconds makes peers believe that the node is dead (after 15
 * seconds, unless `peerbase_config_set_ping` says otherwise).
 */
typedef void (*peerbase_handler)(struct peerbase_request *request, void *user);

/**
 * What is told of events: one of PEERBASE_EVENT_…, the name of the node it is about, or the address of the
 * relay, good during the call, and the `user` it was set with. For a relay that is down or has refused,
 * `peerbase_last_error` says why, and for missed events how many they are. Runs where handlers run.
 */
typedef void (*peerbase_event_handler)(int event, const char *node, void *user);

/**
 * What is told how far a file has come: the bytes that are there, those of the whole, and the `user` it was
 * given with. Runs on the thread that called `peerbase_node_request_file`.
 */
typedef void (*peerbase_progress)(uint64_t received, uint64_t size, void *user);

/**
 * What is given log lines: how grave (1 error, 2 warning, 3 information, 4 debug), and the text, good
 * during the call. It may be called from any thread, and must not call the library. No line holds a key.
 */
typedef void (*peerbase_log_handler)(int level, const char *text);

/**
 * One line of a table of commands.
 */
typedef struct peerbase_command {
    /**
     * Below the table's path.
     */
    const char *path;
    /**
     * What answers it.
     */
    peerbase_handler handler;
    /**
     * Given to the handler.
     */
    void *user;
    /**
     * Called with `user` when the command is not needed any more; may be NULL.
     */
    void (*drop_user)(void *user);
} peerbase_command;

/**
 * What is told, where handlers run, that a stream can be read or written again. It may still run once while, or
 * after, its stream is freed on another thread: `user` must be good until `drop_user` was called.
 */
typedef void (*peerbase_ready)(void *user);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Calls a command of another node and waits for its answer.
 *
 * `target` is the node's name; if it is not known yet it is waited for. `args` is a JSON array and `kwargs`
 * a JSON object; NULL for none. `timeout_ms` is 0 to INT_MAX; more than a day (86 400 000) counts as a day.
 * All are copied. If the peer answered with a value, or that the command failed, is unknown or was refused,
 * `*out` is a reply of one entry, to be freed with `peerbase_reply_free`; otherwise it is NULL. After
 * PEERBASE_ERR_TIMEOUT the command may have run, even with a timeout of 0. Returns the outcome of the call:
 * 0, PEERBASE_ERR_COMMAND_NOT_FOUND, PEERBASE_ERR_COMMAND_FAILED, PEERBASE_ERR_TIMEOUT,
 * PEERBASE_ERR_UNREACHABLE, PEERBASE_ERR_PEER_RESTARTED, PEERBASE_ERR_OVERLOADED if the command did not run
 * because a limit was reached, PEERBASE_ERR_ANSWER_LOST if it ran and its answer could not be kept or
 * accepted, PEERBASE_ERR_REFUSED or PEERBASE_ERR_STOPPED. If an argument is invalid, returns the code for
 * that; PEERBASE_ERR_TOO_LARGE also means that the arguments exceed the limit of the peer. Returns
 * PEERBASE_ERR_WOULD_DEADLOCK in a callback.
 */
int peerbase_node_call(struct peerbase_node *handle,
                       const char *target,
                       const char *path,
                       const char *args,
                       const char *kwargs,
                       int timeout_ms,
                       struct peerbase_reply **out);

/**
 * Sends bytes to another node's message handler, and waits for the bytes it answers, which are read with
 * `peerbase_reply_data`. `data` may be NULL when `len` is 0. Otherwise as `peerbase_node_call`.
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
 * `targets` are `count` names; NULL and 0 are every peer that is known now. At most `max_in_flight` are asked
 * at a time; 0 is 64. `flags` is a sum of PEERBASE_CALL_…. `*out` has an entry for each target. Returns 0
 * whatever the entries say, unless PEERBASE_CALL_RAISE_ERRORS is among the flags: then the first failure,
 * for which the other calls were cancelled. Otherwise as `peerbase_node_call`.
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
 * Calls a command of every peer that is known now and waits for all of them: `peerbase_node_call_many` with
 * no names, no flags and 64 at a time.
 */
int peerbase_node_call_all(struct peerbase_node *handle,
                           const char *path,
                           const char *args,
                           const char *kwargs,
                           int timeout_ms,
                           struct peerbase_reply **out);

/**
 * Begins a call of another node's command, or of every known peer's when `target` is "*", and returns at
 * once.
 *
 * `callback` is called once, where handlers run, unless this returns a code other than 0; `drop_user` is
 * called once in any case, and may be NULL. `id` may be NULL; otherwise `*id` is what `peerbase_node_cancel`
 * takes, or 0 for "*" and after a failure. The call may end before this returns, and `*id` is written after
 * that: it must not be part of what `callback` or `drop_user` frees. Otherwise as `peerbase_node_call`, and safe
 * in a callback.
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
 * Gives up on a call begun with `peerbase_node_call_async`: its callback is told PEERBASE_ERR_CANCELLED,
 * unless the call has ended. Returns 0, also for a call that has ended, or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_cancel(struct peerbase_node *handle,
                         uint64_t id);

/**
 * The commands of another node: `peerbase_node_call` of "__list_commands__", which answers with a JSON array
 * of dotted paths.
 */
int peerbase_node_get_commands(struct peerbase_node *handle,
                               const char *target,
                               int timeout_ms,
                               struct peerbase_reply **out);

/**
 * Whether to speak to Python nodes of PeerBase 0.7.1 as well, in their protocol; not unless asked for, because
 * that protocol proves nothing and hides no names: whoever is on the LAN can take any name or have a recorded
 * call run again, but read nothing. The other functions of compat switch it on, too. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 *
 * The functions of compat are in the library if it was built with the feature of that name, which it is unless
 * that was switched off.
 */
int peerbase_config_set_compat(struct peerbase_config *config,
                               bool enabled);

/**
 * Where calls of Python nodes come to, as "IPV4:PORT", the first of their `ports`; every IPv4 address and any
 * port unless set. An address other than 0.0.0.0 is also what is advertised. Returns 0, PEERBASE_ERR_ARGUMENT
 * or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_compat_listen(struct peerbase_config *config,
                                      const char *addr);

/**
 * The UDP port that Python nodes advertise on, the second of their `ports`; 1001 unless set. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_compat_port(struct peerbase_config *config,
                                    uint16_t port);

/**
 * A relay of Python nodes as "HOST:PORT", their `relay.py` or a `peerbase relay`, besides those added before; at
 * most 16. It learns this node's name. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_add_compat_relay(struct peerbase_config *config,
                                     const char *addr);

/**
 * Milliseconds between two questions to a relay of Python nodes that does not answer as soon as something comes,
 * 10 to 60000: their `keepalive_tick`; 250 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_compat_tick(struct peerbase_config *config,
                                    uint32_t interval_ms);

/**
 * A new configuration with every default.
 *
 * `name` and `network` are 1 to 64 bytes of UTF-8 without control characters, without characters that nobody
 * sees (zero-width and bidirectional controls, variation selectors, spaces other than U+0020), and without any
 * of `| . : @`; a name is not "*". `key` is the network's key as `peerbase_key_generate` writes it. None may be
 * NULL; all are copied. Any thread. Returns NULL, with the reason in `peerbase_last_error`, if
 * one of them breaks a rule. Free it with `peerbase_config_free`.
 */
struct peerbase_config *peerbase_config_new(const char *name,
                                            const char *network,
                                            const char *key);

/**
 * Where to listen for links, as "IP:PORT" or `[IPV6]:PORT`; port 0 is any free one. Every address and
 * any port unless set. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_listen(struct peerbase_config *config,
                               const char *addr);

/**
 * The UDP port that all nodes of the network advertise on, and that all nodes of one host share; 3334
 * unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_advertise_port(struct peerbase_config *config,
                                       uint16_t port);

/**
 * Where others are to dial this node, as "IP:PORT", if not where its adverts come from; port 0 is the
 * one it listens on. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_set_advertise_address(struct peerbase_config *config,
                                          const char *addr);

/**
 * Milliseconds between two adverts, 50 to 300000; 1000 unless set. A peer is missed after three and a
 * half of its intervals. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_advertise_interval(struct peerbase_config *config,
                                           uint32_t interval_ms);

/**
 * Whether to look for peers on the networks this host is on; yes unless switched off. Without, a node needs
 * a relay, or `peerbase_node_connect`. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_lan(struct peerbase_config *config,
                            bool enabled);

/**
 * A relay to be linked to, as "HOST:PORT" or `[IPV6]:PORT`, besides those added before; at most 16. One that
 * cannot be reached, or whose name cannot be resolved, is an event, and is tried again. Returns 0,
 * PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_ADDRESS.
 */
int peerbase_config_add_relay(struct peerbase_config *config,
                              const char *addr);

/**
 * Relays to be linked to at most, 0 to 16: those added, and for the rest those that other nodes tell of. A
 * node with more relays added than this does not start (PEERBASE_ERR_ARGUMENT). 3 unless set, or as many as
 * were added; none, if none was. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_remotes(struct peerbase_config *config,
                                    uint32_t count);

/**
 * Milliseconds that a path through a relay may be silent before a sign of life is asked for, 100 to 30000;
 * after three times that it is dead. 10000 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_relay_keepalive(struct peerbase_config *config,
                                        uint32_t interval_ms);

/**
 * Bytes of what is asked in one call, and of its value, at most, 1024 to 2^30; 4 MiB unless set. What does not
 * fit one frame goes in pieces, unseen. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_message(struct peerbase_config *config,
                                    size_t bytes);

/**
 * Bytes of one piece of a stream, 1024 to 48640; 16384 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_chunk_size(struct peerbase_config *config,
                                   size_t bytes);

/**
 * Milliseconds that a peer may be silent before it is pinged, 100 to 3600000, and in all before it is taken for
 * dead, at least twice that; 5000 and 15000 unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_ping(struct peerbase_config *config,
                             uint32_t interval_ms,
                             uint32_t dead_ms);

/**
 * Links beyond which nobody is dialled only because another peer told of it; 64 unless set, and 0 for not at
 * all. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_max_peers(struct peerbase_config *config,
                                  uint32_t count);

/**
 * What files may cost: bytes of the largest that is fetched, 4 GiB unless set; how many are read for others at a
 * time, 8 unless set; and bytes per second that are read for others, all together, 0 for as fast as it goes,
 * which it is unless set. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_file_limits(struct peerbase_config *config,
                                    uint64_t max_bytes,
                                    uint32_t uploads,
                                    uint64_t bytes_per_second);

/**
 * Sets one of the bounds on what others can make this node hold or do: `limit` is a PEERBASE_LIMIT_, where each says
 * what it counts and what it is unless set. A number of things is 1 to 1 048 576, bytes of memory are 1024 to 2^30,
 * and milliseconds 1 to 86 400 000, unless something else is said there. Returns 0, or PEERBASE_ERR_ARGUMENT, also
 * for a limit that this library does not know.
 */
int peerbase_config_set_limit(struct peerbase_config *config,
                              int limit,
                              uint64_t value);

/**
 * Whether to keep all traffic on this host, on 127.0.0.0/8; not unless set. Returns 0 or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_set_loopback(struct peerbase_config *config, bool only);

/**
 * Another key that is understood while the network's key is being rotated, at most three. Only the
 * first one seals. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_KEY.
 */
int peerbase_config_add_key(struct peerbase_config *config, const char *key);

/**
 * Registers a command before the node starts; otherwise as `peerbase_node_register`.
 *
 * `drop_user` may be NULL; otherwise it is called once with `user` when this configuration and every
 * node started from it are gone, also if this function fails.
 */
int peerbase_config_register(struct peerbase_config *config,
                             const char *path,
                             peerbase_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Sets what answers messages of bytes; otherwise as `peerbase_config_register`.
 */
int peerbase_config_on_message(struct peerbase_config *config,
                               peerbase_handler handler,
                               void *user,
                               void (*drop_user)(void *user));

/**
 * Sets what is told of events, from the start of the node on; a NULL handler takes it away. It misses none,
 * as one set by `peerbase_node_on_event` may after 1 024 events, and runs where handlers run, on the thread
 * that processes the node: for `peerbase_node_open` not before the first `peerbase_node_process`.
 * `drop_user` as for `peerbase_config_register`. Returns 0 or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_config_on_event(struct peerbase_config *config,
                             peerbase_event_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Frees a configuration. NULL is fine; freeing twice is not, which a debug build of the library
 * notices and ignores.
 */
void peerbase_config_free(struct peerbase_config *config);

/**
 * The name of a code, such as "command not found". A static string, never NULL; any thread.
 */
const char *peerbase_strerror(int code);

/**
 * Why the last function that failed on this thread failed, in English: what `peerbase_strerror` gives for its
 * code, and most often a colon and the details, such as which argument it was, the system's words, or what the
 * other node said. "" if none has failed. Never NULL.
 *
 * One that succeeds leaves it as it is, so look at it only after a failure, and not among the arguments of one
 * statement with the function that may fail: C evaluates those in any order. It is of this thread alone; what failed
 * in a callback is told on the thread that ran it, which may be this one in a function that waits. Before an event
 * of a relay that is down or has refused, it is set to the reason. What another node said may be long and hold any
 * characters but NUL: it is no format for printf, and nothing for a terminal unseen. Compare codes, not texts, which
 * may change. The string is the library's, and good until another of its functions fails on this thread.
 */
const char *peerbase_last_error(void);

/**
 * The version of the library that is linked, such as "0.1.0"; the PEERBASE_VERSION_ macros are those of
 * the header. A static string; any thread.
 */
const char *peerbase_version(void);

/**
 * Offers a file to the network. This function reads the whole file before it returns, so do not call it in a
 * callback, because no other handler of the node runs meanwhile. If the file is later changed or removed,
 * the node no longer offers it. `hash` must have room for PEERBASE_HASH_LEN bytes, and receives the hash by
 * which other nodes ask for the file, or "" after a failure. Returns 0, PEERBASE_ERR_IO if it cannot be
 * read, PEERBASE_ERR_DAMAGED if it changed meanwhile, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or
 * PEERBASE_ERR_ARGUMENT.
 *
 * The functions of files are in the library if it was built with the feature `files`, which it is unless that
 * was switched off.
 */
int peerbase_node_add_file(struct peerbase_node *handle,
                           const char *path,
                           char *hash);

/**
 * Where fetched files are put, and whose files `peerbase_node_refresh` offers; made if it is not there. Returns
 * 0, PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_set_file_dir(struct peerbase_node *handle,
                               const char *folder);

/**
 * Looks at the offered files again: those that have changed are offered as what they are now, those that are
 * gone not any more, and new regular files of the folder, hidden ones apart, from now on. What is new is read
 * before this returns, so not in a callback of a node that is to answer meanwhile. `*out`, if `out` is
 * not NULL, has one entry, whose JSON is an object with "added", "changed" and "removed". Returns 0,
 * PEERBASE_ERR_IO, PEERBASE_ERR_OVERLOADED, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_refresh(struct peerbase_node *handle,
                          struct peerbase_reply **out);

/**
 * Fetches a file by its hash, from whoever of the peers has it, several at once, into the folder of
 * `peerbase_node_set_file_dir`. `timeout_ms` is how long nothing may come, 0 to INT_MAX; more than a day counts
 * as a day. If a transfer is interrupted, the pieces that arrived are kept in the subfolder
 * ".peerbase-parts", and the next request for the file resumes with them. The file gets its final name after
 * it was verified.
 *
 * `progress` may be NULL, and must not throw or longjmp. `*out`, if `out` is not NULL, has one entry, whose JSON is an object with "path" and
 * "size". Returns 0, PEERBASE_ERR_FILE_UNKNOWN if nobody has it, PEERBASE_ERR_DAMAGED if nobody has what the
 * hash says, PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_BROKEN if it was interrupted, PEERBASE_ERR_IO if it cannot
 * be written, which leaves nothing behind, PEERBASE_ERR_WOULD_DEADLOCK in a callback,
 * PEERBASE_ERR_STOPPED, or PEERBASE_ERR_ARGUMENT, also if no folder is set.
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
 * `out` is room for PEERBASE_KEY_LEN characters, not NULL, and the caller's; it holds a secret
 * afterwards, or "" after a failure. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT, or PEERBASE_ERR_IO if the kernel has no
 * random source.
 */
int peerbase_key_generate(char *out);

/**
 * Sets what is given the library's log lines of level 1 to `level`; nothing is logged unless set. Once in
 * a process: returns 0, PEERBASE_ERR_ARGUMENT for NULL or a level outside 1 to 4, or PEERBASE_ERR_REFUSED
 * if a log is set already.
 */
int peerbase_set_log(int level,
                     peerbase_log_handler handler);

/**
 * Links to the node at an address, "IP:PORT" or `[IPV6]:PORT`, whoever it is. From then on the address is
 * dialled again whenever the link is lost, peers are exchanged with it, and its peers are linked to as well.
 *
 * `timeout_ms` is 0 to INT_MAX; more than a day counts as a day. `*out`, if `out` is not NULL, has an entry with
 * the name of who answered, and is NULL after a failure. Returns 0, PEERBASE_ERR_UNREACHABLE if nobody of this network answered in time, PEERBASE_ERR_ADDRESS,
 * PEERBASE_ERR_WOULD_DEADLOCK in a callback, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_connect(struct peerbase_node *handle,
                          const char *addr,
                          int timeout_ms,
                          struct peerbase_reply **out);

/**
 * Sends bytes to every node that can be reached through any chain of nodes, once to each, and waits for the
 * report; `data` may be NULL when `len` is 0.
 *
 * `timeout_ms` is as for `peerbase_node_connect`. `*out`, if `out` is not NULL, has one entry, whose JSON is an
 * object: "delivered", how many have it; "failed", how many did not answer, and "names", some of those; "cut",
 * whether a chain was too long. It is there also when some were missed, else NULL. Returns 0 if it was
 * delivered to all, PEERBASE_ERR_UNREACHABLE if not, PEERBASE_ERR_TOO_LARGE, PEERBASE_ERR_WOULD_DEADLOCK in
 * a callback, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_broadcast(struct peerbase_node *handle,
                            const uint8_t *data,
                            size_t len,
                            int timeout_ms,
                            struct peerbase_reply **out);

/**
 * Sends bytes to one node's message handler, and waits until it has them. Otherwise as `peerbase_node_send`,
 * without an answer.
 */
int peerbase_node_send_to(struct peerbase_node *handle,
                          const char *target,
                          const uint8_t *data,
                          size_t len,
                          int timeout_ms);

/**
 * Writes where the peers are that this node is linked to straight, for `peerbase_node_load_state` after the
 * next start. The file is replaced as a whole: after a power cut it is the old one or the new one. Returns 0,
 * PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_save_state(struct peerbase_node *handle,
                             const char *file);

/**
 * Has the addresses of a file that `peerbase_node_save_state` wrote dialled, for as long as the node runs.
 * Returns how many those are, 0 if there is no such file; PEERBASE_ERR_DAMAGED if it is not such a file: then
 * it is kept aside, with ".damaged" added to its name, and the node goes on with no address;
 * PEERBASE_ERR_IO, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_load_state(struct peerbase_node *handle,
                             const char *file);

/**
 * Starts a node on a thread of its own, named "peerbase".
 *
 * Takes the quarter of a second in which the network is asked whether the name is taken, and until the
 * relays that were added have been asked as well, or have failed: two seconds at most. `*out` is the node,
 * the caller's until `peerbase_node_free`, or NULL. Returns 0, or what is wrong: among others
 * PEERBASE_ERR_NAME_TAKEN, PEERBASE_ERR_PORT_IN_USE and PEERBASE_ERR_IO.
 */
int peerbase_node_start(const struct peerbase_config *config,
                        struct peerbase_node **out);

/**
 * Opens a node for the caller's own event loop: poll `peerbase_node_fd` for at most
 * `peerbase_node_timeout_ms`, then call `peerbase_node_process`. Every callback runs on the loop's thread: the
 * one that opened the node or last processed it; for a stop see `peerbase_node_stop`. A blocking function
 * drives the loop itself while it waits; on another thread than the loop's it handles network traffic only,
 * and leaves the callbacks to the loop's thread. Otherwise as `peerbase_node_start`.
 */
int peerbase_node_open(const struct peerbase_config *config,
                       struct peerbase_node **out);

/**
 * A descriptor that is readable whenever `peerbase_node_process` would do something, timers apart.
 * Level-triggered. It belongs to the node: poll it, and nothing else. -1 for NULL and in a child of a fork, with
 * the reason in `peerbase_last_error`.
 */
int peerbase_node_fd(const struct peerbase_node *handle);

/**
 * How many milliseconds to poll at most before `peerbase_node_process`; -1 is for ever. Ask again after
 * every use of the node. 0 for NULL and in a child of a fork, with the reason in `peerbase_last_error`, so that
 * a loop does not wait for what never comes.
 */
int peerbase_node_timeout_ms(const struct peerbase_node *handle);

/**
 * Waits at most `timeout_ms` milliseconds (negative: as long as it takes) for something to do, does it,
 * and runs the callbacks. Returns 0, PEERBASE_ERR_STOPPED, PEERBASE_ERR_FORKED in a child of a fork, PEERBASE_ERR_WOULD_DEADLOCK in a callback,
 * PEERBASE_ERR_ARGUMENT for a node with a thread of its own, or PEERBASE_ERR_IO.
 */
int peerbase_node_process(struct peerbase_node *handle,
                          int timeout_ms);

/**
 * Runs an opened node on this thread until it is stopped. Returns 0, or as `peerbase_node_process`: among others
 * PEERBASE_ERR_ARGUMENT for a node that `peerbase_node_start` made, or that another thread runs already.
 */
int peerbase_node_run(struct peerbase_node *handle);

/**
 * Sends what was answered, for two seconds at most, says goodbye to the network, and ends what is in flight, as
 * PEERBASE_ERR_STOPPED. The node is still to be freed. Safe in a callback, where it returns at once. For a node
 * that was opened in the program's own loop, and that no other thread drives just now, it returns when that is
 * over, and runs the callbacks of asynchronous calls on this thread. Returns 0, also if it was stopped before, PEERBASE_ERR_FORKED or
 * PEERBASE_ERR_ARGUMENT.
 */
int peerbase_node_stop(struct peerbase_node *handle);

/**
 * Stops a node and frees it. NULL is fine; freeing twice is not, which a debug build of the library
 * notices and ignores.
 *
 * What was answered is sent first, for two seconds at most; then peers have half a second to close their
 * links. Functions that wait on other threads return PEERBASE_ERR_STOPPED. When this returns no callback runs
 * and every `drop_user` was called, except those of a configuration and of streams that are not freed yet. In
 * a callback it returns at once, and the node ends after that callback, within three seconds: let `drop_user`
 * free what `user` points to. In a child process of a fork it frees the handle only: descriptors stay open
 * until exec or exit, and no `drop_user` is called.
 */
void peerbase_node_free(struct peerbase_node *handle);

/**
 * The TCP port the node listens on; 0 for NULL and in a child of a fork, with the reason in
 * `peerbase_last_error`.
 */
uint16_t peerbase_node_port(const struct peerbase_node *handle);

/**
 * Registers a command at a dotted path, such as "sensor.read". Paths that begin with "__" are the
 * library's.
 *
 * `path` is copied. `drop_user` may be NULL; otherwise it is called once with `user`, from any thread, when
 * the command is not needed any more, also if this function fails. Returns 0, PEERBASE_ERR_PATH,
 * PEERBASE_ERR_COMMAND_EXISTS, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_register(struct peerbase_node *handle,
                           const char *path,
                           peerbase_handler handler,
                           void *user,
                           void (*drop_user)(void *user));

/**
 * Registers `count` commands below a path, or none of them; otherwise as `peerbase_node_register`. `table`
 * is copied, and may be NULL when `count` is 0.
 */
int peerbase_node_register_table(struct peerbase_node *handle,
                                 const char *path,
                                 const struct peerbase_command *table,
                                 size_t count);

/**
 * Takes away the command at a path and all below it. One that runs is not disturbed. Returns how many that
 * were, or a negative code.
 */
int peerbase_node_unregister(struct peerbase_node *handle,
                             const char *path);

/**
 * Sets what answers messages of bytes, instead of what did before; otherwise as `peerbase_node_register`.
 */
int peerbase_node_on_message(struct peerbase_node *handle,
                             peerbase_handler handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Sets what is told of events, instead of what was before; a NULL handler ends it. The first one is told of
 * everything since the start, 1 024 events at most. `drop_user` as for
 * `peerbase_node_register`. Returns 0, PEERBASE_ERR_ARGUMENT or PEERBASE_ERR_STOPPED.
 */
int peerbase_node_on_event(struct peerbase_node *handle,
                           peerbase_event_handler handler,
                           void *user,
                           void (*drop_user)(void *user));

/**
 * The peers that are known now: `*out` has an entry for each, with its name; its code is 0 if a session with
 * it is open, and PEERBASE_ERR_UNREACHABLE if it is only known so far; its JSON, if any, is an object with
 * its address, "address", or the relay through which it is reached, "relay"; and of its last ping how long it
 * took, "ping_us", and how long ago that was, "ping_ago_ms". A peer that speaks the protocol of PeerBase 0.7.1
 * has code 0 while it is heard, and "compat" is true: nothing about it is proven. Free it with
 * `peerbase_reply_free`. Returns 0, PEERBASE_ERR_ARGUMENT, PEERBASE_ERR_STOPPED or PEERBASE_ERR_FORKED; `*out`
 * is NULL then.
 */
int peerbase_node_peers(const struct peerbase_node *handle,
                        struct peerbase_reply **out);

/**
 * What the node has counted since it started: `*out` has one entry, whose JSON is an object of numbers. Free
 * it with `peerbase_reply_free`. Returns 0, also when it was stopped; PEERBASE_ERR_ARGUMENT or
 * PEERBASE_ERR_FORKED, and then `*out` is NULL.
 */
int peerbase_node_stats(const struct peerbase_node *handle,
                        struct peerbase_reply **out);

/**
 * How many entries there are; 0 for NULL.
 */
size_t peerbase_reply_count(const struct peerbase_reply *reply);

/**
 * The name of the node of entry `i`. Good as long as the reply; NULL if there is no such entry.
 */
const char *peerbase_reply_node(const struct peerbase_reply *reply, size_t i);

/**
 * How entry `i` ended: 0 or a PEERBASE_ERR code; PEERBASE_ERR_ARGUMENT if there is no such entry.
 */
int peerbase_reply_code(const struct peerbase_reply *reply, size_t i);

/**
 * The value of entry `i` as JSON. Good as long as the reply; NULL if it failed, holds bytes, or is not
 * there.
 */
const char *peerbase_reply_json(const struct peerbase_reply *reply,
                                size_t i);

/**
 * Why entry `i` failed, in words; "" if it did not. Good as long as the reply; NULL if it is not there.
 */
const char *peerbase_reply_message(const struct peerbase_reply *reply,
                                   size_t i);

/**
 * The bytes that a message was answered with, and how many in `*len`. Good as long as the reply; NULL, and 0
 * bytes, if it failed, holds JSON, or is not there. Of an answer of no bytes the pointer is not NULL.
 */
const uint8_t *peerbase_reply_data(const struct peerbase_reply *reply,
                                   size_t i,
                                   size_t *len);

/**
 * Frees a reply. NULL is fine; freeing twice is not, which a debug build of the library notices and
 * ignores.
 */
void peerbase_reply_free(struct peerbase_reply *reply);

/**
 * The name of the node that asks. Good until the request is consumed; NULL for a NULL request.
 */
const char *peerbase_request_caller(const struct peerbase_request *request);

/**
 * The path that is called; "" for a message. Good until the request is consumed; NULL for a NULL
 * request.
 */
const char *peerbase_request_path(const struct peerbase_request *request);

/**
 * The positional arguments, a JSON array: well-formed, without repeated keys, lists and objects nested at
 * most 127 deep, this one included. Good until the request is consumed; NULL for a NULL request.
 */
const char *peerbase_request_args(const struct peerbase_request *request);

/**
 * The named arguments, a JSON object, as `peerbase_request_args`.
 */
const char *peerbase_request_kwargs(const struct peerbase_request *request);

/**
 * The bytes of a message, and how many in `*len`; NULL, and 0 bytes, for a command. Good until the request is
 * consumed.
 */
const uint8_t *peerbase_request_data(const struct peerbase_request *request,
                                     size_t *len);

/**
 * Whether the caller still waits: it has not cancelled, its time is not over, and the node was not
 * stopped. Any thread.
 */
bool peerbase_request_is_wanted(const struct peerbase_request *request);

/**
 * Whether a message is for this node alone; false if it was sent to everyone, by
 * `peerbase_node_broadcast`: then nobody waits for an answer, but the request is to be consumed all the same.
 * True for a command, false for NULL.
 */
bool peerbase_request_is_private(const struct peerbase_request *request);

/**
 * Whether the caller of a command streams, and takes a stream: see `peerbase_request_stream`.
 */
bool peerbase_request_has_streams(const struct peerbase_request *request);

/**
 * Answers a command with a JSON value, and consumes the request whatever it returns.
 *
 * `json` is copied. Any thread. Returns 0; PEERBASE_ERR_JSON or PEERBASE_ERR_UTF8 if it is none, and
 * PEERBASE_ERR_TOO_LARGE if it does not fit a message, in which cases the caller is told that the
 * command failed; PEERBASE_ERR_STOPPED if the node was stopped.
 */
int peerbase_request_reply(struct peerbase_request *request,
                           const char *json);

/**
 * Answers a message with bytes, and consumes the request whatever it returns.
 *
 * `data` is copied, and may be NULL when `len` is 0. Any thread. Returns 0, PEERBASE_ERR_ARGUMENT for a
 * command, PEERBASE_ERR_TOO_LARGE or PEERBASE_ERR_STOPPED.
 */
int peerbase_request_reply_data(struct peerbase_request *request,
                                const uint8_t *data,
                                size_t len);

/**
 * Answers that the command failed, and why; consumes the request.
 *
 * `message` is copied; NULL is "". Any thread. Returns 0, PEERBASE_ERR_UTF8, PEERBASE_ERR_TOO_LARGE or
 * PEERBASE_ERR_STOPPED.
 */
int peerbase_request_fail(struct peerbase_request *request,
                          const char *message);

/**
 * Answers that this caller may not have it, and why; otherwise as `peerbase_request_fail`.
 */
int peerbase_request_refuse(struct peerbase_request *request, const char *reason);

/**
 * Calls a command of another node and streams to it, and from it.
 *
 * As `peerbase_node_call`, but it returns at once. `timeout_ms` is how long nothing may move in either
 * direction, 0 to INT_MAX; more than a day counts as a day. `*out` is the stream, or NULL. Returns 0, what is wrong with the arguments,
 * PEERBASE_ERR_OVERLOADED or PEERBASE_ERR_STOPPED; how the call ends tells `peerbase_stream_wait`. Safe in a
 * callback.
 */
int peerbase_node_call_stream(struct peerbase_node *handle,
                              const char *target,
                              const char *path,
                              const char *args,
                              const char *kwargs,
                              int timeout_ms,
                              struct peerbase_stream **out);

/**
 * Calls a command of several nodes and streams the same to each; NULL and 0 are every peer that is known now.
 * The slowest sets the pace, and one that fails is left out. The stream cannot be read. Otherwise as
 * `peerbase_node_call_stream`.
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
 * What the caller of a command streams, and what is streamed to it. The request is still to be answered, with
 * a function that consumes it, once all is written: answered with a value, what was written is finished.
 * `*out` is the stream, or NULL. Returns 0, PEERBASE_ERR_ARGUMENT if the caller does not stream,
 * PEERBASE_ERR_BROKEN if it has given up, or PEERBASE_ERR_STOPPED. Handlers must not wait: read and write on
 * another thread, or with a timeout of 0.
 */
int peerbase_request_stream(const struct peerbase_request *request,
                            struct peerbase_stream **out);

/**
 * Reads at most `size` bytes into `data`, and says in `*got` how many: 0 at the end, when all has come and was
 * checked. Waits at most `timeout_ms` for something to come; negative is as long as the call lives, 0 is not
 * at all.
 *
 * `*got` is 0 unless this returns 0; what is in `data` beyond `*got` is undefined. Returns 0,
 * PEERBASE_ERR_WOULD_BLOCK if nothing came in time, PEERBASE_ERR_BROKEN if the stream ended before it was whole
 * (`peerbase_last_error` says why, and how much had arrived if anything had), PEERBASE_ERR_WOULD_DEADLOCK in a
 * callback, PEERBASE_ERR_STOPPED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_stream_read(struct peerbase_stream *stream,
                         uint8_t *data,
                         size_t size,
                         int timeout_ms,
                         size_t *got);

/**
 * Writes `len` bytes, or as many of them as there is room for within `timeout_ms` in all; says in `*wrote` how
 * many, which are copied. A stream to several takes all of them and waits as long as it takes, so it is
 * PEERBASE_ERR_WOULD_DEADLOCK in a callback. `wrote` may be NULL if `timeout_ms` is negative: then all are
 * written, or it fails. Otherwise as `peerbase_stream_read`, but `*wrote` counts what was written also after a
 * failure; PEERBASE_ERR_BROKEN also if the reader takes no more.
 */
int peerbase_stream_write(struct peerbase_stream *stream,
                          const uint8_t *data,
                          size_t len,
                          int timeout_ms,
                          size_t *wrote);

/**
 * Says that all was written. A stream that is freed before is broken off, and its reader told so. Returns 0,
 * PEERBASE_ERR_FORKED or PEERBASE_ERR_ARGUMENT.
 */
int peerbase_stream_finish(struct peerbase_stream *stream);

/**
 * Breaks off what is written, and tells the reader why; `why` is copied, up to 1 024 bytes, and may be NULL.
 * Returns 0, PEERBASE_ERR_UTF8, PEERBASE_ERR_FORKED or PEERBASE_ERR_ARGUMENT, also for a stream to several.
 */
int peerbase_stream_abort(struct peerbase_stream *stream,
                          const char *why);

/**
 * Sets the handler that is called when a read or write that returned PEERBASE_ERR_WOULD_BLOCK can be tried
 * again; NULL removes it. It is called once for each such return after it was set, so set it before the
 * first read or write. It may read and write with a timeout of 0, and must not free the stream. `drop_user`
 * is called once with `user`, and may be NULL. Returns 0, PEERBASE_ERR_FORKED or PEERBASE_ERR_ARGUMENT, also
 * for a stream to several.
 */
int peerbase_stream_on_ready(struct peerbase_stream *stream,
                             peerbase_ready handler,
                             void *user,
                             void (*drop_user)(void *user));

/**
 * Says that all was written, gives up what was not read, and waits for the value of the call that this stream
 * was made with: `*out` has an entry for each target. Returns as `peerbase_node_call` for one target,
 * PEERBASE_ERR_BROKEN also if what the command streamed broke off; 0 for several; PEERBASE_ERR_ARGUMENT for a
 * command's own stream, or the second time. In a callback it is PEERBASE_ERR_WOULD_DEADLOCK, and changes nothing.
 */
int peerbase_stream_wait(struct peerbase_stream *stream,
                         struct peerbase_reply **out);

/**
 * Frees a stream: what was not read is given up, what was not finished is broken off, and a call that was not
 * waited for is cancelled. NULL is fine; freeing twice is not, which a debug build of the library notices
 * and ignores.
 */
void peerbase_stream_free(struct peerbase_stream *stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PEERBASE_H */
