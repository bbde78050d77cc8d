//! The processes at the ends of a transaction's connection.

use super::Transaction;
use crate::process::{Process, Speakers};

impl Transaction {
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

    /// Takes what is known of them now.
    pub(crate) fn add_processes(&mut self, speakers: &Speakers) {
        let [client, server] = speakers.of(self.conn, usize::from(self.client_side), &self.server);
        // Behind a relay that names its client, the connection's client is the relay.
        let relayed = self.outer.as_ref().is_some_and(|outer| outer.relay.is_some());
        self.processes = [client.filter(|_| !relayed), server];
    }
}
