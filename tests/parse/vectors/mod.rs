//! Vectors are requests, good and bad, with a name each.

/// A head of `count` headers.
pub(crate) fn with_headers(count: usize) -> Vec<u8> {
    let headers: String = (0..count).map(|n| format!("X-{n}: value {n}\r\n")).collect();
    format!("GET /many HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

/// A head of `len` bytes, most of them in the target; 18 at least.
pub(crate) fn of_length(len: usize) -> Vec<u8> {
    let target = "a".repeat(len - 18);
    format!("GET /{target} HTTP/1.1\r\n\r\n").replacen("/", "", usize::from(len == 17)).into_bytes()
}

/// All of them.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut vectors: Vec<(String, Vec<u8>)> =
        NAMED.iter().map(|(name, bytes)| ((*name).into(), bytes.to_vec())).collect();
    for (n, request) in picotap::parse::BUILT_IN.iter().enumerate() {
        vectors.push((format!("built-in {n}"), request.to_vec()));
    }
    for count in (0..=130).chain([200, 1000]) {
        vectors.push((format!("{count} headers"), with_headers(count)));
    }
    for len in (18..=84).chain([255, 256, 4095, 4096, 4097, 16384, 65533, 65534, 65535, 65536, 65537, 70000, 1 << 20]) {
        vectors.push((format!("{len} bytes"), of_length(len)));
    }
    let whole = picotap::parse::BUILT_IN[2];
    for len in 0..whole.len() {
        vectors.push((format!("cut at {len}"), whole[..len].to_vec()));
    }
    // A byte of each value in each part of a head.
    for byte in 0..=255_u8 {
        let parts = [
            ("method", b"G_T / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice()),
            ("target", b"GET /_ HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("version", b"GET / HTTP/1._\r\nHost: a\r\n\r\n"),
            ("name", b"GET / HTTP/1.1\r\nH_st: a\r\n\r\n"),
            ("value", b"GET / HTTP/1.1\r\nHost: a_b\r\n\r\n"),
            ("line end", b"GET / HTTP/1.1\r_Host: a\r\n\r\n"),
        ];
        for (part, request) in parts {
            let bytes = request.iter().map(|&b| if b == b'_' { byte } else { b }).collect();
            vectors.push((format!("{byte:#04x} in {part}"), bytes));
        }
    }
    vectors
}

const NAMED: &[(&str, &[u8])] = &[
    ("the example", b"GET /abcd HTTP/1.1\r\nHost: tricorder.dev\r\nCookie: cookie\r\n\r\n"),
    ("no header, 1.0", b"GET / HTTP/1.0\r\n\r\n"),
    ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    ("leading CRLF", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("leading LF", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two leading CRLF", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("obs-fold", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\td\r\nE: f\r\n\r\n"),
    ("obs-fold first", b"GET / HTTP/1.1\r\n c\r\nA: b\r\n\r\n"),
    ("empty value", b"GET / HTTP/1.1\r\nA:\r\nB: \r\nC: \t\r\n\r\n"),
    ("value trailed by space", b"GET / HTTP/1.1\r\nA: b \t\r\n\r\n"),
    ("value led by space", b"GET / HTTP/1.1\r\nA: \t b\r\n\r\n"),
    ("backslash", b"GET /a\\b HTTP/1.1\r\nA: \\x41\\\r\nB: \\\"\\\t\\x\r\n\r\n"),
    ("not UTF-8", b"GET /\xff\xfe HTTP/1.1\r\nA: caf\xe9 \xc3\xa9\r\n\r\n"),
    ("space before colon", b"GET / HTTP/1.1\r\nA : b\r\n\r\n"),
    ("no colon", b"GET / HTTP/1.1\r\nA\r\n\r\n"),
    ("empty name", b"GET / HTTP/1.1\r\n: b\r\n\r\n"),
    ("odd name", b"GET / HTTP/1.1\r\nA|~: b\r\n\r\n"),
    ("bare CR in value", b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"),
    ("two spaces after method", b"GET  / HTTP/1.1\r\n\r\n"),
    ("two spaces after target", b"GET /  HTTP/1.1\r\n\r\n"),
    ("empty method", b" / HTTP/1.1\r\n\r\n"),
    ("empty target", b"GET  HTTP/1.1\r\n\r\n"),
    ("space in target", b"GET /a b HTTP/1.1\r\n\r\n"),
    ("method is no token", b"G@T / HTTP/1.1\r\n\r\n"),
    ("version 1.10", b"GET / HTTP/1.10\r\n\r\n"),
    ("version 1.99999999999", b"GET / HTTP/1.99999999999\r\n\r\n"),
    ("version 2.0", b"GET / HTTP/2.0\r\n\r\n"),
    ("version in lower case", b"GET / http/1.1\r\n\r\n"),
    ("no version", b"GET /\r\n\r\n"),
    ("response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and what follows, which is not text\n\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    ("a sentence", b"The quick brown fox jumps over the lazy dog.\r\n\r\n"),
    ("empty", b""),
    ("CRLF alone", b"\r\n"),
    ("method alone", b"GET"),
    ("half a header", b"GET / HTTP/1.1\r\nHost"),
    ("malformed before its end", b"GET / HTTP/1.1\r\nHo st: a\r\n"),
    ("NUL in target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("NUL in value", b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
    ("NUL in body", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\0\0\0"),
    ("NUL alone", b"\0"),
    ("body", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    ("chunked body", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("half a body", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe"),
    ("two requests", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a bad request behind a good one", b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nG@T /2 HTTP/1.1\r\n\r\n"),
    ("lengths that differ", b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("transfer coding without chunked", b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
    ("length that is no number", b"POST / HTTP/1.1\r\nContent-Length: five\r\n\r\nhello"),
    ("connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01"),
    ("options", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
];
