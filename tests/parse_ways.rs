//! Every way into the sandbox gives the same reply to every vector, and the reply is native picohttpparser's but for the
//! differences that stand in one list.
#![cfg(feature = "parse")]

mod parse_native;
mod parse_vectors;

use std::collections::BTreeMap;

use parse_native::native;
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
    assert_eq!(printed.is_some(), via == Via::Argv);
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
            let headers: Vec<String> =
                headers.map(|(name, value)| format!("{}={}", text(name.of(request)), text(value.of(request)))).collect();
            let (method, target) = (text(head.method.of(request)), text(head.target.of(request)));
            format!("parsed {bytes}: {method} {target} 1.{} [{}]", head.minor, headers.join(", "))
        }
    }
}

/// Where the ways differ from picohttpparser of 2017, which they are built on, and why: a vector's name or the start of
/// several, what native says, what the ways say (the start of it).
const ALLOWED: &[(&str, &str, &str, &str)] = &[];

#[test]
fn every_way_gives_the_same_reply_to_every_vector() {
    let vectors = parse_vectors::all();
    let requests: Vec<&[u8]> = vectors.iter().map(|(_, request)| request.as_slice()).collect();
    all_agree(&requests);
}

#[test]
fn the_reply_is_native_picohttpparsers_but_for_the_listed_differences() {
    let vectors = parse_vectors::all();
    let requests: Vec<&[u8]> = vectors.iter().map(|(_, request)| request.as_slice()).collect();
    let (replies, _) = parse(Via::Memory, Runtime::Wasmtime, &requests).unwrap();
    let mut used = BTreeMap::new();
    let mut wrong = Vec::new();
    for (index, (name, request)) in vectors.iter().enumerate() {
        let (theirs, ours) = (native(request), show(&replies, index, request));
        if theirs == ours {
            continue;
        }
        let allowed = |(start, native, way, _): &&(&str, &str, &str, &str)| {
            name.starts_with(start) && theirs.starts_with(native) && ours.starts_with(way)
        };
        match ALLOWED.iter().find(allowed) {
            Some(entry) => *used.entry(entry.0).or_insert(0) += 1,
            None => wrong.push(format!("{name}\n  native: {:.200}\n  ways:   {:.200}", theirs, ours)),
        }
    }
    assert!(wrong.is_empty(), "{} not listed:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<&str> = ALLOWED.iter().map(|entry| entry.0).filter(|name| !used.contains_key(name)).collect();
    assert!(unused.is_empty(), "listed and not seen: {unused:?}");
}
