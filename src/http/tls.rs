//! A TLS connection at its end, as outputs take it: what is known of it, with the same identifiers that its transactions have.

use crate::http::community_id;
use crate::http::uid::Uid;
use crate::process::{Both, Process};
use crate::stream::Endpoint;
use crate::tls::{Closed, Fate, Info};

/// A TLS connection that has ended.
#[derive(Debug, Clone)]
pub struct TlsConnection {
    /// Identifier of the connection.
    pub uid: Uid,
    /// Community identifier of the connection, if wanted.
    pub community_id: Option<[u8; community_id::LEN]>,
    /// The client.
    pub client: Endpoint,
    /// The server.
    pub server: Endpoint,
    /// Index of the capture interface.
    pub interface: u32,
    /// Its place in the order of completion, as [`crate::http::Transaction::completed`].
    pub completed: u64,
    /// The processes of client and server, as far as they run on this host and are known.
    pub processes: Both,
    /// What happened on it.
    pub closed: Closed,
}

impl TlsConnection {
    /// What the two sides agreed on.
    #[must_use]
    pub const fn info(&self) -> &Info {
        &self.closed.info
    }

    /// Whether it was read.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        self.closed.fate
    }

    /// The process that is the client, if it runs on this host and is known.
    #[must_use]
    pub fn client_process(&self) -> Option<&Process> {
        let [client, _] = &self.processes;
        client.as_deref()
    }

    /// The same of the server.
    #[must_use]
    pub fn server_process(&self) -> Option<&Process> {
        let [_, server] = &self.processes;
        server.as_deref()
    }

    /// The server that the client named.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.closed.info.server_name.as_deref()
    }

    /// The protocols that the client offered, if the server's choice is not known.
    #[must_use]
    pub fn alpn_offered(&self) -> &[Box<str>] {
        if self.closed.info.alpn.is_none() { &self.closed.info.alpn_offered } else { &[] }
    }

    /// Time of the first packet with TLS, in nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn time(&self) -> i64 {
        let [first, _] = self.closed.times;
        first
    }
}

/// One to a server with this name.
#[cfg(test)]
pub(crate) fn example(name: &str, fate: Fate, last: i64) -> TlsConnection {
    use crate::http::{HttpContext, Settings};
    use crate::stream::{OpenConnection, Side};

    let info = Info { server_name: Some(name.into()), version: Some(0x0304), ..Info::default() };
    let connection = OpenConnection::synthetic(1).info;
    let closed = Closed { connection, client: Side::First, info, times: [0, last], bytes: [3, 4], fate, order: 0 };
    HttpContext::new(Settings::default()).tls(closed, 0)
}
