//! Which interfaces have frames of Ethernet, as they are on the wire.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::socket;

/// An interface with frames of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Wire,
    Loopback,
}

/// The kind of an interface. None: another one, or none that exists.
pub(super) fn kind(socket: BorrowedFd<'_>, interface: &str) -> Option<Kind> {
    // Behind a port of a switch that adds tags of its own, frames are not as the kind says.
    if Path::new("/sys/class/net").join(interface).join("dsa/tagging").exists() {
        return None;
    }
    match socket::hardware(socket, interface)? {
        libc::ARPHRD_ETHER => Some(Kind::Wire),
        libc::ARPHRD_LOOPBACK => Some(Kind::Loopback),
        _ => None,
    }
}
