//! A queue is the open transactions of one connection, in order. Nearly always there is one: that one is reached
//! without an indirection.

use std::collections::VecDeque;

use crate::http::transaction::Transaction;

/// The open transactions of a connection. Nothing is allocated while there is none, or one.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    first: Option<Box<Transaction>>,
    /// Those behind the first; none without a first.
    #[expect(
        clippy::box_collection,
        reason = "a pointer instead of a deque in every connection: few have more than one"
    )]
    more: Option<Box<VecDeque<Box<Transaction>>>>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Transaction> {
        self.first.iter().chain(self.more.iter().flat_map(|more| more.iter())).map(|transaction| &**transaction)
    }

    /// Index of the first transaction for which `wanted` holds.
    pub(crate) fn find(&self, wanted: impl Fn(&Transaction) -> bool) -> Option<usize> {
        self.iter().position(wanted)
    }

    /// Index of the last transaction for which `wanted` holds.
    pub(crate) fn rfind(&self, wanted: impl Fn(&Transaction) -> bool) -> Option<usize> {
        let behind = self.iter().rev().position(wanted)?;
        self.len().checked_sub(behind + 1)
    }

    /// Index of the transaction whose request has this number: nearly always the first or the last.
    pub(crate) fn index_of(&self, number: u32) -> Option<usize> {
        if number == 0 {
            return None;
        }
        let last = self.len().checked_sub(1)?;
        match self.get(last) {
            Some(open) if open.number == number => Some(last),
            _ => self.find(|open| open.number == number),
        }
    }

    /// Indices of the transactions for which `wanted` holds, of those that a message may be in progress of: those that
    /// the server has begun to answer (the first, and one more behind a response without a request), and the last.
    pub(crate) fn in_progress(&self, wanted: impl Fn(&Transaction) -> bool) -> impl DoubleEndedIterator<Item = usize> {
        let last = self.len().saturating_sub(1);
        [0, 1, last].into_iter().filter(move |index| self.get(*index).is_some_and(&wanted))
    }

    /// The transaction at an index that a search has found, if it has.
    pub(crate) fn at(&mut self, index: Option<usize>) -> Option<(usize, &mut Transaction)> {
        let index = index?;
        Some((index, self.get_mut(index)?))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Transaction> {
        match index.checked_sub(1) {
            None => self.first.as_deref(),
            Some(index) => self.more.as_ref()?.get(index).map(|transaction| &**transaction),
        }
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Transaction> {
        match index.checked_sub(1) {
            None => self.first.as_deref_mut(),
            Some(index) => self.more.as_mut()?.get_mut(index).map(|transaction| &mut **transaction),
        }
    }

    /// Marks those to which bytes of the server's before an offset may have been a response that was not read.
    pub(crate) fn mark_unread(&mut self, server_side: u8, until: u64) {
        for index in (0..self.len()).rev() {
            let Some(open) = self.get_mut(index) else { return };
            if open.unread {
                return; // those before it were marked with it
            }
            open.unread = open.client_side != server_side && open.client_acked.is_none_or(|acked| acked < until);
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

    pub(crate) fn remove(&mut self, index: usize) -> Option<Box<Transaction>> {
        let more = self.more.as_mut();
        let removed = match index.checked_sub(1) {
            None => std::mem::replace(&mut self.first, more.and_then(|more| more.pop_front())),
            Some(index) => more?.remove(index),
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
            for (seq, (what, index)) in (1..).zip(steps) {
                match what {
                    0 => {
                        queue.push_back(transaction(seq));
                        model.push_back(seq);
                    }
                    1 => {
                        queue.push_front(transaction(seq));
                        model.push_front(seq);
                    }
                    _ => prop_assert_eq!(queue.remove(index).map(|transaction| transaction.seq), model.remove(index)),
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert!(queue.iter().map(|transaction| transaction.seq).eq(model.iter().copied()));
                prop_assert_eq!(queue.get(index).map(|transaction| transaction.seq), model.get(index).copied());
                prop_assert_eq!(queue.get_mut(index).map(|transaction| transaction.seq), model.get(index).copied());
                prop_assert_eq!(queue.find(|open| open.seq % 2 == 0), model.iter().position(|seq| seq % 2 == 0));
                prop_assert_eq!(queue.rfind(|open| open.seq % 2 == 0), model.iter().rposition(|seq| seq % 2 == 0));
                prop_assert_eq!(queue.more.is_some(), model.len() > 1);
            }
        }
    }
}
