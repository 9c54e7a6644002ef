//! A queue of bytes for one link: bytes are appended at the back and consumed at the front.
//!
//! The bytes that wait are one slice, so that one system call can write all of them. Consumed bytes
//! are not kept. A reader that is steady but slower than its senders never empties its queue, so a
//! queue that gave memory back only when it is empty would grow by every byte that passes.

/// See the module's documentation.
///
/// After each [`Buffer::consume`] the capacity is at most four times the number of bytes that wait,
/// or the number that the caller wants to keep. Between two calls of it an append grows the buffer
/// as it grows a `Vec`, to at most twice its length.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// How many bytes at the front have been consumed; never more than wait behind them.
    consumed: usize,
}

impl Buffer {
    /// The bytes that wait.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// The number of bytes that wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the queue takes.
    #[inline]
    #[cfg(any(test, feature = "relay-server"))]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// By how many bytes of memory the queue grows if `n` bytes are appended.
    #[cfg(any(test, feature = "relay-server"))]
    pub(crate) fn growth(&self, n: usize) -> usize {
        let capacity = self.bytes.capacity();
        let needed = self.bytes.len() + n;
        if needed <= capacity {
            0
        } else {
            // A vector at least doubles.
            capacity.max(needed - capacity)
        }
    }

    /// Appends what `write` appends to the vector that it is given, which may hold other bytes
    /// before. Returns how many bytes that was.
    #[inline]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.bytes.len();
        write(&mut self.bytes);
        debug_assert!(self.bytes.len() >= before, "only appends");
        self.bytes.len() - before
    }

    /// Drops `n` bytes at the front, or all if there are fewer, and gives back memory beyond `keep`
    /// bytes that is not needed.
    ///
    /// The bytes that wait are moved to the front once they are no more than were consumed before
    /// them. So each byte that is moved is paid for by one that was consumed, and a byte costs at
    /// most one move on average.
    pub(crate) fn consume(&mut self, n: usize, keep: usize) {
        self.consumed += n.min(self.len());
        let waits = self.len();
        if self.consumed >= waits {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        if self.bytes.capacity() > keep.max(4 * waits) {
            self.bytes.shrink_to(keep.max(2 * waits));
        }
    }

    /// The bytes that wait, as a vector of their own; the queue is empty then.
    #[cfg(any(test, feature = "relay-server"))]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let Buffer {
            mut bytes,
            consumed,
        } = std::mem::take(self);
        bytes.drain(..consumed);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_is_a_queue_and_its_memory_is_bounded_by_what_waits(
            steps in prop::collection::vec((any::<bool>(), 0usize..5_000), 0..200),
            keep in 0usize..4_000,
        ) {
            let (mut buffer, mut queue) = (Buffer::default(), VecDeque::new());
            for (i, (append, n)) in steps.into_iter().enumerate() {
                if append {
                    let bytes = vec![i as u8; n];
                    let capacity = buffer.capacity() + buffer.growth(n);
                    prop_assert_eq!(buffer.append(|out| out.extend_from_slice(&bytes)), n);
                    prop_assert!(buffer.capacity() <= capacity.max(8));
                    queue.extend(bytes);
                } else {
                    buffer.consume(n, keep);
                    queue.drain(..n.min(queue.len()));
                    prop_assert!(buffer.capacity() <= keep.max(4 * queue.len()));
                }
                prop_assert_eq!(buffer.len(), queue.len());
                prop_assert_eq!(buffer.is_empty(), queue.is_empty());
                prop_assert!(queue.iter().eq(buffer.as_slice()));
            }
            let rest: Vec<u8> = queue.into();
            prop_assert_eq!(buffer.take(), rest);
            prop_assert_eq!(buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow_by_what_passes() {
        let mut buffer = Buffer::default();
        buffer.append(|out| out.resize(10_000, 1));
        let mut peak = 0;
        for _ in 0..100_000 {
            buffer.append(|out| out.resize(out.len() + 700, 2));
            peak = peak.max(buffer.capacity());
            buffer.consume(700, 0);
        }
        assert_eq!(buffer.len(), 10_000);
        assert!(peak <= 4 * 10_700, "{peak}");
    }

    #[test]
    fn what_is_moved_is_no_more_than_what_was_consumed() {
        let mut buffer = Buffer::default();
        let (mut consumed, mut moved) = (0, 0);
        for round in 0..10_000usize {
            buffer.append(|out| out.resize(out.len() + 1 + round * 7 % 900, 0));
            let n = (1 + round * 5 % 800).min(buffer.len());
            let before = buffer.consumed;
            buffer.consume(n, 0);
            consumed += n;
            if buffer.consumed < before + n {
                moved += buffer.len();
            }
        }
        assert!(buffer.len() > 10_000, "it is never empty");
        assert!(moved <= consumed, "{moved} moved, {consumed} consumed");
    }
}
