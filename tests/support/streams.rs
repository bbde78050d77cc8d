//! The plans of a workload over HTTP/2: ten streams side by side on each connection, answered in another order.
//!
//! Header blocks are those of a browser and of nginx; what changes with every request (the path, the cookie) is not added to the
//! table, as nghttp2 has it.

use httlib_hpack::Encoder;

use super::frame::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame};
use super::workload::{Plan, Talk, Workload};

/// 200,000 calls on 1,000 connections, bodies of 100 bytes on average, as in capture B.
pub const H2: Workload = Workload { connections: 1000, each: 200, body: 100, seed: 4 };

/// Streams that are open at once.
pub const AT_ONCE: u32 = 10;

/// The number of the stream that carries the `n`-th transaction (from 0) of a connection.
pub const fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// Both encoders of each connection.
pub struct Streams {
    encoders: Vec<[Encoder<'static>; 2]>,
    pool: Vec<u8>,
}

impl Streams {
    pub fn new(workload: &Workload) -> Self {
        let pair = |_| [Encoder::with_dynamic_size(4096), Encoder::with_dynamic_size(4096)];
        let pool = (0..workload.body * 3 + 200).map(|i| (i * 7 % 251) as u8).collect();
        Self { encoders: (0..workload.connections).map(pair).collect(), pool }
    }

    /// What a connection says in a round: side and bytes of each segment. Empty: there is no such round.
    pub fn round(&mut self, workload: &Workload, connection: u32, round: u32) -> Talk {
        if round == 0 {
            let settings = frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 128, 0, 4, 0, 1, 0, 0]);
            let ack = frame(SETTINGS, ACK, 0, []);
            return vec![(0, [PREFACE, &settings].concat()), (1, [&settings[..], &ack].concat()), (0, ack)];
        }
        let first = (round - 1) * AT_ONCE;
        let count = workload.each.saturating_sub(first).min(AT_ONCE);
        let numbers: Vec<u32> = (first..first + count).collect();
        let mut talk: Talk = numbers.iter().map(|n| (0, self.request(workload, connection, *n))).collect();
        // Every third of them, over and over: all, since three and ten have no common divisor.
        let order = (0..count).map(|i| numbers[(i * 3 % count) as usize]);
        if count == AT_ONCE {
            talk.extend(order.map(|n| (1, self.response(workload, connection, n))));
        } else {
            talk.extend(numbers.iter().map(|n| (1, self.response(workload, connection, *n))));
        }
        talk
    }

    fn block(&mut self, connection: u32, side: usize, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            let huffman = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE | Encoder::BEST_FORMAT;
            let kept = if matches!(*name, ":path" | "cookie" | "content-length") { 0 } else { Encoder::WITH_INDEXING };
            let field = (name.as_bytes().to_vec(), value.as_bytes().to_vec(), huffman | kept);
            self.encoders[connection as usize][side].encode(field, &mut block).expect("a field");
        }
        block
    }

    fn message(&mut self, connection: u32, side: usize, n: u32, fields: &[(&str, &str)], body: u32) -> Vec<u8> {
        let block = self.block(connection, side, fields);
        let end = if body == 0 { END_STREAM } else { 0 };
        let mut out = frame(HEADERS, END_HEADERS | end, stream(n), &block);
        if body != 0 {
            out.extend(frame(DATA, END_STREAM, stream(n), &self.pool[..body as usize]));
        }
        out
    }

    fn request(&mut self, workload: &Workload, connection: u32, n: u32) -> Vec<u8> {
        let plan = workload.plan(connection, n);
        let length = plan.request_body.to_string();
        let mut fields = vec![
            (":method", plan.method),
            (":path", &*plan.target),
            (":scheme", "http"),
            (":authority", "shop.example.test"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("cookie", "session=0123456789abcdef0123456789abcdef"),
        ];
        if plan.request_body != 0 {
            fields.push(("content-length", &length));
        }
        self.message(connection, 0, n, &fields, plan.request_body)
    }

    fn response(&mut self, workload: &Workload, connection: u32, n: u32) -> Vec<u8> {
        let Plan { status, response_body, .. } = workload.plan(connection, n);
        let (status, length, tag) = (status.to_string(), response_body.to_string(), format!("\"{response_body:x}\""));
        let mut fields = vec![
            (":status", &*status),
            ("server", "nginx/1.22.1"),
            ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
            ("content-type", "text/html; charset=utf-8"),
            ("etag", &*tag),
            ("cache-control", "max-age=3600, must-revalidate"),
            ("vary", "Accept-Encoding"),
        ];
        if response_body != 0 {
            fields.push(("content-length", &*length));
        }
        self.message(connection, 1, n, &fields, response_body)
    }
}
