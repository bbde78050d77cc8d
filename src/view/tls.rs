//! TLS connections, counted by the server that the client named and by what became of them: of at most so many rows, those that
//! came first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::kept::shown;
use super::snapshot::{TlsResult, TlsRow, TlsView};
use crate::http::TlsConnection;
use crate::process::Process;

/// The most rows: of 255 bytes of a name, and some numbers.
const ROWS: usize = 256;

/// Whether it was decrypted, and why not, or not to the end.
type Outcome = (bool, Option<&'static str>);

/// What TLS connections add up to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    results: BTreeMap<Outcome, u64>,
    rows: HashMap<(Box<str>, Outcome), Sum>,
    /// Connections that are in no row, since all are taken.
    beyond: u64,
}

/// What the connections of a row add up to.
#[derive(Debug, Clone, Default)]
struct Sum {
    connections: u64,
    bytes: u64,
    last: i64,
    version: Option<&'static str>,
    /// The server's.
    process: Option<Arc<Process>>,
}

impl Sum {
    fn add(&mut self, other: Self) {
        let is_later = other.last >= self.last;
        if is_later {
            self.version = other.version;
        }
        if other.process.is_some() && (is_later || self.process.is_none()) {
            self.process = other.process;
        }
        self.connections += other.connections;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.last = self.last.max(other.last);
    }
}

impl Tls {
    pub(super) fn add(&mut self, connection: &TlsConnection) {
        let fate = connection.fate();
        let outcome = (fate.decrypted, fate.reason());
        *self.results.entry(outcome).or_default() += 1;
        let [_, last] = connection.closed.times;
        let [client, server] = connection.closed.bytes;
        let (bytes, version) = (client.saturating_add(server), connection.info().version_name());
        let [_, process] = connection.processes.clone();
        let name = connection.server_name().unwrap_or_default().to_ascii_lowercase();
        self.add_row((name.into(), outcome), Sum { connections: 1, bytes, last: last / 1000, version, process });
    }

    fn add_row(&mut self, key: (Box<str>, Outcome), sum: Sum) {
        if self.rows.len() < ROWS || self.rows.contains_key(&key) {
            self.rows.entry(key).or_default().add(sum);
        } else {
            self.beyond += sum.connections;
        }
    }

    /// Takes over what another has counted, which is empty afterwards.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        for (outcome, count) in std::mem::take(&mut other.results) {
            *self.results.entry(outcome).or_default() += count;
        }
        for (key, sum) in other.rows.drain() {
            self.add_row(key, sum);
        }
        self.beyond += std::mem::take(&mut other.beyond);
    }

    /// As it is shown: most connections first.
    pub(super) fn view(&self) -> TlsView {
        let results = self.results.iter().map(|((decrypted, reason), connections)| TlsResult {
            decrypted: *decrypted,
            reason: reason.unwrap_or_default(),
            connections: *connections,
        });
        let row = |((name, (decrypted, reason)), sum): (&(Box<str>, Outcome), &Sum)| TlsRow {
            host: shown(name.as_bytes()),
            decrypted: *decrypted,
            reason: reason.unwrap_or_default(),
            version: sum.version,
            process: sum.process.as_ref().map(|process| shown(&process.command)),
            connections: sum.connections,
            bytes: sum.bytes,
            last: sum.last,
        };
        let mut servers: Vec<TlsRow> = self.rows.iter().map(row).collect();
        servers.sort_by(|one, two| {
            let outcome = |row: &TlsRow| (row.decrypted, row.reason);
            let by_host = one.host.cmp(&two.host).then_with(|| outcome(one).cmp(&outcome(two)));
            two.connections.cmp(&one.connections).then(by_host)
        });
        TlsView { results: results.collect(), servers, beyond: self.beyond }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let row = size_of::<(Box<str>, Outcome)>() + size_of::<Sum>();
        self.rows.keys().map(|(name, _)| name.len()).sum::<usize>() + self.rows.capacity() * (row + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tls::example;
    use crate::tls::{Dark, Fate};

    const OPEN: Fate = Fate { decrypted: true, dark: None, established: true };
    const NO_KEY: Fate = Fate { decrypted: false, dark: Some(Dark::NoKey), established: true };

    #[test]
    fn parts_add_up_to_the_whole() {
        let all = [("a", OPEN), ("a", NO_KEY), ("A", NO_KEY), ("b", NO_KEY)];
        let (mut whole, mut parts) = (Tls::default(), [Tls::default(), Tls::default()]);
        for (at, (name, fate)) in all.into_iter().enumerate() {
            let connection = example(name, fate, at as i64 * 1000);
            whole.add(&connection);
            parts[at % 2].add(&connection);
        }
        let mut sum = Tls::default();
        parts.iter_mut().for_each(|part| sum.absorb(part));
        let json = |tls: &Tls| serde_json::to_value(tls.view()).unwrap();
        assert_eq!(json(&sum), json(&whole));
        let view = whole.view();
        let row = |row: &TlsRow| (row.host.clone(), row.reason, row.connections, row.bytes, row.last);
        let rows: Vec<_> = view.servers.iter().map(row).collect();
        let wanted = [("a", "no_key", 2, 14, 2), ("a", "", 1, 7, 0), ("b", "no_key", 1, 7, 3)];
        assert_eq!(
            rows,
            wanted.map(|(host, reason, count, bytes, last)| (host.to_owned(), reason, count, bytes, last))
        );
        assert_eq!(view.results.iter().map(|result| result.connections).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(json(&parts[0]), json(&Tls::default()), "what was taken over is gone");
    }

    #[test]
    fn the_servers_process_is_that_of_the_last_in_which_it_is_known() {
        let process = |command: &str| {
            Some(Arc::new(Process { pid: None, command: command.as_bytes().into(), container: None, pod: None }))
        };
        let mut tls = Tls::default();
        let shown = |tls: &Tls| tls.view().servers[0].process.clone();
        for (last, command, wanted) in [
            (1000, None, None),
            (2000, Some("a"), Some("a")),
            (3000, Some("b\n"), Some("b\\x0a")),
            (2500, Some("c"), Some("b\\x0a")),
            (4000, None, Some("b\\x0a")),
        ] {
            let mut connection = example("a", OPEN, last);
            connection.processes = [process("client"), command.and_then(process)];
            tls.add(&connection);
            assert_eq!(shown(&tls).as_deref(), wanted);
        }
    }

    #[test]
    fn rows_are_bounded_and_nothing_is_uncounted() {
        let mut tls = Tls::default();
        for number in 0..2000 {
            tls.add(&example(&format!("{number}{}", "x".repeat(255)), NO_KEY, 0));
        }
        let view = tls.view();
        assert_eq!((view.servers.len(), view.beyond, view.results[0].connections), (ROWS, 2000 - ROWS as u64, 2000));
        assert!(tls.size() < 256 << 10, "{}", tls.size());
    }
}
