//! Who may call what: the rules that a node is given.

use super::Builder;

impl Builder {
    /// Lets these callers, and those of other rules for the same paths, call the paths of this
    /// pattern, and nobody else: at most 256 rules. A path that no rule covers is open to every
    /// member of the network.
    ///
    /// `pattern` is a path whose parts may be `*`, which stands for any one part; a last part `**`
    /// stands for all further parts, also none. The paths that every node has are covered as well:
    /// `__message__` stands for messages to this node ([`Node::send_message`]), `__file_info__` and
    /// `__file__` for its files, and there are `__echo__`, `__list_commands__` and `__peers__`. So
    /// `**` covers everything, except for messages to every node ([`Node::broadcast`]), which other
    /// nodes hand on, and calls of this node to itself.
    ///
    /// `callers` is one of these:
    ///
    /// | callers | who that is |
    /// | --- | --- |
    /// | `name:PATTERN` | nodes of this name; `*` stands for any characters, also none |
    /// | `key:FINGERPRINT`, `key:PUBLIC-KEY` | the node that has proved this key |
    /// | `role:NAME` | nodes whose certificate gives them this role |
    ///
    /// In a certified network ([`Builder::authority`]) names and roles are what the authority has
    /// signed. In an open network whoever has the network's key can take a name that is free, and
    /// nobody has a role: prefer keys there. Nodes of PeerBase 0.7.1 prove nothing, so that no rule
    /// names them.
    ///
    /// What is not allowed does not run, and nothing of it is kept: its caller gets
    /// [`Error::NotAllowed`], and [`Stats::calls_denied`] counts it.
    ///
    /// ```
    /// # use peerbase::{Key, Node};
    /// # let key = Key::from_bytes([0; 32]);
    /// let builder = Node::builder("valve-7", "plant", key)
    ///     .command("valve.open", |call| call.reply(true))
    ///     .command("valve.state", |call| call.reply("closed"))
    ///     .allow("valve.**", "key:k7qp-2mzd-abcd-efgh-ijkl")
    ///     .allow("valve.state", "name:display-*");
    /// ```
    ///
    /// # Errors
    ///
    /// The start of the node fails with [`Error::Path`] if the pattern is none, with
    /// [`Error::Argument`], [`Error::Name`] or [`Error::Key`] if the callers are none, and with
    /// [`Error::Argument`] if there are more than 256 rules.
    ///
    /// [`Node::send_message`]: crate::Node::send_message
    /// [`Node::broadcast`]: crate::Node::broadcast
    /// [`Error::NotAllowed`]: crate::Error::NotAllowed
    /// [`Error::Path`]: crate::Error::Path
    /// [`Error::Argument`]: crate::Error::Argument
    /// [`Error::Name`]: crate::Error::Name
    /// [`Error::Key`]: crate::Error::Key
    /// [`Stats::calls_denied`]: crate::Stats::calls_denied
    #[must_use]
    pub fn allow(mut self, pattern: &str, callers: &str) -> Self {
        self.rules = self.rules.and_then(|mut rules| {
            rules.allow(pattern, callers)?;
            Ok(rules)
        });
        self
    }
}
