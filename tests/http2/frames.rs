//! Frames of HTTP/2 (RFC 9113): what each becomes, however it is cut.

use picotap::abi::flag;
use picotap::sandbox::call::Bounds;
use picotap::stream::Side::{self, First, Second};
use proptest::prelude::*;

use crate::feed::Feed;
use crate::support::random::Random;
use crate::wire::{
    Blocks, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITISED, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, settings,
};

/// What a side sends, in order.
type Talk = Vec<(Side, Vec<u8>)>;

/// What is said of a connection, however it is cut.
fn said(talk: &Talk) -> Vec<String> {
    let play = |size: usize, per_slot: usize, bounds: Bounds| {
        let mut feed = Feed::bounded(bounds);
        for (number, (side, bytes)) in talk.iter().enumerate() {
            feed.cut(*side, bytes, size);
            if number % per_slot == 0 {
                feed.slot();
            }
        }
        feed.close();
        feed.notes.lines
    };
    let whole = play(usize::MAX, 1, Bounds::default());
    for size in [1, 2, 3, 9, 10, 100] {
        for per_slot in [1, 4, 1000] {
            assert_eq!(play(size, per_slot, Bounds::default()), whole, "cut {size}, {per_slot} a slot");
        }
    }
    let small = Bounds { records: 8, pairs: 1024, ..Bounds::default() };
    assert_eq!(play(usize::MAX, 1000, small), whole, "with little room for replies");
    whole
}

fn start() -> Talk {
    vec![(First, [PREFACE, &settings()].concat()), (Second, settings())]
}

#[test]
fn a_stream_has_a_request_and_a_response() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    talk.push((First, client.get(1, "/a")));
    let post = [(":method", "POST"), (":scheme", "https"), (":path", "/b"), ("content-length", "5")];
    talk.push((First, client.head(3, 0, &post)));
    talk.push((Second, frame(SETTINGS, 1, 0, [])));
    talk.push((Second, server.head(1, 0, &[(":status", "200"), ("server", "x")])));
    talk.push((First, frame(DATA, END_STREAM, 3, "hello")));
    talk.push((Second, server.head(3, END_STREAM, &[(":status", "204")])));
    talk.push((Second, frame(DATA, 0, 1, [b'x'; 1000])));
    talk.push((Second, frame(DATA, END_STREAM, 1, [])));
    let wanted = [
        "0:1 GET /a :scheme=http :authority=a.example",
        "0:1 end 0/0 lost 0",
        "0:3 POST /b :scheme=https content-length=5",
        "1:1 200 server=x",
        "0:3 end 14/5 lost 0",
        "1:3 204",
        "1:3 end 0/0 lost 0",
        "1:1 end 1018/1000 lost 0",
    ];
    assert_eq!(said(&talk), wanted);
}

#[test]
fn interim_responses_and_trailers_are_what_they_are() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    talk.push((First, client.head(1, 0, &[(":method", "POST"), (":scheme", "http"), (":path", "/")])));
    talk.push((Second, server.head(1, 0, &[(":status", "103"), ("link", "a")])));
    talk.push((First, client.head(1, END_STREAM, &[("x-sum", "1")])));
    talk.push((Second, server.head(1, 0, &[(":status", "200")])));
    talk.push((Second, server.head(1, END_STREAM, &[("x-sum", "2")])));
    let wanted = [
        "0:1 POST / :scheme=http",
        "1:1 103 link=a [0x8000]",
        "0:1 trailers x-sum=1",
        "0:1 end 0/0 lost 0",
        "1:1 200",
        "1:1 trailers x-sum=2",
        "1:1 end 0/0 lost 0",
    ];
    assert_eq!(said(&talk), wanted);
}

#[test]
fn padding_priorities_and_continuations_are_passed() {
    let mut client = Blocks::new();
    let block = client.block(&[(":method", "GET"), (":scheme", "http"), (":path", "/a"), ("x-long", &"y".repeat(300))]);
    let (one, rest) = block.split_at(20);
    let (two, three) = rest.split_at(1);
    let front = [&[4], &[0, 0, 0, 3, 200][..], one, &[0; 4]].concat();
    let mut talk = start();
    talk.push((First, frame(HEADERS, PADDED | PRIORITISED, 5, front)));
    talk.push((First, frame(CONTINUATION, 0, 5, two)));
    talk.push((First, frame(CONTINUATION, END_HEADERS, 5, three)));
    talk.push((First, frame(PRIORITY, 0, 5, [0, 0, 0, 1, 3])));
    talk.push((First, frame(WINDOW_UPDATE, 0, 5, [0, 0, 0, 1])));
    talk.push((First, frame(PING, 0, 0, [7; 8])));
    talk.push((First, frame(0xbe, 0xff, 5, "unknown")));
    talk.push((First, frame(DATA, PADDED, 5, [&[3][..], b"data", &[0; 3]].concat())));
    talk.push((First, frame(DATA, PADDED | END_STREAM, 5, [0])));
    let long = "y".repeat(300);
    assert_eq!(said(&talk), [format!("0:5 GET /a :scheme=http x-long={long}"), "0:5 end 27/4 lost 0".to_owned()]);
}

#[test]
fn a_promise_changes_the_table_alone() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    talk.push((First, client.get(1, "/")));
    let promised = server.block(&[(":method", "GET"), (":path", "/pushed"), ("x-a", "1")]);
    talk.push((Second, frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &promised].concat())));
    talk.push((Second, server.head(1, END_STREAM, &[(":status", "200"), ("x-a", "1")])));
    talk.push((Second, server.head(2, END_STREAM, &[(":status", "200")])));
    let said = said(&talk);
    assert_eq!(said[2..], ["1:1 200 x-a=1", "1:1 end 0/0 lost 0", "1:2 200", "1:2 end 0/0 lost 0"]);
}

#[test]
fn resets_and_goaway_end_streams() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    for stream in [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21] {
        talk.push((First, client.get(stream, "/")));
    }
    talk.push((First, frame(RST_STREAM, 0, 1, [0, 0, 0, 8])));
    talk.push((Second, frame(GOAWAY, 0, 0, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])));
    talk.push((Second, frame(GOAWAY, 0, 0, [&[0, 0, 0, 3, 0, 0, 0, 11][..], b"debug"].concat())));
    talk.push((Second, server.head(3, END_STREAM, &[(":status", "200")])));
    let said = said(&talk);
    let resets: Vec<_> = said.iter().filter(|line| line.contains("reset")).cloned().collect();
    let mut wanted = vec!["0:1 reset 8".to_owned()];
    wanted.extend([5, 7, 9, 11, 13, 15, 17, 19, 21].map(|stream| format!("1:{stream} reset 7")));
    assert_eq!(resets, wanted);
    assert_eq!(said[said.len() - 2..], ["1:3 200", "1:3 end 0/0 lost 0"]);
}

#[test]
fn connect_and_its_extension_open_tunnels() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    talk.push((First, client.head(1, 0, &[(":method", "CONNECT"), (":authority", "h:443")])));
    let websocket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a.example"),
    ];
    talk.push((First, client.head(3, 0, &websocket)));
    talk.push((First, client.head(5, 0, &[(":method", "CONNECT"), (":authority", "no:443")])));
    talk.push((Second, server.head(1, 0, &[(":status", "200")])));
    talk.push((Second, server.head(3, 0, &[(":status", "200")])));
    talk.push((Second, server.head(5, END_STREAM, &[(":status", "403")])));
    talk.push((First, frame(DATA, 0, 1, "inside")));
    talk.push((Second, frame(DATA, END_STREAM, 1, "inside")));
    talk.push((First, frame(DATA, END_STREAM, 1, "inside")));
    let wanted = [
        "0:1 CONNECT h:443",
        "0:3 CONNECT /chat :protocol=websocket :scheme=https :authority=a.example",
        "0:5 CONNECT no:443",
        "1:1 200",
        "1:1 tunnel Connect",
        "1:3 200",
        "1:3 tunnel WebSocket",
        "1:5 403",
        "1:5 end 0/0 lost 0",
    ];
    assert_eq!(said(&talk), wanted);
}

/// A gRPC message (length-prefixed).
fn message(bytes: usize) -> Vec<u8> {
    [&[0][..], &(bytes as u32).to_be_bytes(), &vec![b'm'; bytes]].concat()
}

fn grpc(blocks: &mut Blocks, stream: u32) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), ("content-type", "application/grpc")];
    blocks.head(stream, 0, &fields)
}

#[test]
fn messages_of_grpc_are_counted_across_frames() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    talk.push((First, grpc(&mut client, 1)));
    let all = [message(0), message(10), message(3000), message(1)].concat();
    for (number, piece) in all.chunks(7).enumerate() {
        let padded = [&[2][..], piece, &[0; 2]].concat();
        talk.push((First, if number % 3 == 0 { frame(DATA, PADDED, 1, padded) } else { frame(DATA, 0, 1, piece) }));
    }
    talk.push((First, frame(DATA, END_STREAM, 1, [])));
    talk.push((Second, server.head(1, 0, &[(":status", "200"), ("content-type", "application/grpc")])));
    talk.push((Second, frame(DATA, 0, 1, message(5))));
    talk.push((Second, server.head(1, END_STREAM, &[("grpc-status", "0")])));
    let said = said(&talk);
    assert!(said[1].ends_with("/3031 lost 0 messages 4"), "{said:?}");
    assert_eq!(
        said[2..],
        ["1:1 200 content-type=application/grpc", "1:1 trailers grpc-status=0", "1:1 end 19/10 lost 0 messages 1",]
    );
}

#[test]
fn data_is_skipped_but_for_the_fronts_of_messages() {
    let mut client = Blocks::new();
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings()].concat());
    feed.bytes(First, client.head(1, 0, &[(":method", "POST"), (":scheme", "http"), (":path", "/")]));
    feed.bytes(First, &frame(DATA, END_STREAM, 1, [0; 16000])[..100]).slot();
    let [(First, upto)] = feed.notes.skips[..] else { panic!("{:?}", feed.notes.skips) };
    let rest = 16009 - 100;
    feed.skipped(First, rest, 500).slot();
    feed.bytes(First, grpc(&mut client, 3));
    feed.bytes(First, &frame(DATA, 0, 3, [message(9000), message(100)].concat())[..50]).slot();
    let [_, (First, next)] = feed.notes.skips[..] else { panic!("{:?}", feed.notes.skips) };
    // Up to the end of the first message, not of the frame.
    let left = 9 + 5 + 9000 - 50;
    feed.skipped(First, left, 0).bytes(First, &message(100)[..]).bytes(First, frame(DATA, END_STREAM, 3, []));
    feed.close();
    assert!(upto < next);
    let said = feed.said();
    assert_eq!(said[1], "0:1 end 16009/16000 lost 500 [0x40000]");
    assert_eq!(said[3], "0:3 end 9128/9110 lost 0 messages 2");
}

#[test]
fn after_a_gap_frames_are_found_and_nothing_is_guessed() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings()].concat()).bytes(Second, settings());
    feed.bytes(First, client.get(1, "/known")).bytes(First, client.get(3, "/lost")).slot();
    feed.bytes(Second, server.head(1, 0, &[(":status", "200"), ("server", "x")]));
    feed.bytes(Second, frame(DATA, 0, 1, [0; 100]));
    feed.gap(Second, 500);
    feed.bytes(Second, [0x55; 700]); // the inside of something
    let again = [server.head(3, 0, &[(":status", "200"), ("server", "x")]), frame(DATA, END_STREAM, 3, "abc")].concat();
    feed.bytes(Second, again);
    feed.bytes(Second, frame(DATA, END_STREAM, 1, "abc"));
    feed.close();
    let wanted = [
        "0:1 GET /known :scheme=http :authority=a.example",
        "0:1 end 0/0 lost 0",
        "0:3 GET /lost :scheme=http :authority=a.example",
        "0:3 end 0/0 lost 0",
        "1:1 200 server=x",
        "1:3 200 [0x80020000]",
        "1:3 end 0/0 lost 0 [0x50000]",
        "1:1 end 0/0 lost 0 [0x50000]",
    ];
    assert_eq!(feed.said(), wanted);
}

#[test]
fn a_gap_inside_of_data_costs_its_bytes_alone() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings(), &client.get(1, "/")].concat()).bytes(Second, settings());
    feed.bytes(Second, server.head(1, 0, &[(":status", "200"), ("server", "x")]));
    feed.bytes(Second, &frame(DATA, END_STREAM, 1, [0; 1000])[..300]).slot();
    feed.gap(Second, 709);
    feed.bytes(First, client.get(3, "/"))
        .bytes(Second, server.head(3, END_STREAM, &[(":status", "200"), ("server", "x")]));
    feed.close();
    let said = feed.said();
    assert_eq!(
        said[3..],
        [
            "0:3 GET / :scheme=http :authority=a.example",
            "0:3 end 0/0 lost 0",
            "1:1 end 1009/1000 lost 709 [0x40000]", // a gap shows with what follows it
            "1:3 200 server=x",
            "1:3 end 0/0 lost 0",
        ]
    );
}

#[test]
fn floods_are_bounded_and_told() {
    let mut client = Blocks::new();
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings()].concat());
    // A block that never ends, then one that is too long.
    feed.bytes(First, frame(HEADERS, 0, 1, client.block(&[(":method", "GET")])));
    for _ in 0..1000 {
        feed.bytes(First, frame(CONTINUATION, 0, 1, []));
    }
    feed.bytes(First, frame(CONTINUATION, END_HEADERS, 1, [])).slot();
    let long = client.block(&[("x", &"y".repeat(200_000))]);
    feed.bytes(First, frame(HEADERS, END_HEADERS, 3, long)).slot();
    feed.bytes(First, client.get(5, "/")).close();
    assert_eq!(feed.said()[..2], ["0:1 error HeadTooLong", "0:3 error HeadTooLong"]);
    assert_eq!(feed.said().len(), 4);
    assert_eq!(feed.notes.requests[0].flags & !flag::HPACK_UNKNOWN, 0);
}

#[test]
fn an_index_that_repeats_a_large_value_is_cut_at_64_kib() {
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings()].concat());
    let mut bomb = b"\x82\x84\x86\x40\x01a\x7f\xa1\x1e".to_vec(); // a value of 4,000 bytes
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 16000]);
    feed.bytes(First, frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb)).close();
    let head = &feed.notes.requests[0];
    let text: usize = head.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(text <= 65536 && head.fields.len() >= 16, "{text}");
    assert_eq!(head.flags, flag::TOO_MANY_HEADERS | flag::HPACK_UNKNOWN);
}

#[test]
fn more_streams_than_are_tracked_cost_sizes_alone() {
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut feed = Feed::new();
    feed.bytes(First, [PREFACE, &settings()].concat()).bytes(Second, settings());
    for number in 0..1000 {
        feed.bytes(First, client.get(2 * number + 1, "/a")).slot();
    }
    for number in 0..1000 {
        let stream = 2 * number + 1;
        feed.bytes(Second, server.head(stream, 0, &[(":status", "200")]));
        feed.bytes(Second, frame(DATA, END_STREAM, stream, "abc")).slot();
    }
    feed.close();
    let said = feed.said();
    assert_eq!(said.iter().filter(|line| line.contains("GET /a :scheme=http :authority=a.example")).count(), 1000);
    assert_eq!(said.iter().filter(|line| line.ends_with(" 200")).count(), 1000);
    assert!(said.contains(&"1:1999 end 12/3 lost 0"));
}

/// A talk of many streams, as frames in order.
fn random_talk(seed: u64, streams: u32) -> Talk {
    let mut random = Random::new(seed);
    let (mut client, mut server) = (Blocks::new(), Blocks::new());
    let mut talk = start();
    let mut open: Vec<(u32, bool)> = Vec::new();
    let mut next = 1;
    while next < 2 * streams || !open.is_empty() {
        match random.below(4) {
            0 if next < 2 * streams => {
                let path = format!("/{next}");
                let agent = format!("agent-{}", random.below(5));
                let fields = [(":method", "GET"), (":scheme", "http"), (":path", &path), ("user-agent", &agent)];
                talk.push((First, client.head(next, END_STREAM, &fields)));
                open.push((next, false));
                next += 2;
            }
            1 => talk.push((if random.one_in(2) { First } else { Second }, frame(PING, 0, 0, [0; 8]))),
            _ if !open.is_empty() => {
                let at = random.below(open.len() as u64) as usize;
                let (stream, answered) = open[at];
                if !answered {
                    let size = format!("{}", random.below(40));
                    talk.push((Second, server.head(stream, 0, &[(":status", "200"), ("x-size", &size)])));
                    open[at].1 = true;
                } else if random.one_in(2) {
                    let len = random.below(3000) as usize;
                    talk.push((Second, frame(DATA, 0, stream, random.bytes(len))));
                } else {
                    talk.push((Second, frame(DATA, END_STREAM, stream, [0; 10])));
                    open.remove(at);
                }
            }
            _ => {}
        }
    }
    talk
}

#[test]
fn interleaved_streams_are_all_there() {
    for seed in 0..3 {
        let talk = random_talk(seed, 40);
        let said = said(&talk);
        for stream in (1..80).step_by(2) {
            let wanted = format!("0:{stream} GET /{stream} :scheme=http user-agent=agent-");
            assert_eq!(said.iter().filter(|line| line.starts_with(&wanted)).count(), 1, "{stream}");
            let end = format!("1:{stream} end ");
            assert_eq!(said.iter().filter(|line| line.starts_with(&end)).count(), 1, "{stream}");
        }
    }
}

/// Whatever of a talk is lost: what is said of a stream is true.
#[test]
fn with_loss_no_field_is_wrong() {
    for seed in 0..60 {
        let talk = random_talk(seed, 60);
        let mut random = Random::new(seed);
        let mut feed = Feed::new();
        for (side, bytes) in &talk {
            for piece in bytes.chunks(1400) {
                if random.one_in(30) {
                    feed.gap(*side, piece.len() as u64);
                } else {
                    feed.bytes(*side, piece);
                }
            }
            if random.one_in(5) {
                feed.slot();
            }
        }
        feed.close();
        for head in &feed.notes.requests {
            let path = format!("/{}", head.stream);
            assert!(head.method == b"GET" || head.method.is_empty());
            assert!(head.target == path.as_bytes() || head.target.is_empty(), "{head:?}");
            for (name, value) in &head.fields {
                let fits = match &name[..] {
                    b":scheme" => value == b"http",
                    b"user-agent" => value.starts_with(b"agent-"),
                    _ => false,
                };
                assert!(fits, "{head:?}");
            }
        }
    }
}

#[test]
fn a_block_of_no_bytes_that_is_none_is_passed() {
    for (kind, flags) in [(HEADERS, PADDED), (HEADERS, PRIORITISED), (PUSH_PROMISE, END_HEADERS)] {
        let mut feed = Feed::new();
        feed.bytes(First, PREFACE).bytes(Second, settings()).bytes(First, frame(kind, flags, 1, [])).slot();
        feed.bytes(First, frame(PING, 0, 0, [7; 8])).close();
        assert_eq!(feed.said(), ["0:1 error BadFrame"], "{kind} {flags}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any bytes, cuts and gaps: no fault.
    #[test]
    fn any_bytes_are_answered(
        steps in proptest::collection::vec((any::<bool>(), 0..4_u8, proptest::collection::vec(any::<u8>(), 0..200)), 1..30),
        sane in any::<bool>(),
    ) {
        let mut feed = Feed::new();
        if sane {
            feed.bytes(First, PREFACE);
        }
        for (first, what, bytes) in &steps {
            let side = if *first { First } else { Second };
            match what {
                0 => _ = feed.gap(side, bytes.len() as u64),
                1 => _ = feed.bytes(side, bytes),
                2 => {
                    let (kind, flags) = bytes.first().map_or((0, 0), |byte| (byte % 10, byte >> 3));
                    feed.bytes(side, frame(kind, flags, u32::from(flags) % 8, bytes.get(1..).unwrap_or_default()));
                }
                _ => _ = feed.slot(),
            }
        }
        feed.close();
    }
}
