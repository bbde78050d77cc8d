//! Live capture in a network namespace of the test's own: each test's thread moves into one, so nothing is left behind.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use picotap::source::live::{Direction, Live, LiveConfig, LiveError, Turn, list};

use crate::tool;

/// Moves this thread into a new network namespace with the loopback up. What it starts from now on is there too.
pub(super) fn namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network namespace");
    ip("link set lo up");
}

pub(super) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

/// Two ends of a cable; what is sent to 10.9.0.2 leaves `va` and arrives at `vb`.
pub(super) fn cable() {
    ip("link add va type veth peer name vb");
    ip("addr add 10.9.0.1/24 dev va");
    plug_in();
}

fn plug_in() {
    ip("link set va up");
    ip("link set vb up");
    ip("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev va");
}

/// A filter that keeps the namespace's own chatter (neighbour and router discovery) out.
pub(super) fn on(interface: &str) -> LiveConfig {
    LiveConfig { filter: "udp port 9999".into(), buffer_kib: 8192, ..LiveConfig::new(interface) }
}

pub(super) fn send(to: &str, count: usize) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    for number in 0..count {
        socket.send_to(&number.to_le_bytes(), to).expect("sent");
    }
}

/// Turns until `wanted` frames have come and then some more; how many came. Ends if they never do.
fn frames(live: &mut Live, wanted: usize) -> usize {
    let (mut seen, mut more) = (0, 3);
    for _ in 0..200 {
        match live.turn(|_| {}).expect("the wait works") {
            Turn::Frames(frames) => seen += frames,
            Turn::Idle if seen >= wanted && more == 0 => break,
            Turn::Idle => more -= i32::from(seen >= wanted),
            other => panic!("{other:?}"),
        }
    }
    seen
}

/// Turns until one is neither frames nor idleness. An interface that is never lost or back would hang here, so it ends.
fn until_news(live: &mut Live) -> Turn {
    for _ in 0..200 {
        match live.turn(|_| {}).expect("the wait works") {
            Turn::Frames(_) | Turn::Idle => {}
            news => return news,
        }
    }
    panic!("no news in 200 turns");
}

pub(super) fn until_stopped(live: &mut Live) {
    while live.turn(|_| {}).expect("the wait works") != Turn::Stopped {}
}

#[test]
fn each_loopback_frame_comes_once() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let mut live = Live::open(&on("lo")).expect("root may capture");
    assert_eq!(live.link(), 1);
    send("127.0.0.1:9999", 500);
    let mut numbers = Vec::new();
    while numbers.len() < 500 {
        live.turn(|frame| {
            assert_eq!(frame.original_len as usize, frame.data.len());
            assert!(frame.time > 1_700_000_000_000_000_000, "nanoseconds since the epoch: {}", frame.time);
            numbers.push(frame.data[frame.data.len() - 8]);
        })
        .expect("frames come");
    }
    assert_eq!(frames(&mut live, 0), 0);
    assert_eq!(numbers, (0..500_usize).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
}

#[test]
fn the_snap_length_cuts_and_the_true_length_stays() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let mut live = Live::open(&LiveConfig { snaplen: 40, ..on("lo") }).expect("root may capture");
    send("127.0.0.1:9999", 1);
    let mut lengths = Vec::new();
    while lengths.is_empty() {
        live.turn(|frame| lengths.push((frame.data.len(), frame.original_len))).expect("frames come");
    }
    assert_eq!(lengths, [(40, 14 + 20 + 8 + 8)]);
}

#[test]
fn direction_separates_sent_from_received() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let open = |interface, direction| {
        Live::open(&LiveConfig { direction: Some(direction), ..on(interface) }).expect("root may capture")
    };
    let mut sources = [
        (open("va", Direction::Out), 20),
        (open("va", Direction::In), 0),
        (open("vb", Direction::In), 20),
        (open("vb", Direction::Out), 0),
        (open("any", Direction::InOut), 40),
    ];
    send("10.9.0.2:9999", 20);
    for (live, expected) in &mut sources {
        live.stopper().stop();
        until_stopped(live);
        assert_eq!(live.stats().handed, *expected, "{}", live.interface());
    }
}

#[test]
fn what_was_captured_before_the_stop_is_handed_on() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&on("vb")).expect("root may capture");
    let stopper = live.stopper();
    let running = Arc::new(AtomicBool::new(true));
    let sending = Arc::clone(&running);
    let sender = thread::spawn(move || {
        while sending.load(Ordering::Relaxed) {
            send("10.9.0.2:9999", 100);
        }
    });
    let mut seen = 0;
    while seen < 5000 {
        live.turn(|_| seen += 1).expect("frames come");
    }
    stopper.stop();
    until_stopped(&mut live);
    running.store(false, Ordering::Relaxed);
    sender.join().expect("the sender ends");
    let stats = live.stats();
    assert_eq!(stats.handed, stats.received - stats.dropped, "{stats:?}");
    assert!(stats.handed >= 5000);
}

#[test]
fn frames_before_the_common_start_are_left_out() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let mut live = Live::open(&on("lo")).expect("root may capture");
    live.start_at(i64::MAX);
    send("127.0.0.1:9999", 10);
    live.stopper().stop();
    until_stopped(&mut live);
    assert_eq!((live.stats().early, live.stats().handed), (10, 0));
}

#[test]
fn an_interface_that_goes_down_and_up_delivers_again() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&on("vb")).expect("root may capture");
    ip("link set vb down");
    assert!(matches!(until_news(&mut live), Turn::Lost(_)));
    assert_eq!(frames(&mut live, 0), 0, "a lost interface is reported once");
    plug_in();
    assert_eq!(until_news(&mut live), Turn::Back);
    send("10.9.0.2:9999", 10);
    assert_eq!(frames(&mut live, 10), 10);
}

#[test]
fn an_interface_made_anew_delivers_again_without_any_privilege() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&on("vb")).expect("root may capture");
    ip("link del vb");
    assert!(matches!(until_news(&mut live), Turn::Lost(_)));
    cable();
    // Capabilities are a thread's own: those of the other tests stay.
    caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).expect("a capability can be dropped");
    assert_eq!(until_news(&mut live), Turn::Back);
    send("10.9.0.2:9999", 10);
    assert_eq!(frames(&mut live, 10), 10);
}

#[test]
fn a_fanned_out_interface_made_anew_is_opened_anew() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&LiveConfig { fanout: Some(7), ..on("vb") }).expect("root may capture");
    send("10.9.0.2:9999", 5);
    assert_eq!(frames(&mut live, 5), 5);
    ip("link del vb");
    assert!(matches!(until_news(&mut live), Turn::Lost(_)));
    cable();
    assert_eq!(until_news(&mut live), Turn::Back);
    send("10.9.0.2:9999", 10);
    assert_eq!(frames(&mut live, 10), 10);
    assert_eq!(live.stats().received, 15, "the counters go on where the lost handle left them");
}

#[test]
fn a_fanned_out_interface_made_anew_without_the_privilege_is_an_error() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&LiveConfig { fanout: Some(7), ..on("vb") }).expect("root may capture");
    caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).expect("a capability can be dropped");
    ip("link del vb");
    assert!(matches!(until_news(&mut live), Turn::Lost(_)));
    cable();
    let error = (0..200).find_map(|_| live.turn(|_| {}).err()).expect("a restart is asked for");
    assert!(matches!(error, LiveError::Privilege { .. }), "{error}");
}

#[test]
fn a_stop_ends_a_source_whose_interface_is_lost() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    cable();
    let mut live = Live::open(&on("vb")).expect("root may capture");
    ip("link del vb");
    assert!(matches!(until_news(&mut live), Turn::Lost(_)));
    live.stopper().stop();
    assert_eq!(until_news(&mut live), Turn::Stopped);
}

#[test]
fn both_directions_of_a_flow_meet_the_same_member_of_a_fan_out() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let config = LiveConfig { fanout: Some(42), ..on("lo") };
    let mut members = [(); 2].map(|()| Live::open(&config).expect("root may capture"));
    let server = UdpSocket::bind("127.0.0.1:9999").expect("a free port in a new namespace");
    // All are kept, so that no two have the same port.
    let clients = [(); 64].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    for client in &clients {
        let mut byte = [0];
        client.send_to(&[1], "127.0.0.1:9999").expect("sent");
        let (_, from) = server.recv_from(&mut byte).expect("received");
        server.send_to(&[2], from).expect("answered");
    }
    let mut flows: HashMap<u16, Vec<usize>> = HashMap::new();
    for (member, live) in members.iter_mut().enumerate() {
        live.stopper().stop();
        while live
            .turn(|frame| {
                let ports = [34, 36].map(|at| u16::from_be_bytes([frame.data[at], frame.data[at + 1]]));
                let client = if ports[0] == 9999 { ports[1] } else { ports[0] };
                flows.entry(client).or_default().push(member);
            })
            .expect("the wait works")
            != Turn::Stopped
        {}
    }
    assert_eq!(flows.len(), 64);
    assert!(flows.values().all(|seen| *seen == [0, 0] || *seen == [1, 1]), "{flows:?}");
    let first = flows.values().filter(|seen| **seen == [0, 0]).count();
    assert!((1..64).contains(&first), "the hash gives each member some: {first} of 64");
}

#[test]
fn without_the_privilege_the_error_explains_how_to_grant_it() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).expect("a capability can be dropped");
    let error = Live::open(&on("lo")).err().expect("no privilege");
    assert!(matches!(error, LiveError::Privilege { .. }), "{error}");
    for text in ["CAP_NET_RAW", "setcap cap_net_raw+ep /", "capsh --user=", "AmbientCapabilities=CAP_NET_RAW"] {
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}

#[test]
fn a_filter_that_is_none_is_named() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    let error = Live::open(&LiveConfig { filter: "port and port".into(), ..on("lo") }).err().expect("not a filter");
    assert!(error.to_string().starts_with("lo: filter \"port and port\": "), "{error}");
}

#[test]
fn an_interface_that_is_down_is_reported() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    ip("link add va type veth peer name vb");
    let error = Live::open(&on("va")).err().expect("down");
    assert_eq!(error.to_string(), "va: the interface is down; bring it up with: ip link set va up");
}

#[test]
fn a_number_of_the_list_names_an_interface() {
    if !tool::has(&["root", "ip"]) {
        return;
    }
    namespace();
    let listed = list().expect("interfaces");
    let number = listed.iter().position(|found| found.name == "lo").expect("there is a loopback") + 1;
    assert_eq!(Live::open(&on(&number.to_string())).expect("root may capture").interface(), "lo");
}
