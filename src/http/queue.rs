//! A queue is the open transactions of one connection, in order. Nearly always there is one: that one is reached without
//! a detour.

use std::collections::VecDeque;

use crate::http::transaction::Transaction;

/// The open transactions of a connection. Nothing is allocated while there is none, or one.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    first: Option<Box<Transaction>>,
    /// Those behind the first. There are none without it.
    #[expect(clippy::box_collection, reason = "a pointer's room in every connection, of which few have any")]
    more: Option<Box<VecDeque<Box<Transaction>>>>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Transaction> {
        self.first.iter().chain(self.more.iter().flat_map(|more| more.iter())).map(|transaction| &**transaction)
    }

    /// Place of the first for which `wanted` holds.
    pub(crate) fn find(&self, wanted: impl Fn(&Transaction) -> bool) -> Option<usize> {
        self.iter().position(wanted)
    }

    /// Place of the last for which `wanted` holds.
    pub(crate) fn rfind(&self, wanted: impl Fn(&Transaction) -> bool) -> Option<usize> {
        let behind = self.iter().rev().position(wanted)?;
        self.len().checked_sub(behind + 1)
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Transaction> {
        match place.checked_sub(1) {
            None => self.first.as_deref(),
            Some(place) => self.more.as_ref()?.get(place).map(|transaction| &**transaction),
        }
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Transaction> {
        match place.checked_sub(1) {
            None => self.first.as_deref_mut(),
            Some(place) => self.more.as_mut()?.get_mut(place).map(|transaction| &mut **transaction),
        }
    }

    pub(crate) fn push_back(&mut self, transaction: Box<Transaction>) {
        match self.first {
            None => self.first = Some(transaction),
            Some(_) => self.more.get_or_insert_default().push_back(transaction),
        }
    }

    pub(crate) fn push_front(&mut self, transaction: Box<Transaction>) {
        if let Some(second) = self.first.replace(transaction) {
            self.more.get_or_insert_default().push_front(second);
        }
    }

    pub(crate) fn remove(&mut self, place: usize) -> Option<Box<Transaction>> {
        let more = self.more.as_mut();
        let removed = match place.checked_sub(1) {
            None => std::mem::replace(&mut self.first, more.and_then(|more| more.pop_front())),
            Some(place) => more?.remove(place),
        };
        self.more.take_if(|more| more.is_empty());
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transaction(seq: u32) -> Box<Transaction> {
        Box::new(Transaction { seq, ..Transaction::empty() })
    }

    proptest! {
        #[test]
        fn does_what_a_deque_does(steps in prop::collection::vec((0..4_u8, 0..6_usize), 0..60)) {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            for (seq, (what, place)) in (1..).zip(steps) {
                match what {
                    0 => {
                        queue.push_back(transaction(seq));
                        model.push_back(seq);
                    }
                    1 => {
                        queue.push_front(transaction(seq));
                        model.push_front(seq);
                    }
                    _ => prop_assert_eq!(queue.remove(place).map(|transaction| transaction.seq), model.remove(place)),
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(queue.iter().map(|transaction| transaction.seq).eq(model.iter().copied()));
                prop_assert_eq!(queue.get(place).map(|transaction| transaction.seq), model.get(place).copied());
                prop_assert_eq!(queue.get_mut(place).map(|transaction| transaction.seq), model.get(place).copied());
                prop_assert_eq!(queue.find(|open| open.seq % 2 == 0), model.iter().position(|seq| seq % 2 == 0));
                prop_assert_eq!(queue.rfind(|open| open.seq % 2 == 0), model.iter().rposition(|seq| seq % 2 == 0));
                prop_assert_eq!(queue.more.is_some(), model.len() > 1);
            }
        }
    }
}
