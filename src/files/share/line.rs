//! Questions of other nodes that wait for their turn, and how many of them one source may have.

use crate::engine::Source;
use crate::limits::FILE_QUESTIONS;
use crate::name::NodeName;
use crate::shares::{Amount, Shares};
use std::collections::VecDeque;

/// The node that has asked, and where its session comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asker {
    pub(super) source: Source,
    pub(super) name: NodeName,
}

#[derive(Debug)]
struct Waiting<T> {
    asker: Asker,
    question: T,
}

/// What waits, in the order in which it came.
#[derive(Debug)]
pub(super) struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    sources: Shares<Source>,
    askers: Shares<Asker>,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line {
            waiting: VecDeque::new(),
            sources: Shares::default(),
            askers: Shares::default(),
        }
    }
}

impl<T> Line<T> {
    /// Puts a question at the end, if the questions of its source, those of its asker counted
    /// twice, are fewer than there are free places. So all nodes of one source leave room for other
    /// sources, whatever names they invent, and one node leaves some room for the others of its
    /// source. Otherwise the question is given back.
    pub(super) fn push(&mut self, asker: Asker, question: T) -> Result<(), T> {
        let near = self.sources.of(&asker.source).count;
        let own = self.askers.of(&asker).count;
        if near + own >= FILE_QUESTIONS.saturating_sub(self.sources.all().count) {
            return Err(question);
        }
        self.sources.add(asker.source, Amount::one(0));
        self.askers.add(asker.clone(), Amount::one(0));
        self.waiting.push_back(Waiting { asker, question });
        Ok(())
    }

    /// Takes the first question.
    pub(super) fn pop(&mut self) -> Option<T> {
        let Waiting { asker, question } = self.waiting.pop_front()?;
        self.sources.remove(&asker.source, Amount::one(0));
        self.askers.remove(&asker, Amount::one(0));
        Some(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn asker(name: &str, site: u8) -> Asker {
        Asker {
            source: Source::Address(IpAddr::from([10, 0, 0, site])),
            name: NodeName::new(name).unwrap(),
        }
    }

    /// How many of a thousand and more questions find room.
    fn fill(line: &mut Line<usize>, asker: impl Fn(usize) -> Asker) -> usize {
        let question = |n: &usize| line.push(asker(*n), *n).is_ok();
        (0..2 * FILE_QUESTIONS).filter(question).count()
    }

    #[test]
    fn one_node_leaves_room_to_its_source_and_one_source_to_others() {
        let mut line = Line::default();
        assert_eq!(fill(&mut line, |_| asker("greedy", 1)), 342, "a third");
        let invented = |n| asker(&format!("n{n}"), 1);
        assert_eq!(fill(&mut line, invented), 170, "the rest of a half");
        assert_eq!(fill(&mut line, |_| asker("other", 2)), 171);
        assert_eq!(line.push(asker("greedy", 1), 7), Err(7));
    }

    #[test]
    fn what_comes_first_goes_first_and_its_place_is_free_again() {
        let mut line = Line::default();
        for _ in 0..3 {
            assert_eq!(fill(&mut line, |_| asker("greedy", 1)), 342);
            let order: Vec<usize> = std::iter::from_fn(|| line.pop()).collect();
            assert!(order.is_sorted() && order.len() == 342);
            assert_eq!((line.sources.sources(), line.askers.sources()), (0, 0));
        }
    }
}
