//! The model is what all workers have handed over.

use std::collections::VecDeque;

use super::kept::{Kept, endpoint, shown};
use super::part::{Part, SLOWEST, take_fastest};
use super::snapshot::{HostRow, PairRow, RouteRow, Snapshot, TransactionRow};
use super::tables::{HOSTS, PAIRS, ROUTES, Tables};
use super::timeline::{SECOND, Timeline};
use super::tls::Tls;
use crate::stream::InterfaceNames;

/// The most rows of transactions.
const ROWS: usize = 1000;
/// The most bytes that rows of transactions take in memory.
const ROW_BYTES: usize = 4 << 20;
/// Length of a generation, in microseconds: live.
const GENERATION: i64 = 300 * SECOND;
/// Generations: the last 10 to 15 minutes.
const GENERATIONS: usize = 3;
/// Memory for rows that is given back to a worker.
const SPARE: usize = 256;

/// The tables of five minutes; of a file, of all of it.
#[derive(Debug, Default)]
struct Generation {
    since: i64,
    tables: Tables,
    slowest: Vec<Kept>,
}

/// How much of the model somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The last row of [`Snapshot::recent`].
    row: u64,
    /// How often parts had been taken over.
    changes: u64,
    /// The last part of time.
    time: i64,
}

#[derive(Debug)]
pub(super) struct Model {
    live: bool,
    began: Option<i64>,
    last: i64,
    transactions: u64,
    left_out: u64,
    times: Timeline,
    /// Oldest first, at least one.
    generations: VecDeque<Generation>,
    /// How often a generation began.
    generation: u64,
    /// Rows without a number yet.
    incoming: Vec<Kept>,
    recent: VecDeque<Kept>,
    recent_bytes: usize,
    spare: Vec<Kept>,
    /// Number of the last row.
    rows: u64,
    /// How often parts were taken over.
    changes: u64,
    tls: Tls,
}

impl Model {
    /// `began`: when a live run begins, in microseconds.
    pub(super) fn new(began: Option<i64>) -> Self {
        Self {
            live: began.is_some(),
            began,
            last: 0,
            transactions: 0,
            left_out: 0,
            times: Timeline::new(began.is_some()),
            generations: VecDeque::from([Generation { since: began.unwrap_or(0), ..Generation::default() }]),
            generation: 0,
            incoming: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            spare: Vec::new(),
            rows: 0,
            changes: 0,
            tls: Tls::default(),
        }
    }

    /// Takes over what a part has, which is empty afterwards.
    pub(super) fn absorb(&mut self, part: &mut Part) {
        self.tls.absorb(&mut part.tls);
        if part.transactions == 0 {
            return;
        }
        self.changes += 1;
        self.last = if self.transactions == 0 { part.last } else { self.last.max(part.last) };
        if !self.live {
            let first = part.first / 1000;
            self.began = Some(self.began.map_or(first, |began| began.min(first)));
        }
        self.transactions += std::mem::take(&mut part.transactions);
        self.left_out += std::mem::take(&mut part.left_out);
        self.age(part.last);
        (part.first, part.last) = (i64::MAX, i64::MIN);
        if let Some(generation) = self.generations.back_mut() {
            self.times.absorb(&mut part.times, self.changes, &mut generation.tables.total);
            if part.generation != self.generation {
                part.tables.leave();
            }
            generation.tables.absorb(&mut part.tables);
            if part.generation != self.generation {
                part.generation = self.generation;
                part.tables.clear();
            }
            for kept in part.slowest.drain(..) {
                generation.slowest.push(kept);
                if generation.slowest.len() > SLOWEST {
                    self.spare.extend(take_fastest(&mut generation.slowest));
                }
            }
            let full = generation.slowest.len() >= SLOWEST;
            let fastest = generation.slowest.iter().filter_map(|kept| kept.facts.duration).min();
            part.threshold = fastest.filter(|_| full);
        }
        self.incoming.append(&mut part.rows);
        if self.incoming.len() > ROWS {
            self.number();
        }
        while part.spare.len() < SPARE
            && let Some(spare) = self.spare.pop()
        {
            part.spare.push(spare);
        }
        self.spare.truncate(SPARE);
    }

    /// Begins another generation when the last is old enough: live.
    fn age(&mut self, now: i64) {
        let since = self.generations.back().map_or(0, |generation| generation.since);
        let passed = now.saturating_sub(since);
        // A clock that was set back by more than a generation begins anew, too.
        if !self.live || (-GENERATION..GENERATION).contains(&passed) {
            return;
        }
        let since = if passed > 0 { now - passed % GENERATION } else { now };
        self.generation += 1;
        self.generations.push_back(Generation { since, ..Generation::default() });
        // The end of each is the beginning of the next.
        let too_old = |next: &Generation| now.saturating_sub(next.since) >= GENERATION * (GENERATIONS as i64 - 1);
        while self.generations.len() > GENERATIONS || self.generations.get(1).is_some_and(too_old) {
            let oldest = self.generations.pop_front();
            self.spare.extend(oldest.into_iter().flat_map(|oldest| oldest.slowest));
        }
    }

    /// Gives the incoming rows their numbers, in the order of completion.
    fn number(&mut self) {
        self.incoming.sort_by_key(Kept::order);
        for mut kept in self.incoming.drain(..) {
            self.rows += 1;
            kept.id = self.rows;
            self.recent_bytes += kept.size();
            self.recent.push_back(kept);
            while self.recent.len() > ROWS || self.recent_bytes > ROW_BYTES {
                let Some(oldest) = self.recent.pop_front() else { break };
                self.recent_bytes -= oldest.size();
                self.spare.push(oldest);
            }
        }
        self.spare.truncate(SPARE);
    }

    /// All of it at a time, and what of it is to be told to somebody who has seen so much. `now`: live, in microseconds.
    pub(super) fn snapshot(&mut self, now: i64, seen: Option<Seen>, interfaces: &InterfaceNames) -> (Snapshot, Seen) {
        self.number();
        let now = if self.live { now } else { self.last };
        self.age(now);
        let began = self.began.unwrap_or(now);
        let mut seconds = self.times.seconds(began, now);
        let last = seconds.last().map_or(0, |(second, _)| second.time);
        if let Some(seen) = seen {
            seconds.retain(|(second, changed)| *changed > seen.changes || second.time >= seen.time);
        }
        let known = seen.map_or(0, |seen| seen.row);
        let rows = |kept: &Kept| kept.row(interfaces);
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            live: self.live,
            now,
            began,
            transactions: self.transactions,
            step: u32::try_from(self.times.step()).unwrap_or(u32::MAX),
            seconds: seconds.into_iter().map(|(second, _)| second).collect(),
            tables_since: if self.live { self.generations.front().map_or(began, |oldest| oldest.since) } else { began },
            slowest: self.slowest(interfaces),
            recent: self.recent.iter().filter(|kept| kept.id > known).map(rows).collect(),
            left_out: self.left_out,
            tls: self.tls.view(),
            ..Snapshot::default()
        };
        self.tables(&mut snapshot);
        (snapshot, Seen { row: self.rows, changes: self.changes, time: last })
    }

    fn slowest(&self, interfaces: &InterfaceNames) -> Vec<TransactionRow> {
        let mut all: Vec<&Kept> = self.generations.iter().flat_map(|generation| &generation.slowest).collect();
        all.sort_by_key(|kept| (std::cmp::Reverse(kept.facts.duration), kept.order()));
        all.iter().take(SLOWEST).map(|kept| kept.row(interfaces)).collect()
    }

    fn tables(&self, snapshot: &mut Snapshot) {
        let mut generations = self.generations.iter().filter(|generation| generation.tables.total.transactions() > 0);
        let (Some(newest), older) = (generations.next_back(), generations) else { return };
        // Copied only where there are several: a file's tables are shown as they are.
        let mut sum: Option<Tables> = None;
        for older in older {
            sum.get_or_insert_with(|| newest.tables.clone()).merge(&older.tables);
        }
        let tables = sum.as_ref().unwrap_or(&newest.tables);
        let Tables { total, hosts, routes, pairs, .. } = tables;
        snapshot.total = total.counts();
        let host = |(host, sum): (&super::table::Host, &super::facts::Sum)| HostRow {
            host: shown(&host.0),
            counts: sum.counts(),
        };
        let route = |(key, sum): (&super::table::Route, &super::facts::Sum)| {
            let [host, protocol, method, route] = key.parts().map(shown);
            let method = if protocol.is_empty() { method } else { protocol + " " + &method };
            RouteRow { host, method, route, counts: sum.counts() }
        };
        let pair = |(pair, sum): (&super::table::Pair, &super::facts::Sum)| PairRow {
            client: pair.0.to_string(),
            server: endpoint(pair.1),
            counts: sum.counts(),
        };
        snapshot.hosts = hosts.top().into_iter().take(HOSTS).map(host).collect();
        snapshot.routes = routes.top().into_iter().take(ROUTES).map(route).collect();
        snapshot.pairs = pairs.top().into_iter().take(PAIRS).map(pair).collect();
        snapshot.beyond = [hosts.beyond(), routes.beyond(), pairs.beyond()];
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let of = |generation: &Generation| {
            generation.tables.size() + generation.slowest.iter().map(Kept::size).sum::<usize>()
        };
        let rows = self.incoming.iter().chain(&self.recent).chain(&self.spare).map(Kept::size);
        self.times.size() + self.tls.size() + self.generations.iter().map(of).sum::<usize>() + rows.sum::<usize>()
    }
}
