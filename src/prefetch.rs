//! A software prefetch: what is out of the cache is read before it is needed, a few things together.
//!
//! Each is read in steps: what a step reads points to what the next one reads. As the loads of a step do not depend on each other,
//! their misses overlap; a processor looks only some 300 instructions ahead.

/// So many things are read together.
const TOGETHER: usize = 16;

/// Reads what was found; a step reads a word of each line. Says how many things that were.
pub(crate) fn fetch<'a, T: 'a>(mut things: impl Iterator<Item = Option<&'a T>>, steps: &[fn(&T) -> u64]) -> usize {
    let (mut count, mut sum, mut more) = (0, 0, true);
    while more {
        let mut found = [None; TOGETHER];
        more = false;
        for (place, thing) in found.iter_mut().zip(&mut things) {
            (*place, more) = (thing, true);
        }
        let found = found.iter().flatten();
        count += found.clone().count();
        for step in steps {
            sum ^= found.clone().fold(0, |sum, thing| sum ^ step(thing));
        }
    }
    std::hint::black_box(sum);
    count
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    struct Thing {
        number: u64,
        read: Rc<RefCell<Vec<(u64, u64)>>>,
    }

    impl Thing {
        fn step(&self, step: u64) -> u64 {
            self.read.borrow_mut().push((step, self.number));
            self.number
        }
    }

    #[test]
    fn a_few_take_a_step_before_any_takes_the_next() {
        let read = Rc::default();
        let things: Vec<_> = (0..40).map(|number| Thing { number, read: Rc::clone(&read) }).collect();
        let found = things.iter().map(|thing| thing.number.is_multiple_of(2).then_some(thing));
        assert_eq!(fetch(found, &[|thing: &Thing| thing.step(1), |thing: &Thing| thing.step(2)]), 20);
        let wanted = [(0, 16), (16, 32), (32, 40)].into_iter().flat_map(|(from, to)| {
            [1, 2].into_iter().flat_map(move |step| (from..to).step_by(2).map(move |number| (step, number)))
        });
        assert_eq!(*read.borrow(), wanted.collect::<Vec<_>>());
    }
}
