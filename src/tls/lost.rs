//! Finding the place after loss: which of a side's records the next one is.
//!
//! The number of a record is not in it, and it is needed to open it. So a record that follows a gap is opened with the numbers
//! that it may have, the likeliest first, until the tag fits. How many records were lost follows from the number of lost bytes
//! and the mean size of records; where the header of the broken record was captured, it says where the next one begins.
//!
//! The work is bounded: [`BYTES_OPENED`] bytes are opened for each byte of the side that was captured.

use super::half::{Epoch, Held, KEYS_COST, Keys};
use super::outcome::{Buffers, Dark};
use super::record::{ContentType, HEADER, Header, MAX_BODY_13};
use super::suites::Bulk;
use crate::stream::Position;

/// Bytes opened in search of a place, for each captured byte of the side.
pub(super) const BYTES_OPENED: u64 = 8;
/// The most bytes that wait for a place: two records of the greatest size, and some more.
const MAX_WAITING: usize = 48 * 1024;
/// So many records of those that wait are looked at, to try the shortest.
const MAX_CHAIN: usize = 32;
/// What may be a record by accident gets so many tries; what another record follows gets as many as needed.
const UNCONFIRMED_TRIES: u32 = 16;
/// After so many records that have no place, the side is given up.
const MAX_FAILURES: u32 = 16;
/// Where bytes are wrong: so many numbers are tried with a record, and with so many records the same.
const ROUND: u32 = 8;
const SAME_NUMBERS: u32 = 4;
/// Of so many tries one is with keys that would have begun in the gap.
const NEXT_KEYS: u32 = 4;

/// Keys that the next record may have, and numbers that were tried with them.
struct Hypothesis {
    keys: Box<Keys>,
    /// The keys were in use before the gap, and their `number` is that of the record at the border. Otherwise they
    /// began in the gap, with 0.
    continued: bool,
    tried: u64,
}

/// A side after loss.
pub(super) struct Lost {
    hypotheses: Vec<Hypothesis>,
    /// Keys that are not looked up yet.
    pub(super) epochs: Vec<Epoch>,
    /// The loss was in the clear part of the handshake: which keys follow is decided when both hellos are known.
    pub(super) in_clear: bool,
    /// Offset of the first record that may have keys which began in the gap.
    begun: u64,
    /// Offset at which a record begins: the last one that is known.
    border: u64,
    /// The header of the record before the border may be wrong, so that the border may be anywhere.
    doubtful: bool,
    /// Plaintext may have been lost since the border. Not before the keys of applications, or of early data, were in use.
    pub(super) began: bool,
    waiting: Held,
    /// Which of the waiting records was tried.
    tested: usize,
    turn: u32,
    failures: u32,
    reason: Dark,
}

/// What a search came to.
pub(super) enum Step {
    /// More bytes are needed.
    More,
    /// It is hopeless.
    Dark(Dark),
    /// The waiting bytes begin with a record of these keys; before it so much plaintext is missing at most, and exactly if so.
    Found { keys: Box<Keys>, greatest: u64, exact: bool },
    /// The waiting bytes begin with records that are not encrypted: the sender has not changed its keys yet.
    Clear,
}

/// A record among the waiting bytes.
struct Waiting {
    start: usize,
    header: Header,
    /// How many encrypted records come before it.
    index: usize,
}

impl Lost {
    /// A side that lost records from `begun` on, of which one begins at `border`. `epochs`: keys that may have begun since, still
    /// to be looked up.
    pub(super) fn new(begun: u64, border: u64, epochs: Vec<Epoch>, reason: Dark) -> Self {
        Self {
            begun,
            hypotheses: Vec::new(),
            in_clear: false,
            epochs,
            border,
            doubtful: reason != Dark::Gap,
            began: false,
            waiting: Held::default(),
            tested: 0,
            turn: 0,
            failures: 0,
            reason,
        }
    }

    /// The keys in use before the gap; their number is that of the record at the border.
    pub(super) fn continue_with(&mut self, keys: Box<Keys>) {
        self.began = matches!(keys.epoch, Epoch::Tls12 | Epoch::Early | Epoch::Application);
        self.hypotheses.push(Hypothesis { keys, continued: true, tried: 0 });
    }

    /// Keys that may have begun since.
    pub(super) fn begin_with(&mut self, keys: impl IntoIterator<Item = Box<Keys>>) {
        self.hypotheses.extend(keys.into_iter().map(|keys| Hypothesis { keys, continued: false, tried: 0 }));
    }

    /// Tries only keys of this cipher from now on.
    pub(super) fn keep_cipher(&mut self, cipher: Option<Bulk>) {
        self.hypotheses.retain(|hypothesis| hypothesis.keys.opener.aead() == cipher);
    }

    pub(super) const fn has_keys(&self) -> bool {
        !self.hypotheses.is_empty()
    }

    pub(super) fn kept(&self) -> usize {
        self.waiting.bytes.len()
    }

    pub(super) fn memory(&self) -> usize {
        let hypotheses = self.hypotheses.len() * (size_of::<Hypothesis>() + KEYS_COST);
        size_of::<Self>() + hypotheses + self.waiting.memory()
    }

    /// Takes bytes. Those below the border belong to a broken record, and others do not fit while keys are missing: returns how
    /// many were dropped.
    pub(super) fn push(&mut self, offset: u64, at: Position, bytes: &[u8]) -> usize {
        let below = usize::try_from(self.border.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let kept = bytes.get(below..).unwrap_or_default();
        if kept.is_empty() {
            return below;
        }
        self.waiting.push(offset + below as u64, at, kept);
        let excess = self.waiting.bytes.len().saturating_sub(MAX_WAITING + bytes.len());
        self.waiting.drop_front(excess);
        below + excess
    }

    /// Gives the waiting bytes back.
    pub(super) fn take_waiting(&mut self) -> Held {
        std::mem::take(&mut self.waiting)
    }

    /// More was lost, behind the waiting bytes. Returns how many of these were dropped, and the plaintext that they had at most.
    pub(super) fn interrupt(&mut self, tls13: bool) -> (usize, u64) {
        let mut greatest = 0;
        // If they begin at the border they are records as their headers say, and the border moves behind them.
        if self.is_at_border() && !self.doubtful {
            let mut at = 0;
            while let Some(header) = header_at(&self.waiting.bytes, at).filter(|header| plausible(header, tls13)) {
                at += header.record();
                self.border += header.record() as u64;
                let continued = self.hypotheses.iter_mut().filter(|hypothesis| hypothesis.continued);
                for hypothesis in continued.filter(|_| is_counted(&header, tls13)) {
                    hypothesis.keys.number += 1;
                    greatest += hypothesis.keys.opener.greatest(header.length) as u64;
                }
            }
        }
        let dropped = std::mem::take(&mut self.waiting).bytes.len();
        self.restart();
        (dropped, if self.began { greatest } else { 0 })
    }

    fn restart(&mut self) {
        self.turn = 0;
        self.tested = 0;
        for hypothesis in &mut self.hypotheses {
            hypothesis.tried = 0;
        }
    }

    /// Searches. `usual`: how many of the side's records were opened lately, and their bytes; `budget`: bytes that may be opened, which is reduced. Returns also how many
    /// of the waiting bytes were dropped, since they are no records or have no place.
    pub(super) fn search(
        &mut self,
        tls13: bool,
        usual: (u64, u64),
        budget: &mut u64,
        buffers: &mut Buffers,
    ) -> (Step, usize) {
        let mut dropped = 0;
        'search: loop {
            let Some((records, confirmed)) = self.chain(tls13) else {
                match self.next_candidate(tls13) {
                    Some(skipped) => {
                        dropped += skipped;
                        continue;
                    }
                    None => return (Step::More, dropped + self.drop_hopeless()),
                }
            };
            if !tls13 && !self.began && records.iter().any(|record| self.is_clear(record)) {
                return (Step::Clear, dropped);
            }
            let Some(test) = self.choose(&records, tls13) else {
                let hopeless = self.doubtful && self.waiting.bytes.len() >= MAX_WAITING;
                return (if hopeless { Step::Dark(self.reason) } else { Step::More }, dropped);
            };
            // The records behind the gap tell as much of those in it as the ones before.
            let sum: usize = records.iter().map(|record| record.header.record()).sum();
            let mean = (usual.1 + sum as u64) / (usual.0 + records.len() as u64).max(1);
            let round = self.turn / ROUND;
            loop {
                if self.doubtful && self.turn / ROUND != round {
                    continue 'search;
                }
                if !confirmed && self.turn >= UNCONFIRMED_TRIES {
                    return (Step::More, dropped);
                }
                let Some((at, number)) = self.next_try(test.index, mean) else { break };
                let cost = test.header.length as u64;
                if cost > *budget {
                    let full = self.waiting.bytes.len() >= MAX_WAITING;
                    return (if full { Step::Dark(self.reason) } else { Step::More }, dropped);
                }
                *budget -= cost;
                if self.fits(at, number, test, buffers) {
                    let (step, skipped) = self.found(at, number, test.index, &records);
                    return (step, dropped + skipped);
                }
                if let Some(hypothesis) = self.hypotheses.get_mut(at) {
                    hypothesis.tried += 1;
                }
                self.turn += 1;
            }
            if self.doubtful {
                self.turn = (round + 1) * ROUND;
                continue;
            }
            // No number fits: it is no record, or one with other keys.
            self.failures += 1;
            if self.failures >= MAX_FAILURES {
                return (Step::Dark(self.reason), dropped);
            }
            let first = if self.is_at_border() { records.first().map_or(1, |first| first.header.record()) } else { 1 };
            self.waiting.drop_front(first);
            dropped += first;
            self.restart();
        }
    }

    /// The record to try: the shortest. Where records have wrong bytes, each in its turn, or one of these would be tried in vain.
    fn choose<'a>(&mut self, records: &'a [Waiting], tls13: bool) -> Option<&'a Waiting> {
        let mut testable = records.iter().filter(|record| is_counted(&record.header, tls13));
        if self.doubtful {
            let round = self.turn / ROUND;
            let tried = u64::from(round / SAME_NUMBERS * ROUND);
            if self.turn.is_multiple_of(ROUND) {
                self.hypotheses.iter_mut().for_each(|hypothesis| hypothesis.tried = tried);
            }
            return testable.nth(usize::try_from(round).unwrap_or(usize::MAX));
        }
        let test = testable.min_by_key(|record| record.header.length)?;
        if test.index != self.tested {
            self.tested = test.index;
            self.hypotheses.iter_mut().filter(|hypothesis| !hypothesis.continued).for_each(|one| one.tried = 0);
        }
        Some(test)
    }

    const fn is_at_border(&self) -> bool {
        self.waiting.start == self.border
    }

    /// The records at the front of the waiting bytes, the first of them whole, and whether they are surely records. `None`: there
    /// is none yet.
    fn chain(&self, tls13: bool) -> Option<(Vec<Waiting>, bool)> {
        let bytes = &self.waiting.bytes;
        let (mut at, mut index, mut records) = (0, 0, Vec::new());
        while records.len() < MAX_CHAIN {
            let Some(header) = header_at(bytes, at) else { break };
            // What follows a record is a record.
            let end = at + header.record();
            if !plausible(&header, tls13) || end > bytes.len() {
                break;
            }
            records.push(Waiting { start: at, header, index });
            index += usize::from(is_counted(&header, tls13));
            at = end;
        }
        let followed = header_at(bytes, at).is_some_and(|next| plausible(&next, tls13));
        let confirmed = self.is_at_border() || records.len() > 1 || followed;
        (!records.is_empty() && !self.is_refuted(at, tls13)).then_some((records, confirmed))
    }

    /// Whether a record of a handshake in TLS 1.2 is not encrypted: the change of the keys itself, or whole messages.
    fn is_clear(&self, record: &Waiting) -> bool {
        let body = self.waiting.bytes.get(record.start + HEADER..record.start + record.header.record());
        match (record.header.kind, body.unwrap_or_default()) {
            (ContentType::ChangeCipherSpec, body) => body.len() == 1,
            (ContentType::Handshake, [1..=24, 0, high, low, message @ ..]) => {
                usize::from(u16::from_be_bytes([*high, *low])) == message.len()
            }
            _ => false,
        }
    }

    /// The most plaintext that was lost from the border up to this offset.
    pub(super) fn greatest_until(&self, end: u64) -> u64 {
        let continued = self.hypotheses.first().is_some_and(|first| first.continued);
        let lost = end.saturating_sub(self.origin(continued));
        let each = self.hypotheses.first().map_or(0, |first| HEADER + first.keys.opener.overhead()) as u64;
        lost.saturating_sub(lost.div_ceil((HEADER + MAX_BODY_13) as u64) * each)
    }

    /// Whether what lies here cannot be a record.
    fn is_refuted(&self, at: usize, tls13: bool) -> bool {
        let rest = self.waiting.bytes.get(at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(bytes) => Header::read(*bytes).is_none_or(|header| !plausible(&header, tls13)),
            None => !may_begin(rest),
        }
    }

    /// Drops bytes until what is left may begin with a record whose end is not there yet, or with a chain. `None`: there is
    /// nothing to drop, and more bytes are needed.
    fn next_candidate(&mut self, tls13: bool) -> Option<usize> {
        let length = self.waiting.bytes.len();
        let first_whole = header_at(&self.waiting.bytes, 0).is_some_and(|header| header.record() <= length);
        if length == 0 || (!self.is_refuted(0, tls13) && !first_whole) {
            return None;
        }
        let from = self.waiting.bytes.get(1..).unwrap_or_default();
        let next = from.windows(3).position(may_begin);
        // The last two may be a beginning too.
        let tail = || {
            (1..=2).rev().find(|tail| {
                from.len().checked_sub(*tail).is_some_and(|at| may_begin(from.get(at..).unwrap_or_default()))
            })
        };
        let skipped = 1 + next.unwrap_or_else(|| from.len() - tail().unwrap_or(0).min(from.len()));
        self.waiting.drop_front(skipped);
        self.restart();
        Some(skipped)
    }

    /// Waiting bytes that will never be used, if there are more than may wait.
    fn drop_hopeless(&mut self) -> usize {
        let excess = self.waiting.bytes.len().saturating_sub(MAX_WAITING);
        self.waiting.drop_front(excess);
        excess
    }

    /// From where on records are counted.
    const fn origin(&self, continued: bool) -> u64 {
        if continued && !self.doubtful { self.border } else { self.begun }
    }

    /// Bytes that were lost, and may have been records of the same keys.
    fn lost(&self, continued: bool) -> u64 {
        self.waiting.start.saturating_sub(self.origin(continued))
    }

    /// The next try: which hypothesis, and the number of the tested record, before which `index` others wait.
    fn next_try(&self, index: usize, mean: u64) -> Option<(usize, u64)> {
        let index = index as u64;
        let number = |hypothesis: &Hypothesis| {
            let lost = self.lost(hypothesis.continued);
            let shortest = hypothesis.keys.opener.shortest() as u64;
            let most = lost / shortest;
            if !hypothesis.continued {
                return Some(hypothesis.tried).filter(|number| *number <= most + index);
            }
            let base = hypothesis.keys.number;
            let (least, likely) = if self.doubtful {
                // Perhaps it was no record of the sender's; mostly it was one.
                (0, if self.is_at_border() { 1 } else { (lost + mean / 2) / mean.max(shortest) })
            } else {
                (lost.div_ceil((HEADER + MAX_BODY_13) as u64).min(most), (lost + mean / 2) / mean.max(shortest))
            };
            let low = base + least;
            let guess = (base + likely).clamp(low, base + most);
            nearest(low, base + most, guess, hypothesis.tried).map(|first| first + index)
        };
        let tries = || self.hypotheses.iter().enumerate().filter_map(|(at, one)| Some((at, one, number(one)?)));
        let next = tries().filter(|(_, one, _)| !one.continued).min_by_key(|(_, one, _)| one.tried);
        let continued = tries().find(|(_, one, _)| one.continued);
        let first_choice = if self.turn % NEXT_KEYS == NEXT_KEYS - 1 { next.as_ref() } else { continued.as_ref() };
        first_choice.or(continued.as_ref()).or(next.as_ref()).map(|(at, _, number)| (*at, *number))
    }

    /// Whether a record opens with this number.
    fn fits(&self, at: usize, number: u64, test: &Waiting, buffers: &mut Buffers) -> bool {
        let body = self.waiting.bytes.get(test.start + HEADER..test.start + test.header.record());
        let (Some(hypothesis), Some(body)) = (self.hypotheses.get(at), body) else { return false };
        let Buffers { copy, expanded, .. } = buffers;
        copy.clear();
        copy.extend_from_slice(body);
        hypothesis.keys.opener.open(expanded, number, &test.header, copy).is_some()
    }

    /// The tested record has this number. Returns also how many waiting bytes were dropped: records before it that have older keys.
    fn found(&mut self, at: usize, number: u64, index: usize, records: &[Waiting]) -> (Step, usize) {
        let Hypothesis { mut keys, continued, .. } = self.hypotheses.swap_remove(at);
        let before = usize::try_from(number).unwrap_or(usize::MAX).min(index);
        let first = records.iter().find(|record| record.index == index - before);
        let skipped = first.map_or(0, |first| first.start);
        self.waiting.drop_front(skipped);
        let begins = number - before as u64;
        let lost = self.lost(continued);
        let records = if continued { begins.saturating_sub(keys.number) } else { begins };
        // Nothing of an application was lost if its keys begin here; the first record of TLS 1.2 is Finished.
        let none = !self.began
            && (keys.epoch == Epoch::Handshake || begins == 0 || (keys.epoch == Epoch::Tls12 && begins == 1));
        let each = (HEADER + keys.opener.overhead()) as u64;
        let greatest = if none { 0 } else { lost.saturating_sub(records.saturating_mul(each)) };
        keys.number = begins;
        (Step::Found { keys, greatest, exact: greatest == 0 }, skipped)
    }
}

/// The header at this place.
pub(super) fn header_at(bytes: &[u8], at: usize) -> Option<Header> {
    Header::read(*bytes.get(at..)?.first_chunk()?)
}

/// Whether bytes are those of a header's first three, as far as they go.
fn may_begin(bytes: &[u8]) -> bool {
    let fits = |at: usize, wanted: &dyn Fn(u8) -> bool| bytes.get(at).is_none_or(|byte| wanted(*byte));
    fits(0, &|byte| ContentType::of(byte).is_some()) && fits(1, &|byte| byte == 3) && fits(2, &|byte| byte == 3)
}

/// Whether an encrypted stream may have a record with this header.
fn plausible(header: &Header, tls13: bool) -> bool {
    let [_, _, minor, ..] = header.bytes;
    let change = header.kind == ContentType::ChangeCipherSpec && header.length == 1;
    let data = header.kind == ContentType::ApplicationData && header.length <= MAX_BODY_13;
    minor == 3 && (if tls13 { change || data } else { true })
}

/// Whether its sender counted the record.
fn is_counted(header: &Header, tls13: bool) -> bool {
    !tls13 || header.kind == ContentType::ApplicationData
}

/// Of the numbers from `low` to `high` the one that is the `count`th nearest to `guess`, from 0.
fn nearest(low: u64, high: u64, guess: u64, count: u64) -> Option<u64> {
    let both = (guess - low).min(high - guess);
    if count <= both.saturating_mul(2) {
        let distance = count.div_ceil(2);
        return Some(if count % 2 == 1 { guess + distance } else { guess - distance });
    }
    let distance = count - both;
    let above = guess.checked_add(distance).filter(|number| *number <= high);
    above.or_else(|| guess.checked_sub(distance).filter(|number| *number >= low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_tried_from_the_guess_on() {
        let all = |low, high, guess| (0..).map_while(|count| nearest(low, high, guess, count)).collect::<Vec<_>>();
        assert_eq!(all(3, 9, 5), [5, 6, 4, 7, 3, 8, 9]);
        assert_eq!(all(3, 9, 9), [9, 8, 7, 6, 5, 4, 3]);
        assert_eq!(all(3, 9, 3), [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(all(7, 7, 7), [7]);
    }
}
