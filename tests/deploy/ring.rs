//! The reader of the kernel's ring gives what libpcap gives of the same traffic, and tells how full the ring is.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use picotap::source::live::{Direction, Live, LiveConfig, Turn};

use crate::live::{cable, ip, namespace, on, send, until_stopped};
use crate::tool;

/// A frame's bytes and its length on the wire.
type Seen = (Vec<u8>, u32);

/// What comes until the stop.
fn all(live: &mut Live) -> Vec<Seen> {
    live.stopper().stop();
    let mut seen = vec![];
    while live.turn(|frame| seen.push((frame.data.to_vec(), frame.original_len))).expect("the wait works")
        != Turn::Stopped
    {}
    let stats = live.stats();
    assert_eq!(stats.dropped, 0, "the ring is large enough");
    assert_eq!(stats.handed, seen.len() as u64);
    seen
}

/// Captures some traffic by the ring and by libpcap, in each of these ways; what both saw, which must be the same. Two sockets need
/// not see in one order what two processors send at one time.
fn both(configs: &[LiveConfig], ordered: bool, traffic: impl FnOnce()) -> Vec<Vec<Seen>> {
    let open = |config: &LiveConfig| [false, true].map(|libpcap| Live::open(&LiveConfig { libpcap, ..config.clone() }));
    let mut pairs: Vec<_> =
        configs.iter().map(|config| open(config).map(|live| live.expect("root may capture"))).collect();
    traffic();
    let same = |[ring, libpcap]: &mut [Live; 2]| {
        assert!(ring.reads_ring() && !libpcap.reads_ring());
        assert_eq!((ring.link(), libpcap.link()), (1, 1));
        let (mut ring, mut libpcap) = (all(ring), all(libpcap));
        assert_eq!(ring.len(), libpcap.len());
        if !ordered {
            ring.sort();
            libpcap.sort();
        }
        // Not all bytes of all frames on the screen.
        let other = ring.iter().zip(&libpcap).position(|(ring, libpcap)| ring != libpcap);
        assert!(other.is_none(), "frame {other:?}");
        ring
    };
    pairs.iter_mut().map(same).collect()
}

/// A frame of a datagram to port 9999, with a tag.
fn datagram(tag: &[u8], number: u8) -> Vec<u8> {
    let addresses = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01";
    let packet = b"\x08\0\x45\0\0\x24\0\0\0\0\x40\x11\x66\xb5\x0a\x09\0\x01\x0a\x09\0\x02\x30\x39\x27\x0f\0\x10\0\0";
    [&addresses[..], tag, packet, &[number; 8]].concat()
}

#[test]
fn frames_with_tags_are_those_of_libpcap() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    // Else the kernel talks to its neighbours, at any time.
    for which in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").ok();
    }
    cable();
    let way = |interface: &str, filter: &str, snaplen| LiveConfig { filter: filter.into(), snaplen, ..on(interface) };
    let ways = [
        (way("vb", "", 0), 90),
        (way("vb", "", 60), 90),
        // The kernel has taken the tags out, and the filter does not ask for them.
        (way("vb", "udp port 9999", 0), 90),
        // Not out of what is sent, as a program made it.
        (way("va", "udp port 9999", 0), 30),
        (way("vb", "vlan and udp port 9999", 0), 60),
        (way("vb", "vlan and udp port 9999", 40), 60),
        (way("vb", "vlan 7", 17), 30),
        (way("vb", "udp port 9999 or (vlan 5 and udp port 9999)", 0), 90),
        (way("vb", "vlan and tcp port 80", 0), 0),
        (way("va", "vlan 5", 0), 30),
        (LiveConfig { direction: Some(Direction::In), ..way("va", "", 0) }, 0),
        (LiveConfig { direction: Some(Direction::Out), ..way("va", "", 0) }, 90),
        (LiveConfig { promiscuous: false, ..way("vb", "", 0) }, 90),
    ];
    let configs: Vec<_> = ways.iter().map(|(config, _)| config.clone()).collect();
    let mut sender = pcap::Capture::from_device("va").and_then(pcap::Capture::open).expect("root may send");
    let seen = both(&configs, true, || {
        for number in 0..30 {
            for tag in [&[][..], b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07"] {
                sender.sendpacket(datagram(tag, number)).expect("sent");
            }
        }
    });
    for ((config, expected), seen) in ways.iter().zip(&seen) {
        assert_eq!(seen.len(), *expected, "{} {:?}", config.interface, config.filter);
    }
    // As on the wire: two addresses, the tag, and the protocol behind it.
    let tags: Vec<_> = seen[0].iter().take(3).map(|(bytes, original)| (&bytes[12..18], *original)).collect();
    assert_eq!(
        tags,
        [(&b"\x08\x00\x45\x00\x00\x24"[..], 50), (b"\x81\x00\x00\x05\x08\x00", 54), (b"\x88\xa8\x00\x07\x08\x00", 54)]
    );
    assert!(
        seen[1].iter().all(|(bytes, _)| bytes.len() <= 60)
            && seen[6].iter().all(|(bytes, original)| (bytes.len(), *original) == (17, 54))
    );
}

#[test]
fn frames_of_all_sizes_are_those_of_libpcap() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let listener = TcpListener::bind("127.0.0.1:9999").expect("a free port in a new namespace");
    let way = |snaplen| LiveConfig { filter: "tcp".into(), snaplen, ..LiveConfig::new("lo") };
    let seen = both(&[way(0), way(1000)], false, || {
        let sender = thread::spawn(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9999").expect("connected");
            let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
            for round in 0..100 {
                // Of small ones in between, so that large ones begin anywhere in a block.
                stream.write_all(&bytes[..1 + round * 37]).expect("sent");
                thread::yield_now();
                stream.write_all(&bytes).expect("sent");
            }
        });
        let (mut stream, _) = listener.accept().expect("connected");
        let mut received = vec![];
        stream.read_to_end(&mut received).expect("received");
        sender.join().expect("it was sent");
        assert!(received.len() > 20_000_000);
    });
    let largest = seen[0].iter().map(|(bytes, _)| bytes.len()).max().expect("frames");
    assert!(largest > 40_000, "no large segments: {largest}");
    assert!(seen[0].iter().all(|(bytes, original)| bytes.len() == *original as usize));
    let bytes: usize = seen[0].iter().map(|(bytes, _)| bytes.len()).sum();
    assert!(bytes > 20_000_000, "blocks are written again and again: {bytes}");
    assert!(seen[1].iter().all(|(bytes, original)| bytes.len() == 1000.min(*original as usize)));
}

#[test]
fn a_ring_that_nobody_reads_fills_and_what_is_dropped_is_counted() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&LiveConfig { buffer_kib: 1024, ..on("vb") }).expect("root may capture");
    assert_eq!((live.fill(), live.ring_bytes()), (Some((0, 4)), 1 << 20));
    let fill = |live: &Live| live.fill().expect("it is the ring").0;
    let mut before = 0;
    for _ in 0..1000 {
        send("10.9.0.2:9999", 100);
        let now = fill(&live);
        assert!(now >= before && now <= 4);
        before = now;
        if live.stats().dropped > 0 {
            break;
        }
    }
    assert_eq!(before, 4, "{:?}", live.stats());
    live.turn(|_| {}).expect("frames come");
    assert_eq!(fill(&live), 3);
    live.stopper().stop();
    until_stopped(&mut live);
    let stats = live.stats();
    assert!(stats.dropped > 0);
    assert_eq!(stats.handed, stats.received - stats.dropped, "{stats:?}");
    assert_eq!(fill(&live), 0);
}

#[test]
fn what_is_not_ethernet_is_left_to_libpcap() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let live = Live::open(&on("any")).expect("root may capture");
    assert_eq!((live.reads_ring(), live.fill()), (false, None));
    assert!(Live::open(&on("lo")).expect("root may capture").reads_ring());
    if std::path::Path::new("/dev/net/tun").exists() {
        ip("tuntap add dev tunnel mode tun");
        ip("link set tunnel up");
        let live = Live::open(&LiveConfig::new("tunnel")).expect("root may capture");
        assert_eq!((live.reads_ring(), live.link()), (false, 101));
    }
}

#[test]
fn frames_are_lent_as_many_at_once_as_there_are() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let mut live = Live::open(&on("lo")).expect("root may capture");
    send("127.0.0.1:9999", 100);
    let mut sizes = vec![];
    while sizes.iter().sum::<usize>() < 100 {
        live.turn_ahead(|frames| sizes.push(frames.len())).expect("frames come");
    }
    // All lie in one block, unless the kernel handed it over in between.
    assert!(sizes.iter().any(|size| *size > 1) && sizes.iter().all(|size| *size <= 32), "{sizes:?}");
}
