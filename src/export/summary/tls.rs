//! What the TLS connections of a run add up to, for its summary.

use std::collections::BTreeMap;

use super::{LONGEST, RANKED};
use crate::export::ranking::Ranking;
use crate::http::TlsConnection;

/// What helps against a reason.
pub(super) const ADVICE: [(&str, &str); 5] = [
    (
        "no_key",
        "no_key: --keylog FILE decrypts those whose secrets are in FILE, live --tls-probes auto those of programs on this machine (deploy/ANALYSTS.md, TLS)",
    ),
    (
        "too_late",
        "too_late: no secret came within 200 ms of their packets: neither end writes a key log in time, or is a program that is probed (picotap probes check)",
    ),
    ("midstream", "midstream: their beginning was not captured, without which nothing can be decrypted"),
    ("keys_evicted", "keys_evicted: there are more secrets than are kept (64 MiB)"),
    ("bad_tag", "bad_tag: the secrets under their name are of another connection"),
];

/// What helps against `no_key` where there are secrets.
pub(super) const NOT_OF_THESE: &str = "no_key: there are secrets, but none of these: is the key log of the same clients and the same time? (deploy/ANALYSTS.md, TLS)";

/// TLS connections.
#[derive(Debug, Clone)]
pub(super) struct TlsSum {
    pub(super) connections: u64,
    pub(super) decrypted: u64,
    /// By the reason why they were not read, or not to the end.
    pub(super) reasons: BTreeMap<&'static str, u64>,
    /// Names of the servers of those of which nothing was read.
    pub(super) dark: Ranking,
}

impl Default for TlsSum {
    fn default() -> Self {
        let dark = Ranking::new(RANKED, LONGEST + 1);
        Self { connections: 0, decrypted: 0, reasons: BTreeMap::new(), dark }
    }
}

impl TlsSum {
    pub(super) fn add(&mut self, connection: &TlsConnection) {
        let fate = connection.fate();
        self.connections += 1;
        self.decrypted += u64::from(fate.decrypted);
        if let Some(reason) = fate.reason() {
            *self.reasons.entry(reason).or_default() += 1;
        }
        if let Some(name) = connection.server_name().filter(|_| !fate.decrypted) {
            self.dark.add(name.as_bytes());
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.decrypted += other.decrypted;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.dark.merge(&other.dark);
    }
}
