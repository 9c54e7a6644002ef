//! The methods of [`Engine`] by which programs, and the driver for them, ask something of it.

use super::calls::compat;
use super::payload::Payload;
use super::{
    Ask, CallNumber, CompatPlace, Engine, LinkId, Now, PeerInfo, Phase, RelayFault, RequestId,
    Stats, StreamId, Terms,
};
use crate::address::RelayAddress;
use crate::authority::{Certificate, RevocationList};
use crate::error::Error;
use crate::fernet::Keyring;
use crate::handshake::Credentials;
use crate::identity::{Identity, PublicKey};
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::network_keys::NetworkKeys;
use crate::wire::Instance;
use crate::wire::peers::Acquaintance;
use crate::wire::record::{CloseReason, Status};
use std::net::SocketAddr;
use std::time::Duration;

/// Calls of this node.
impl Engine {
    /// Begins a call. Its end comes as [`Output::Ended`](super::Output::Ended).
    pub fn call(
        &mut self,
        now: Now,
        target: &NodeName,
        ask: Ask,
        terms: Terms,
    ) -> Result<CallNumber, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.call(ctx, network, target, ask, terms)
    }

    /// Gives up on a call; it ends as cancelled, unless it has ended.
    pub fn cancel(&mut self, now: Now, number: CallNumber) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.cancel(ctx, network, number);
    }

    /// Says something to every node that can be reached through any chain of nodes. What became of
    /// it comes as [`Output::Ended`](super::Output::Ended), with a [`Report`](super::Report) as
    /// [`report::decode`](crate::wire::report::decode) reads it.
    pub fn broadcast(
        &mut self,
        now: Now,
        data: &[u8],
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.broadcast(ctx, network, data, timeout)
    }
}

/// Calls of other nodes.
impl Engine {
    /// Takes what the caller streams from now on, and may stream to it.
    pub fn accept_streams(&mut self, now: Now, call: RequestId) -> Result<(), Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.accept_streams(ctx, network, call)
    }

    /// Whether the caller still waits for the answer to a request.
    pub fn is_wanted(&self, id: RequestId) -> bool {
        self.commands.is_wanted(self.core.instance, id)
    }

    /// Answers a request. An answer that is late, or a second one, is counted and dropped. What the
    /// command streams is finished by it, or broken off if it failed.
    pub fn reply(&mut self, now: Now, id: RequestId, status: Status, body: Vec<u8>) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.reply(ctx, network, id, status, body);
    }

    /// While `full`, refuses broadcasts of other nodes; they may send them again.
    pub fn hold_broadcasts(&mut self, full: bool) {
        self.commands.hold_broadcasts(full);
    }
}

/// Who may go by which name.
impl Engine {
    /// From now on a name of an open network belongs to this key, whatever it was pinned to.
    pub fn accept_key(&mut self, now: Now, name: &NodeName, key: &PublicKey) -> Result<(), Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.accept_key(ctx, network, name, key)
    }

    /// The names that are pinned in an open network, and their keys.
    pub fn pins(&self) -> Vec<(NodeName, PublicKey)> {
        self.network.pins()
    }

    /// Gives a node of a certified network a revocation list, which it hands on to every member.
    /// Says whether the list is newer than the one before.
    pub fn take_list(&mut self, now: Now, list: RevocationList) -> Result<bool, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.take_list(ctx, network, list)
    }
}

/// Keys that change while the node runs.
impl Engine {
    /// The keys of the network from now on: the first seals, and all are understood. Sessions have
    /// keys of their own, and go on.
    pub fn set_keys(&mut self, now: Now, keys: Keyring) {
        let core = &mut self.core;
        core.secrets.keys = NetworkKeys::new(&keys, &core.config.network);
        core.outputs.push_back(super::Output::Keys(keys.clone()));
        core.config.keys = keys;
        self.network.keys_changed(now.at);
    }

    /// Shows this certificate from now on. Peers learn of it with their next session.
    pub fn set_certificate(&mut self, now: Now, certificate: Certificate) -> Result<(), Error> {
        let key = *self.core.secrets.credentials.key();
        let ctx = &mut self.core.at(now);
        let shown = certificate.clone();
        self.network.set_certificate(ctx, &key, certificate)?;
        self.core.secrets.credentials.set_certificate(&shown);
        Ok(())
    }

    /// Becomes another node of the same name: with this identity, which is a kept one, and this
    /// certificate in a certified network. Calls of this node end as [`Error::Cancelled`], and
    /// every session and link is closed; peers hear that the node has left, and that it is there.
    pub fn set_identity(
        &mut self,
        now: Now,
        identity: Identity,
        certificate: Option<Certificate>,
    ) -> Result<(), Error> {
        if self.core.phase != Phase::Running {
            return Err(Error::Stopped);
        }
        let shown = certificate.clone();
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        network.change_key(ctx, &identity.public_key(), certificate)?;
        network.say_goodbye(ctx);
        self.commands.end_own_calls(ctx, network, &Error::Cancelled);
        for link in network.all_links() {
            let reason = CloseReason::Leaving;
            self.commands.close_session(ctx, network, link, reason);
        }
        let mut start = [0; 16];
        self.core.entropy.fill(&mut start);
        let mut credentials = Credentials::new(&identity, true, start);
        if let Some(shown) = shown {
            credentials.set_certificate(&shown);
        }
        let core = &mut self.core;
        core.instance = credentials.instance();
        core.secrets.credentials = credentials;
        (core.config.identity, core.config.keeps_identity) = (identity, true);
        self.network.take_part(&mut self.core.at(now));
        Ok(())
    }
}

/// Streams.
impl Engine {
    /// Writes to a stream of this node, and says how much of `bytes` was taken. If that is 0,
    /// [`Output::Stream`](super::Output::Stream) tells when to try again.
    pub fn stream_write(&mut self, now: Now, id: StreamId, bytes: &[u8]) -> Result<usize, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_write(ctx, network, id, bytes)
    }

    /// Says that all of a stream was written.
    pub fn stream_finish(&mut self, now: Now, id: StreamId) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_finish(ctx, network, id);
    }

    /// Breaks a stream of this node off, and says why.
    pub fn stream_abort(&mut self, now: Now, id: StreamId, why: &str) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_abort(ctx, network, id, why);
    }

    /// The program lets go of a stream of this node that it has not finished, which breaks the
    /// stream off. A command that has streamed nothing may still succeed: its answer decides.
    pub fn stream_let_go(&mut self, now: Now, id: StreamId) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_let_go(ctx, network, id);
    }

    /// Reads what has come of a stream into `buf`: 0 at its end. If `None` is returned,
    /// [`Output::Stream`](super::Output::Stream) tells when to try again.
    pub fn stream_read(
        &mut self,
        now: Now,
        id: StreamId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_read(ctx, network, id, buf)
    }

    /// The program reads no more of a stream, whatever may come.
    pub fn stream_close(&mut self, now: Now, id: StreamId) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.stream_close(ctx, network, id);
    }
}

/// Addresses to be linked to, and relays.
impl Engine {
    /// Dials an address, to reach whichever node is there. Its end comes as
    /// [`Output::Ended`](super::Output::Ended), with the name of the node that answered; from then
    /// on the address is dialled again whenever the link is lost.
    pub fn connect(
        &mut self,
        now: Now,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        self.commands.connect(ctx, network, address, timeout)
    }

    /// An address to be linked to, for as long as this node runs.
    pub fn add_seed(&mut self, now: Now, address: SocketAddr) -> Result<(), Error> {
        let ctx = &self.core.at(now);
        let seed = self.network.seed(ctx, address)?;
        self.network.keep_seed(ctx, seed);
        Ok(())
    }

    /// Where this node's peers are, of those that are reached straight.
    pub fn acquaintances(&self) -> Vec<Acquaintance> {
        self.network.acquaintances()
    }

    /// Whether a link is one that [`Output::DialRelay`](super::Output::DialRelay) asked for, and if
    /// so, whether the relay was learnt from others: then it must not be on this host.
    pub fn dials_relay(&self, link: LinkId) -> Option<bool> {
        self.network.dials_relay(link)
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, link: LinkId) -> &[u8] {
        self.network.pending(link)
    }

    /// The source that the calls of a caller count for, if any call of it is remembered.
    #[cfg(feature = "files")]
    pub(crate) fn source_of_calls(&self, caller: Instance) -> Option<super::Source> {
        self.commands.source_of_calls(caller)
    }

    /// Where the session with the peer of a name comes from, if there is one.
    #[cfg(feature = "files")]
    pub(crate) fn source_of_name(&self, name: &NodeName) -> Option<super::Source> {
        let peer = self.network.resolve(name)?;
        self.network.source(self.network.best_session(peer)?)
    }
}

/// The peers that speak the protocol of PeerBase 0.7.1.
impl Engine {
    /// There may be Python peers (of PeerBase 0.7.1).
    pub fn expect_compat(&mut self) {
        self.commands.expect_compat();
    }

    /// A Python peer is at this place now, or is gone.
    pub fn compat_peer(&mut self, now: Now, name: NodeName, place: Option<CompatPlace>) {
        self.commands
            .compat_peer(&mut self.core.at(now), name, place);
    }

    /// A relay that such peers are at answers, or does not.
    pub fn compat_relay(&mut self, relay: RelayAddress, state: Result<(), RelayFault>) {
        if let Some(event) = compat::relay_event(&self.core.config, relay, state) {
            self.core.outputs.push_back(super::Output::Event(event));
        }
    }

    /// A Python peer calls a command of this node. The engine of its protocol counts `ticket` from
    /// 0.
    pub fn compat_request(&mut self, now: Now, ticket: u64, caller: NodeName, ask: Ask) {
        let ctx = &mut self.core.at(now);
        self.commands.compat_request(ctx, ticket, caller, ask);
    }

    /// The caller does not wait any more.
    pub fn compat_withdrawn(&mut self, ticket: u64) {
        self.commands.compat_withdrawn(ticket);
    }

    /// A call that was handed out has ended.
    pub fn compat_answered(
        &mut self,
        now: Now,
        number: CallNumber,
        result: Result<Vec<u8>, Error>,
    ) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        let result = result.map(Payload::Json);
        self.commands.end_call(ctx, network, number, result);
    }
}

/// How the engine stops: the file `stopping.rs` tells the whole of it.
impl Engine {
    /// Ends the calls of this node and takes no more calls of others. Idempotent.
    pub fn begin_stop(&mut self, now: Now) {
        if self.core.phase != Phase::Stopped {
            let (ctx, network) = (&mut self.core.at(now), &mut self.network);
            self.commands.begin_stop(ctx, network);
        }
    }

    /// Whether all that was answered has arrived, as far as its callers can be reached.
    pub fn is_flushed(&self) -> bool {
        self.core.phase == Phase::Stopped
            || self.commands.is_flushed(&self.network, self.core.instance)
    }
}

/// What there is to know.
impl Engine {
    /// This start of the node.
    pub fn instance(&self) -> Instance {
        self.core.instance
    }

    /// This node's name.
    pub fn name(&self) -> &NodeName {
        &self.core.config.name
    }

    /// The network's name.
    pub fn network(&self) -> &NetworkName {
        &self.core.config.network
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.core.config.limits
    }

    /// The peers that are there, one entry for each name.
    pub fn peers(&self, now: Now) -> Vec<PeerInfo> {
        let infos = self.network.infos(now.at);
        // Of two of one name the native one, which is also the one that is called.
        let compat = self.commands.compat_infos();
        let compat = compat.filter(|info| !self.network.lists(&info.name));
        infos.chain(compat).collect()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats;
        self.network.count(&mut stats);
        self.commands.count(&mut stats);
        stats
    }
}
