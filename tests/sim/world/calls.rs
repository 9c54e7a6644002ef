//! What nodes are asked for in a world, and how it ends.

use super::{PORT, World, name, secs, terms};
use crate::common::engines::streaming;
use peerbase::engine::{Ask, CallNumber};
use peerbase::error::Error;
use peerbase::name::CommandPath;
use peerbase::wire::record::Status;
use std::net::SocketAddr;
use std::time::Duration;

impl World {
    /// Notes that a call of a node's has begun, so that it must end once.
    fn begin(&mut self, node: usize, number: CallNumber) {
        let instance = self.nodes[node].engine.instance();
        self.begun.insert((instance, number));
    }

    pub(crate) fn call(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
    ) -> Option<CallNumber> {
        self.call_with(node, target, timeout, target.as_bytes())
    }

    /// A call with these args, which an echo gives back.
    pub(crate) fn call_with(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
        args: &[u8],
    ) -> Option<CallNumber> {
        let ask = Ask::Command {
            path: CommandPath::new("echo").unwrap(),
            args: args.to_vec(),
            kwargs: b"{}".to_vec(),
        };
        self.call_for(node, target, timeout, ask)
    }

    /// A call with bytes, which are given back as bytes.
    pub(crate) fn call_with_data(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
        data: Vec<u8>,
    ) -> Option<CallNumber> {
        let path = CommandPath::new("echo").unwrap();
        self.call_for(node, target, timeout, Ask::Data { path, data })
    }

    fn call_for(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
        ask: Ask,
    ) -> Option<CallNumber> {
        let now = self.clock_of(node);
        let number = self.nodes[node]
            .engine
            .call(now, &name(target), ask, terms(timeout))
            .ok()?;
        self.begin(node, number);
        self.drain(node);
        Some(number)
    }

    /// Whether the value that a call ended with is marked as bytes.
    pub(crate) fn is_data(&self, node: usize, number: CallNumber) -> bool {
        let id = (self.nodes[node].engine.instance(), number);
        self.data_ends.contains(&id)
    }

    /// A call that streams.
    pub(crate) fn call_streaming(
        &mut self,
        node: usize,
        target: &str,
        timeout: Duration,
    ) -> Result<CallNumber, Error> {
        let (ask, terms) = streaming(terms(timeout));
        let now = self.clock_of(node);
        let engine = &mut self.nodes[node].engine;
        let number = engine.call(now, &name(target), ask, terms)?;
        self.begin(node, number);
        self.drain(node);
        Ok(number)
    }

    /// Has a node dial another's address.
    pub(crate) fn connect(&mut self, node: usize, to: usize) -> CallNumber {
        let address = SocketAddr::new(self.nodes[to].address, PORT);
        let number = self.with(node, |e, now| e.connect(now, address, secs(20)));
        let number = number.unwrap();
        self.begin(node, number);
        number
    }

    /// Has a node say something to everyone.
    pub(crate) fn broadcast(&mut self, node: usize, data: &[u8]) -> CallNumber {
        let number = self.with(node, |e, now| e.broadcast(now, data, secs(20)));
        let number = number.unwrap();
        self.begin(node, number);
        number
    }

    pub(crate) fn cancel(&mut self, node: usize, number: CallNumber) {
        let now = self.clock_of(node);
        self.nodes[node].engine.cancel(now, number);
        self.drain(node);
    }

    pub(crate) fn result(
        &self,
        node: usize,
        number: CallNumber,
    ) -> Option<&Result<Vec<u8>, Error>> {
        self.ends.get(&(self.nodes[node].engine.instance(), number))
    }

    /// Calls a node and wants its answer within a second.
    pub(crate) fn assert_answered(&mut self, node: usize, target: &str) {
        let n = self.call(node, target, secs(5)).unwrap();
        self.run(secs(1));
        assert!(self.result(node, n).unwrap().is_ok(), "{node} to {target}");
    }

    pub(crate) fn answer_all(&mut self, node: usize) {
        for (id, value) in std::mem::take(&mut self.nodes[node].held) {
            let now = self.clock_of(node);
            self.nodes[node].engine.reply(now, id, Status::Value, value);
        }
        self.drain(node);
    }
}
