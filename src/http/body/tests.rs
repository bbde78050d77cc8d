use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;
use crate::abi::flag;
use crate::http::Settings;
use crate::http::media_type::MediaTypes;
use crate::http::record::Kind as Said;
use crate::http::test_wire::Wire;
use crate::stream::EndReason;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn decoded(coding: &str, sent: &[u8], limit: usize) -> Result<(Vec<u8>, bool), &'static str> {
    decode(Coding::of(coding.as_bytes()), sent.to_vec(), limit)
}

#[test]
fn codings_are_undone() {
    let text = b"some text, some text, some text";
    let (mut zlib, mut raw) =
        (ZlibEncoder::new(Vec::new(), Compression::best()), DeflateEncoder::new(Vec::new(), Compression::best()));
    zlib.write_all(text).unwrap();
    raw.write_all(text).unwrap();
    let whole = Ok((text.to_vec(), true));
    assert_eq!(decoded("identity", text, 100), whole);
    assert_eq!(decoded("x-GZIP, identity", &gzip(text), 100), whole);
    assert_eq!(decoded("deflate", &zlib.finish().unwrap(), 100), whole);
    assert_eq!(decoded("deflate", &raw.finish().unwrap(), 100), whole);
    assert_eq!(decoded("gzip", &[gzip(text), gzip(text)].concat(), 100).unwrap().0.len(), 2 * text.len(), "members");
    for (coding, name) in
        [("br", "br"), ("zstd", "zstd"), ("gzip, br", "several"), ("x", "unknown"), ("compress", "compress")]
    {
        assert_eq!(decoded(coding, text, 100), Err(name));
    }
}

#[test]
fn a_cut_body_gives_what_there_is_and_a_bomb_no_more_than_is_wanted() {
    let text: Vec<u8> = (0..5000_u32).flat_map(|n| format!("{n},").into_bytes()).collect();
    let sent = gzip(&text);
    let (front, whole) = decoded("gzip", &sent[..sent.len() / 2], 100_000).unwrap();
    assert!(!whole && front.len() > 1000 && text.starts_with(&front), "{}", front.len());
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 66 << 10);
    let (front, whole) = decoded("gzip", &bomb, 4096).unwrap();
    assert_eq!((front.len(), front.capacity() <= 16 << 10, whole), (4096, true, false));
    assert_eq!(decoded("gzip", b"no gzip at all", 100), Err("gzip"));
    assert_eq!(decoded("gzip", &sent[..5], 100), Err("gzip"));
    assert_eq!(decoded("gzip", b"", 100), Ok((vec![], true)));
}

#[test]
fn a_text_does_not_end_inside_a_character() {
    assert_eq!(front("a\u{e9}b".as_bytes(), 2), b"a");
    assert_eq!(front("a\u{e9}b".as_bytes(), 3), "a\u{e9}".as_bytes());
    assert_eq!(front("\u{1f600}".as_bytes(), 3), b"");
    assert_eq!(
        (front(b"a\xff\xff", 2), front(b"a\x80\x80\x80\x80\x80", 5)),
        (&b"a\xff"[..], &b"a\x80\x80\x80\x80"[..])
    );
}

fn wire(bytes: u32) -> Wire {
    Wire::new(Settings { bodies: Some(BodySettings { bytes, types: MediaTypes::default() }), ..Settings::default() })
}

fn tell(wire: &mut Wire, side: usize, number: u32, before: u64, bytes: &[u8]) {
    wire.feed(side, 0, 0, Said::Body { number, before, bytes });
}

const ASK: &str = "POST / HTTP/1.1\nHost: h\nContent-Type: application/x-www-form-urlencoded";
const ANSWER: &str = "HTTP/1.1 200 OK\nContent-Type: text/plain";

fn texts(wire: &Wire) -> [Option<(String, bool)>; 2] {
    [true, false].map(|of_request| {
        let body = wire.last().body(of_request)?;
        Some((String::from_utf8_lossy(body.text).into_owned(), body.truncated))
    })
}

fn some(text: &str, truncated: bool) -> Option<(String, bool)> {
    Some((text.to_owned(), truncated))
}

#[test]
fn bodies_belong_to_their_messages() {
    let mut wire = wire(100);
    wire.ask(1, ASK, 0);
    tell(&mut wire, 0, 1, 0, b"a=b&pass");
    tell(&mut wire, 0, 1, 8, b"word=p");
    wire.end(0, 1, 14, 0).ask(2, ASK, 0).end(0, 2, 0, 0).answer(1, ANSWER, 0);
    tell(&mut wire, 1, 1, 0, b"hello");
    wire.end(1, 1, 5, 0);
    assert_eq!(texts(&wire), [some("a=b&password=REDACTED", false), some("hello", false)]);
    wire.answer(2, "HTTP/1.1 200 OK\nContent-Type: image/png", 0);
    tell(&mut wire, 1, 2, 0, b"hello");
    wire.end(1, 2, 5, 0);
    assert_eq!(texts(&wire), [None, None], "none was sent, and none is wanted");
    assert_eq!(wire.context.held(), 0);
}

#[test]
fn what_is_missing_is_not_joined_over() {
    let mut wire = wire(10);
    let mut answered = |number, pieces: &[(u64, &[u8])], length, flags| {
        wire.get(number, "/").answer(number, ANSWER, 0);
        pieces.iter().for_each(|(before, bytes)| tell(&mut wire, 1, number, *before, bytes));
        wire.end(1, number, length, flags);
        texts(&wire)[1].clone()
    };
    assert_eq!(answered(1, &[(0, b"abc"), (5, b"fgh")], 8, flag::GAP), some("abc", true), "a gap");
    assert_eq!(answered(2, &[(2, b"cde")], 5, flag::GAP), some("", true), "its front");
    assert_eq!(answered(3, &[(0, b"abc")], 5, flag::GAP), some("abc", true), "its end");
    assert_eq!(answered(4, &[(0, b"abc")], 3, flag::TRUNCATED), some("abc", true), "it was to be longer");
    assert_eq!(answered(5, &[(0, b"0123456789")], 10, 0), some("0123456789", false), "as much as is wanted");
    assert_eq!(answered(6, &[(0, b"01234567"), (8, b"89a")], 11, 0), some("0123456789", true), "more than is wanted");
    assert_eq!(answered(7, &[(0, b"abc"), (1, b"xx"), (3, b"d")], 4, 0), some("abcd", false), "said again");
    wire.get(8, "/").answer(8, ANSWER, 0);
    tell(&mut wire, 1, 8, 0, b"abc");
    wire.close(EndReason::Reset);
    assert_eq!(texts(&wire)[1], some("abc", true), "no end was seen");
}

#[test]
fn what_cannot_be_decoded_is_said() {
    let mut wire = wire(100);
    wire.get(1, "/").answer(1, format!("{ANSWER}\nContent-Encoding: br"), 0);
    tell(&mut wire, 1, 1, 0, b"\x0b\x02\x80hi\x03");
    wire.end(1, 1, 6, 0);
    let body = wire.last().body(false).unwrap();
    assert_eq!((body.text, body.truncated, body.undecoded), (&b""[..], false, Some("br")));
    let sent = gzip(b"password: p");
    wire.get(2, "/").answer(2, format!("{ANSWER}\ncontent-encoding: gzip"), 0);
    tell(&mut wire, 1, 2, 0, &sent);
    wire.end(1, 2, sent.len() as u64, 0);
    assert_eq!(texts(&wire)[1], some("password: REDACTED", false));
}

#[test]
fn bodies_take_at_most_half_of_what_open_transactions_may() {
    let mut wire = wire(MOST_BYTES);
    let piece = vec![b'a'; MOST_BYTES as usize];
    for stream in (1..1400).step_by(2) {
        wire.ask_on(stream, "POST / h2\ncontent-type: text/plain", 0);
        wire.tell_on(0, stream, 0, &piece);
    }
    assert!(wire.context.held() < 34 << 20, "{}", wire.context.held());
    assert_eq!(wire.context.counters.overflow, 0, "no transaction is given up for them");
    wire.close(EndReason::Capture);
    let kept = wire.done.iter().filter(|done| done.body(true).is_some_and(|body| !body.text.is_empty())).count();
    assert!((450..530).contains(&kept), "{kept}");
    assert!(wire.done.iter().all(|done| done.body(true).is_some_and(|body| body.truncated)));
}
