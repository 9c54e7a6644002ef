//! Networks without advertising, and messages for everyone.

use super::{Node, Options, saved_peers};
use crate::engine::Ask;
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::report::{self, Report};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

impl Node {
    /// Connects to the node at an address, whatever its name, and returns that name. After that
    /// this node dials the address again whenever the link is lost, exchanges peers with the other
    /// node, and connects to those peers as well, up to
    /// [`Builder::max_peers`](crate::Builder::max_peers).
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if no node of this network answers there in time;
    /// [`Error::WouldDeadlock`] in a [callback](crate#callbacks).
    pub fn connect(&self, address: SocketAddr, timeout: Duration) -> Result<NodeName, Error> {
        let name = self
            .0
            .shared
            .turns
            .begin_and_wait(|engine, now| engine.connect(now, address, timeout))?;
        let name =
            String::from_utf8(name.into_bytes()).map_err(|_| Error::Utf8("a node's name"))?;
        NodeName::new(&name)
    }

    /// Has an address dialled for as long as this node runs, as [`Node::connect`] does, without
    /// waiting for it.
    pub fn add_seed(&self, address: SocketAddr) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        self.0
            .shared
            .turns
            .with(|engine, now| engine.add_seed(now, address))?
    }

    /// Sends bytes to every node that can be reached through any chain of nodes, once to each, and
    /// waits for the report on how many have them. `timeout` bounds how long that takes.
    ///
    /// The sender is not among the nodes that the report counts, and its own message handler does
    /// not run. A node counts once it has accepted the bytes, before its handler runs, and also if
    /// it has no message handler. To know that a handler of each node has run, call a command with
    /// [`CallBuilder::to_all`](crate::CallBuilder::to_all), or use [`Node::send_to`] for each node;
    /// both reach the known peers only.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond [`max_message`](crate::Limits::max_message);
    /// [`Error::WouldDeadlock`] in a [callback](crate#callbacks); [`Error::Stopped`].
    pub fn broadcast(&self, data: &[u8], timeout: Duration) -> Result<Report, Error> {
        let body = self
            .0
            .shared
            .turns
            .begin_and_wait(|engine, now| engine.broadcast(now, data, timeout))?;
        report::decode(body.bytes()).map_err(|_| Error::Internal("a report that is none"))
    }

    /// Sends bytes to one node's message handler, and waits until the handler has answered or
    /// dropped the message; what it answers is discarded. [`Node::send_message`] returns the
    /// answer.
    ///
    /// # Errors
    ///
    /// Those of [`Node::send_message`].
    pub fn send_to(&self, target: &str, data: &[u8], timeout: Duration) -> Result<(), Error> {
        let options = Options {
            timeout,
            ..Options::default()
        };
        let ask = Ask::Message(data.to_vec());
        self.call_one(&NodeName::new(target)?, ask, options)?;
        Ok(())
    }

    /// Writes where the peers are that this node is linked to straight, for [`Node::load_state`]
    /// after the next start. The file is replaced as a whole: after a power cut it is the old one
    /// or the new one. While this node is linked to no peer the file is left as it is, so that an
    /// outage does not make it forget where its peers were.
    pub fn save_state(&self, file: impl AsRef<Path>) -> Result<(), Error> {
        self.0.shared.turns.check()?;
        let peers = self
            .0
            .shared
            .turns
            .with(|engine, _| engine.acquaintances())?;
        if peers.is_empty() {
            return Ok(());
        }
        saved_peers::save(file.as_ref(), self.0.shared.network(), &peers)
    }

    /// Has the addresses of a file that [`Node::save_state`] wrote dialled, for as long as this
    /// node runs; how many those are. None, if there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if it is not such a file: then it is kept aside under its name with
    /// `.damaged` added, and the node goes on with no address.
    pub fn load_state(&self, file: impl AsRef<Path>) -> Result<usize, Error> {
        self.0.shared.turns.check()?;
        let addresses = saved_peers::load(file.as_ref(), self.0.shared.network())?;
        let mut count = 0;
        for address in addresses {
            let added = self
                .0
                .shared
                .turns
                .with(|engine, now| engine.add_seed(now, address));
            count += usize::from(added?.is_ok());
        }
        Ok(count)
    }
}
