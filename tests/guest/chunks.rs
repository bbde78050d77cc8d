//! Chunked bodies: sizes, extensions, trailers, and what is refused because parsers read it differently.

use crate::host::{Manner, c, lines, parsed, said};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The records about a chunked body, after its head.
fn body(bytes: impl AsRef<[u8]>) -> Vec<String> {
    parsed(&[c([HEAD.as_bytes(), bytes.as_ref()].concat())]).split_off(1)
}

#[test]
fn chunks_are_counted() {
    assert_eq!(body("5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"), ["0 end#1 30/15"]);
    assert_eq!(body("0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")[..2], ["0 end#1 5/0", "0 req#2 GET /2 1.1 none"]);
}

#[test]
fn extensions_are_flagged() {
    assert_eq!(body("5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n"), ["0 end#1 27/5 +chunk_extension"]);
    assert_eq!(body("5 ; a\r\nhello\r\n0\r\n\r\n"), ["0 end#1 19/5 +chunk_odd +chunk_extension"]);
    assert_eq!(body(b"5;a\0b\r\nhello\r\n0\r\n\r\n"), ["0 end#1 19/5 +chunk_odd +chunk_extension"]);
}

#[test]
fn trailers_are_flagged() {
    assert_eq!(body("0\r\nA: b\r\nC: d\r\n\r\n"), ["0 end#1 17/0 +trailers"]);
    assert_eq!(body("0\r\nA: b\n\r\n"), ["0 end#1 10/0 +chunk_odd +trailers"]);
    assert_eq!(body("0\r\n\n"), ["0 end#1 4/0 +chunk_odd"]);
}

#[test]
fn bad_trailers_are_an_error() {
    for trailer in [
        "A\r\n\r\n".to_owned(),
        "A : b\r\n\r\n".into(),
        " a\r\n\r\n".into(),
        "A: b\r\n".repeat(129) + "\r\n",
        "A: ".to_owned() + &"b".repeat(65536),
    ] {
        assert_eq!(body("0\r\n".to_owned() + &trailer), ["0 end#1 3/0 +truncated", "0 error bad_trailer"]);
    }
}

#[test]
fn spellings_that_parsers_read_differently_are_refused() {
    for size in [
        "5xyz\r\n",
        "0x5\r\n",
        "\r\n",
        "\n",
        " 5\r\n",
        "-5\r\n",
        "+5\r\n",
        ";a\r\n",
        "5\r\r\n",
        "5;\ra\r\n",
        "5,\r\n",
        "g\r\n",
        "00000000000000005\r\n",
        "10000000000000000\r\n",
        "5\u{b}\r\n",
    ] {
        let said = body(size);
        assert!(said[0].starts_with("0 end#1 0/0") && said[0].ends_with("+truncated"), "{size:?}: {said:?}");
        assert_eq!(said[1..], ["0 error bad_chunk"], "{size:?}");
    }
}

#[test]
fn a_chunk_ends_with_a_line_end() {
    for end in ["\r\r\n", "\r\r\r\n", "x\r\n", "\rx", " \r\n"] {
        assert_eq!(
            body(format!("5\r\nhello{end}0\r\n\r\n")),
            ["0 end#1 8/5 +truncated", "0 error bad_chunk"],
            "{end:?}"
        );
    }
}

#[test]
fn lines_that_end_with_lf_alone_are_read_and_flagged() {
    for (wire, flags) in [
        ("5\nhello\r\n0\r\n\r\n", "+chunk_odd"),
        ("5\r\nhello\n0\r\n\r\n", "+chunk_odd"),
        ("5\r\nhello\r\n0\n\r\n", "+chunk_odd"),
        ("5\r\nhello\r\n0\r\n\n", "+chunk_odd"),
        ("5\nhello\n0\n\n", "+chunk_odd"),
        ("5;a\nhello\n0\n\n", "+chunk_odd +chunk_extension"),
    ] {
        assert_eq!(body(wire), [format!("0 end#1 {}/5 {flags}", wire.len())], "{wire:?}");
    }
}

#[test]
fn sizes_that_upstream_accepts_and_others_may_not_are_flagged() {
    for (size, odd) in [
        ("5", false),
        ("05", false),
        ("00000005", false),
        ("000000005", true),
        ("0000000000000005", true),
        ("5 ", true),
        ("5\t", true),
        ("5 x", true),
    ] {
        let said = body(format!("{size}\r\nhello\r\n0\r\n\r\n"));
        assert_eq!(said[0].contains("+chunk_odd"), odd, "{size:?}: {said:?}");
        assert!(said[0].contains("/5"), "{said:?}");
    }
}

#[test]
fn a_chunk_may_be_larger_than_32_bits_count() {
    let head = format!("{HEAD}100000000\r\n");
    let records = said(Manner::default(), &[c(&head), c("abc")]);
    assert_eq!(records.len(), 1);
    assert!(body("ffffffffffffffff\r\nabc").is_empty());
    assert!(body("8000000000000000\r\nabc").is_empty());
}

#[test]
fn a_chunk_line_has_a_limit() {
    let line = |len: usize| format!("0;{}\r\n\r\n", "x".repeat(len - 4));
    assert_eq!(body(line(65535)), ["0 end#1 65537/0 +chunk_extension"]);
    assert_eq!(body(line(65536)), ["0 end#1 0/0 +truncated", "0 error bad_chunk"]);
}

#[test]
fn a_flood_of_framing_is_read() {
    let chunk = format!("1;{}\r\nx\r\n", "y".repeat(100));
    let flood = chunk.repeat(2000) + "0\r\n\r\n";
    let said = lines(Manner::default(), &[c(HEAD), c(&flood)]);
    assert_eq!(said[1], format!("0 end#1 {}/2000 +chunk_extension", flood.len()));
    let fair = format!("{:x}\r\n{}\r\n", 30, "x".repeat(30)).repeat(20_000) + "0\r\n\r\n";
    assert_eq!(lines(Manner::default(), &[c(HEAD), c(fair)])[1], format!("0 end#1 {}/600000", 36 * 20_000 + 5));
}

#[test]
fn a_body_may_come_byte_by_byte() {
    let bytes: Vec<_> = format!("{HEAD}5;a\r\nhello\r\n0\r\nA: b\r\n\r\nGET").bytes().map(|byte| c([byte])).collect();
    for wakes in [false, true] {
        let records = said(Manner { wakes, ..Manner::default() }, &bytes);
        assert_eq!(records[1].line(), "0 end#1 23/5 +chunk_extension +trailers");
        assert_eq!(records[1].end, HEAD.len() as u64 + 23);
    }
}
