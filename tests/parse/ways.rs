//! Every way into the sandbox gives the same reply to every vector, and the reply is native picohttpparser's but for the
//! differences that stand in one list.
#![cfg(feature = "parse")]

use crate::native;
use crate::vectors;
use std::collections::BTreeMap;

use native::native;
use picotap::parse::reply::{Replies, Status};
use picotap::parse::{Runtime, Via, parse};
use proptest::prelude::*;

const WAYS: [Via; 5] = [Via::Memory, Via::Argv, Via::Externref, Via::HostMemory, Via::HostMemoryImport];

/// What the ways may carry.
fn carries(via: Via, request: &[u8]) -> bool {
    via != Via::Argv || !request.contains(&0)
}

/// The replies of one way to those of `requests` that it carries, as lines for people and as JSON; and both agree with
/// what the guest itself printed.
fn replies(via: Via, requests: &[&[u8]]) -> (Replies, String, String) {
    let (replies, printed) = parse(via, Runtime::Wasmtime, requests).unwrap();
    assert_eq!(replies.heads().len(), requests.len());
    let (mut text, mut json) = (Vec::new(), Vec::new());
    replies.write_text(requests, &mut text).unwrap();
    replies.write_json(requests, &mut json).unwrap();
    assert_eq!(printed.is_some(), via == Via::Argv && !requests.is_empty());
    if let Some(printed) = printed {
        assert_eq!(String::from_utf8(printed).unwrap(), String::from_utf8(text.clone()).unwrap());
    }
    (replies, String::from_utf8(text).unwrap(), String::from_utf8(json).unwrap())
}

fn all_agree(requests: &[&[u8]]) {
    let of = |first: Via, via: Via| {
        let carried: Vec<&[u8]> = requests.iter().copied().filter(|request| carries(via, request)).collect();
        replies(first, &carried)
    };
    for via in WAYS {
        let (reference, reply) = (of(Via::Memory, via), of(via, via));
        assert!(reference.0 == reply.0, "{via:?} differs");
        assert_eq!(reference.1, reply.1, "{via:?}");
        assert_eq!(reference.2, reply.2, "{via:?}");
    }
}

/// One reply in a line.
fn show(replies: &Replies, index: usize, request: &[u8]) -> String {
    let head = &replies.heads()[index];
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match head.status {
        Status::Partial => "partial".into(),
        Status::Malformed(_) => "malformed".into(),
        Status::Parsed { bytes } => {
            let headers = replies.headers(head).iter();
            let headers: Vec<String> = headers
                .map(|(name, value)| format!("{}={}", text(name.of(request)), text(value.of(request))))
                .collect();
            let (method, target) = (text(head.method.of(request)), text(head.target.of(request)));
            format!("parsed {bytes}: {method} {target} 1.{} [{}]", head.minor, headers.join(", "))
        }
    }
}

/// Where the ways differ from native picohttpparser of 2017, on which they are built, and why: the name of a vector or what
/// those of several have in common; what native says and what the ways say, or the start of it.
const ALLOWED: &[(&str, &str, &str)] = &[
    // A method is a token (picohttpparser since 2020), and is there (since 2018). So is a target.
    ("in method", "parsed", "malformed"),
    ("method is no token", "parsed 18: G@T / 1.1 []", "malformed"),
    ("empty method", "parsed 15:  / 1.1 []", "malformed"),
    ("empty target", "parsed 17: GET  1.1 []", "malformed"),
    // More than one space may stand between the parts of a start line (since 2019).
    ("two spaces after method", "malformed", "parsed 19: GET / 1.1 []"),
    ("two spaces after target", "malformed", "parsed 19: GET / 1.1 []"),
    ("0x20 in target", "malformed", "parsed 28: GET / 1.1 [Host=a]"),
    // The minor version is one digit (since 2017).
    ("version 1.10", "parsed 19: GET / 1.10 []", "malformed"),
    ("version 1.99999999999", "parsed 28: GET / 1.1215752191 []", "malformed"),
    // Space behind a value is not part of it (since 2018).
    ("value trailed by space", "parsed 26: GET / 1.1 [A=b \\t]", "parsed 26: GET / 1.1 [A=b]"),
    // RFC 9112, section 2.2: a server should ignore at least one empty line before a start line; here, some more.
    ("two leading CRLF", "malformed", "parsed 31: GET / 1.1 [Host=a]"),
    // Headers are judged when the empty line is there, so that the same bytes get the same answer however they were cut.
    ("malformed before its end", "malformed", "partial"),
    // A head has at most 65,535 bytes.
    ("65536 bytes", "parsed 65536: GET /aaa", "malformed"),
    ("65537 bytes", "parsed 65537: GET /aaa", "malformed"),
    ("70000 bytes", "parsed 70000: GET /aaa", "malformed"),
    ("1048576 bytes", "parsed 1048576: GET /aaa", "malformed"),
];

#[test]
fn every_way_gives_the_same_reply_to_every_vector() {
    let named = vectors::all();
    let requests: Vec<&[u8]> = named.iter().map(|(_, request)| request.as_slice()).collect();
    all_agree(&requests);
}

#[test]
fn the_reply_is_native_picohttpparsers_but_for_the_listed_differences() {
    let named = vectors::all();
    let requests: Vec<&[u8]> = named.iter().map(|(_, request)| request.as_slice()).collect();
    let (replies, _) = parse(Via::Memory, Runtime::Wasmtime, &requests).unwrap();
    let mut used = BTreeMap::new();
    let mut wrong = Vec::new();
    for (index, (name, request)) in named.iter().enumerate() {
        let (theirs, ours) = (native(request), show(&replies, index, request));
        if theirs == ours {
            continue;
        }
        let allowed = |(part, native, way): &&(&str, &str, &str)| {
            name.contains(part) && theirs.starts_with(native) && ours.starts_with(way)
        };
        match ALLOWED.iter().find(allowed) {
            Some(entry) => *used.entry(entry.0).or_insert(0) += 1,
            None => wrong.push(format!("{name}\n  native: {:.200}\n  ways:   {:.200}", theirs, ours)),
        }
    }
    assert!(wrong.is_empty(), "{} not listed:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(used.get("in method"), Some(&145), "256 less 77 of tokens, 33 controls and the space");
    let unused: Vec<&str> = ALLOWED.iter().map(|entry| entry.0).filter(|name| !used.contains_key(name)).collect();
    assert!(unused.is_empty(), "listed and not seen: {unused:?}");
}

#[test]
fn many_requests_are_split_into_calls_and_calls_that_fill_the_output_go_on_where_they_stopped() {
    let large = vectors::with_headers(128);
    let mut requests = vec![large.as_slice(); 400];
    requests.extend([b"GET / HTTP/1.1\r\n\r\n".as_slice(); 2600]);
    let (one, _) = parse(Via::Memory, Runtime::Wasmtime, &requests[..1]).unwrap();
    for via in WAYS {
        let (replies, ..) = replies(via, &requests);
        assert!(replies.all_parsed(), "{via:?}");
        for index in 0..400 {
            assert_eq!(show(&replies, index, &large), show(&one, 0, &large), "{via:?}, request {index}");
        }
        assert_eq!(show(&replies, 2999, requests[2999]), "parsed 18: GET / 1.1 []");
    }
}

/// Bytes of which heads are made, so that many a mixture is nearly one.
fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            b"GET / HTTP/1.1\r\n".as_slice(), b"\r\n", b"\n", b"Host: a\r\n", b" ", b"\t", b":", b"A", b"HTTP/1.1", b"POST ",
            b"/x ", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    (any::<bool>(), prop::collection::vec(piece, 0..12)).prop_map(|(head, pieces)| {
        let start: &[u8] = if head { b"GET /a HTTP/1.1\r\n" } else { b"" };
        [start.to_vec(), pieces.concat()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_way_gives_the_same_reply_to_anything(requests in prop::collection::vec(nearly_a_head(), 1..200)) {
        let requests: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
        all_agree(&requests);
    }
}
