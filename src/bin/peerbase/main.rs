//! The command line program: one file per subcommand.
//!
//! Results go to stdout as JSON, one a line, but keys and certificates as their own texts; words
//! for people to stderr. Exit status: 0, 1 when
//! something failed, 2 when the command line is wrong. SIGINT and SIGTERM end it at once, whatever
//! it is doing: a node or a relay with 0, since it has done what it was for, a call or the demo
//! with 1.

mod authority;
mod bench;
mod call;
mod console;
mod demo;
mod identity;
mod identity_file;
mod keygen;
mod logging;
mod node;
mod options;
mod relay;
mod signals;
mod text_file;

use std::process::ExitCode;

const USAGE: &str = "\
usage: peerbase keygen [--relay-from KEY --network N]  a network's key; or the relay key derived from one
       peerbase identity new [FILE]                  a node's identity: in a new file, or on stdout
       peerbase identity show FILE [--strict]        its public key and fingerprint
       peerbase authority new FILE                   an authority, secret, in a new file; prints its public key
       peerbase authority sign FILE --network N --name NAME --key PEER-KEY [--role R]... [--list LISTFILE]
                      [--authority KEY]...           prints a certificate for the node of that public key
       peerbase authority revoke FILE --network N --list LISTFILE [--authority KEY]... CERTIFICATE...
                                                     revokes the certificates in these files
       peerbase authority list LISTFILE [--authority KEY]...    what is in a revocation list, and who signed it
       peerbase relay [--listen ADDR] [--network N [--relay-key K | --relay-key-file F]]...
                      [--members N] [--links N] [--links-per-address N] [--bytes-per-second N]
                      [--no-compat]
       peerbase node NAME --network N [options]      console on stdin: help lists its commands
                     [--files DIR] [--connect IP:PORT]...
       peerbase call TARGET PATH [JSON-ARG]... [--kw K=JSON]... [--timeout S] --network N [options]
       peerbase demo
       peerbase bench rpc|relay|stream|files|fernet|frame|handshake|connect [--json]
options: --key K | --key-file F   the network's key; or PEERBASE_KEY in the environment
         --identity F             the file that keeps who this node is; made if it is not there
         --strict                 an identity file that others may read is an error, and not only a warning
         --authority KEY          the public key of an authority: the network is certified; may be given twice
         --certificate FILE       what this node shows in a certified network; call goes by the name in it
         --revocations LISTFILE   the newest revocation list, if there is such a file
         --state DIR              the folder in which the node keeps whose names it knows, and the newest list
         --relay ADDR             a relay's HOST:PORT; may be given again
         --max-remotes N          relays to use at most, with those that others tell of
         --limit NAME=VALUE       one of the node's bounds, named as PEERBASE_LIMIT_NAME in peerbase.h but in
                                  lower case; may be given again
         --allow PATTERN=CALLERS  who alone may call the paths of the pattern, in which * is one part and a last ** is
                                  the rest: name:PATTERN, key:FINGERPRINT, key:PEER-KEY or role:NAME; may be given again
         --compat                 speak to Python PeerBase 0.7.1 as well, also at each --relay; with any of these:
         --compat-relay ADDR      a relay that is only theirs; may be given again
         --compat-listen IP:PORT  where their calls come to, the first of their ports; any unless given
         --compat-port P          UDP port of their adverts, the second of their ports; 1001 unless given
         --no-lan                 look for nobody on the LAN
         --listen ADDR            IP:PORT to listen on; any unless given
         --advertise-port P       UDP port of the network; 3334 unless given
         --loopback               keep all traffic on this host
TARGET is a node's name, several with commas between, or '*' for every node. A relay listens on port 7700
unless told otherwise, serves any network if none is named, also to Python PeerBase 0.7.1 (in place of its
relay.py; not in a network with a relay key, and not at all with --no-compat), and writes its counters to stdout on SIGUSR1.
PEERBASE_KEY is taken for KEY in keygen if that is '-'. LISTFILE is the network's revocation list: revoke
replaces it, or makes it; sign puts its version into the certificate. It must be signed by the authority, or by
one whose public key --authority names, such as the one that this authority replaces.";

/// Why the program ends early.
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Something did not work.
    Failed(String),
}

impl From<peerbase::Error> for Failure {
    fn from(e: peerbase::Error) -> Failure {
        Failure::Failed(e.to_string())
    }
}

impl From<lexopt::Error> for Failure {
    fn from(e: lexopt::Error) -> Failure {
        Failure::Usage(e.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        Failure::Failed(e.to_string())
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

fn run() -> Outcome {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(lexopt::Arg::Value(command)) => command.to_string_lossy().into_owned(),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => {
            println!("{USAGE}");
            return Ok(());
        }
        Some(lexopt::Arg::Long("version") | lexopt::Arg::Short('V')) => {
            println!("peerbase {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        _ => return Err(Failure::Usage("which command?".into())),
    };
    match command.as_str() {
        "keygen" => keygen::run(parser),
        "identity" => identity::run(parser),
        "authority" => authority::run(parser),
        "relay" => relay::run(parser),
        "node" => node::run(parser),
        "call" => call::run(parser),
        "demo" => demo::run(parser),
        "bench" => bench::run(parser),
        other => Err(Failure::Usage(format!("no such command: {other}"))),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => {
            eprintln!("peerbase: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            eprintln!("peerbase: {why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
