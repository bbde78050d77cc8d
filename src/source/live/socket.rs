//! A packet socket's options: its ring and its filter, fan-out, refusing everything, binding to an interface that comes or
//! came back; and what can be asked about interfaces through any socket, netdevice(7).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_short, c_void, socklen_t};

/// Joins `group`: the kernel then gives each packet to one socket of the group, by a hash of the flow that is the same
/// in both directions, after putting IP fragments together (packet(7), `PACKET_FANOUT`).
pub(super) fn join_fanout(socket: BorrowedFd<'_>, group: u16) -> io::Result<()> {
    let kind = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG;
    let value: u32 = u32::from(group) | (kind << 16);
    set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &value)
}

/// From here on the kernel gives this socket nothing; what is in its ring stays there to be read.
pub(super) fn refuse_everything(socket: BorrowedFd<'_>) -> io::Result<()> {
    // "Return 0": of every packet, keep no byte.
    set_filter(socket, &[libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }])
}

/// From here on the kernel gives this socket what the program chooses.
pub(super) fn set_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// The layout of the ring, which is to be made next: blocks of frames of any length.
pub(super) fn set_version(socket: BorrowedFd<'_>) -> io::Result<()> {
    let version = libc::tpacket_versions::TPACKET_V3 as c_int;
    set_option(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)
}

/// In the ring that is to be made next there is so much room before each frame.
pub(super) fn reserve(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_PACKET, libc::PACKET_RESERVE, &bytes)
}

/// Makes the ring. The kernel keeps a block that is not full for at most so many milliseconds.
pub(super) fn make_ring(socket: BorrowedFd<'_>, block: u32, blocks: u32, milliseconds: u32) -> io::Result<()> {
    let ring = libc::tpacket_req3 {
        tp_block_size: block,
        tp_block_nr: blocks,
        // Of blocks that hold frames of any length the kernel only checks that these numbers fit to the others.
        tp_frame_size: block,
        tp_frame_nr: blocks,
        tp_retire_blk_tov: milliseconds,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &ring)
}

/// Frames that this host sends do not come.
pub(super) fn ignore_sent(socket: BorrowedFd<'_>) -> io::Result<()> {
    let yes: c_int = 1;
    set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &yes)
}

/// What the kernel has counted of a socket since it was last asked.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::tpacket_stats_v3> {
    let mut counted = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = socklen_t::try_from(size_of_val(&counted)).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "getsockopt of an option that no safe binding has")]
    // SAFETY: the descriptor is borrowed and so open; the kernel writes at most `length` bytes, the size of `counted`, of which
    // any bytes are a value.
    let result = unsafe {
        let counted = std::ptr::from_mut(&mut counted).cast::<c_void>();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, counted, &raw mut length)
    };
    if result == 0 { Ok(counted) } else { Err(io::Error::last_os_error()) }
}

/// The kind of hardware of an interface, an `ARPHRD_` number.
pub(super) fn hardware(socket: BorrowedFd<'_>, interface: &str) -> Option<u16> {
    let answer = ask(socket, libc::SIOCGIFHWADDR, interface)?;
    // The family of a struct sockaddr.
    answer.first_chunk().map(|kind| u16::from_ne_bytes(*kind))
}

/// The kernel's number of the interface that now has this name.
pub(super) fn index(socket: BorrowedFd<'_>, interface: &str) -> Option<u32> {
    let answer = ask(socket, libc::SIOCGIFINDEX, interface)?;
    c_int::from_ne_bytes(*answer.first_chunk()?).try_into().ok()
}

/// Binds an open packet socket to an interface, or to another one. Needs no privilege: that was for opening the socket. The
/// kernel refuses it to a socket in a fan-out group.
pub(super) fn bind_to(socket: BorrowedFd<'_>, index: u32, promiscuous: bool) -> io::Result<()> {
    let index = c_int::try_from(index).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    bind(socket, &address)?;
    if promiscuous {
        let member = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC).map_err(io::Error::other)?,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set_option(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &member)?;
    }
    Ok(())
}

/// Whether an interface of this name exists and is up.
pub(super) fn is_up(socket: BorrowedFd<'_>, interface: &str) -> bool {
    let Some(answer) = ask(socket, libc::SIOCGIFFLAGS, interface) else { return false };
    let flags = answer.first_chunk().map_or(0, |flags| c_short::from_ne_bytes(*flags));
    c_int::from(flags) & libc::IFF_UP != 0
}

/// The name of the interface that has this number.
pub(super) fn name(socket: BorrowedFd<'_>, index: u32) -> Option<String> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], answer: [0; 24] };
    request.answer.get_mut(..4)?.copy_from_slice(&index.to_ne_bytes());
    if !control(socket, libc::SIOCGIFNAME, &mut request) {
        return None;
    }
    let name = request.name.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// `struct ifreq` of if.h, with the union as bytes: its greatest member has 24.
#[repr(C, align(8))]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    answer: [u8; 24],
}

/// Asks about an interface. Not by getifaddrs(3), which needs a socket of its own and sends to an address, and not in /sys,
/// which may be another namespace's.
fn ask(socket: BorrowedFd<'_>, question: libc::Ioctl, interface: &str) -> Option<[u8; 24]> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], answer: [0; 24] };
    // With room for the final NUL.
    request.name.get_mut(..libc::IFNAMSIZ - 1)?.get_mut(..interface.len())?.copy_from_slice(interface.as_bytes());
    control(socket, question, &mut request).then_some(request.answer)
}

#[expect(unsafe_code, reason = "no safe binding asks about interfaces through a socket that is there")]
fn control(socket: BorrowedFd<'_>, question: libc::Ioctl, request: &mut Request) -> bool {
    // SAFETY: the descriptor is borrowed and so open; `request` has the size and alignment of a struct ifreq, which the
    // kernel reads and writes for all questions asked here, and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), question, std::ptr::from_mut(request)) };
    result == 0
}

#[expect(unsafe_code, reason = "setsockopt of options that no safe binding has")]
fn set_option<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is borrowed and so open; `value` is a live reference to `length` bytes of a C structure,
    // which the kernel only reads. A sock_fprog in it points at a program that outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast::<c_void>(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "no safe binding makes a packet socket's address")]
fn bind(socket: BorrowedFd<'_>, address: &libc::sockaddr_ll) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is borrowed and so open; `address` is a live reference to `length` bytes of a sockaddr_ll,
    // which the kernel only reads.
    let result =
        unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast::<libc::sockaddr>(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn interfaces_are_asked_about_through_any_socket() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
        let socket = UnixDatagram::unbound().unwrap();
        let number = |name: &str| index(socket.as_fd(), name);
        assert_eq!(number("lo"), nix::net::if_::if_nametoindex("lo").ok());
        assert_eq!(name(socket.as_fd(), number("lo").unwrap()).as_deref(), Some("lo"));
        assert_eq!(name(socket.as_fd(), 1 << 30), None);
        assert_eq!((number("nosuch0"), number("a-name-of-sixteen")), (None, None));
        assert!(!is_up(socket.as_fd(), "nosuch0"));
    }
}
