//! What the store knows of the owners of packets: connections, and datagrams of which fragments are missing.

use zeroize::Zeroizing;

use crate::stream::ConnectionId;

/// To whom a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A connection, and the one before it, which it ended by taking its ports.
    Connection(ConnectionId, Option<u64>),
    /// The connection, if there is one, of a datagram that waits for fragments.
    Datagram(u64),
    /// Nobody.
    Nobody,
}

/// What the capture thread knows of owners.
pub trait Present {
    /// Whether a datagram still waits for fragments.
    fn waits(&self, serial: u64) -> bool;
    /// Whether packets may still come of a connection.
    fn has(&self, id: ConnectionId) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Undecided,
    Wanted,
    Unwanted,
    /// Of a datagram: as the owner with this key.
    Same(u64),
}

/// What is known of an owner.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) state: State,
    pub(super) handle: u32,
    /// It has ended, for its worker.
    pub(super) ended: bool,
    /// It is in a queue, to be forgotten.
    pub(super) leaving: bool,
    /// Packets of it were given up, or are not to be had.
    pub(super) incomplete: bool,
    /// Something of it was written.
    pub(super) begun: bool,
    /// It ended by a timeout.
    pub(super) timeout: bool,
    /// The connection that its first packet ended, until that leaves.
    pub(super) before: Option<u64>,
    /// Packets in the store, those of datagrams that belong to it included.
    pub(super) packets: u32,
    /// Packets that were given up while it was undecided.
    pub(super) given_up: u64,
    /// What has to be written before its packets.
    pub(super) secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl Known {
    pub(super) const fn new(handle: u32) -> Self {
        Self {
            state: State::Undecided,
            handle,
            ended: false,
            leaving: false,
            incomplete: false,
            begun: false,
            timeout: false,
            before: None,
            packets: 0,
            given_up: 0,
            secrets: Vec::new(),
        }
    }

    /// Whether it is known what becomes of its packets, and nothing has to be waited for.
    pub(super) const fn is_decided(&self, patient: bool) -> bool {
        match self.state {
            State::Undecided | State::Same(_) => false,
            State::Wanted => !patient || self.ended,
            State::Unwanted => true,
        }
    }
}
