//! A message is an HTTP request or response as a test writes it, with what is known of it without parsing.

use super::random::Random;

#[derive(Debug, Clone)]
pub struct Message {
    /// Up to and with the empty line.
    pub head: Vec<u8>,
    /// Body as it goes over the wire, chunk framing included.
    pub body: Vec<u8>,
    /// Body bytes without chunk framing.
    pub decoded: u64,
}

impl Message {
    /// Any start line, no headers.
    pub fn start(line: &str) -> Self {
        Self { head: format!("{line}\r\n\r\n").into_bytes(), body: vec![], decoded: 0 }
    }

    /// Exactly these bytes as head.
    pub fn raw(head: impl AsRef<[u8]>) -> Self {
        Self { head: head.as_ref().to_vec(), body: vec![], decoded: 0 }
    }

    pub fn get(target: &str) -> Self {
        Self::start(&format!("GET {target} HTTP/1.1")).header("Host", "example.test")
    }

    pub fn post(target: &str, body: &[u8]) -> Self {
        Self::start(&format!("POST {target} HTTP/1.1")).header("Host", "example.test").body(body)
    }

    /// `status`: code and reason, as in "404 Not Found".
    pub fn response(status: &str) -> Self {
        Self::start(&format!("HTTP/1.1 {status}"))
    }

    /// 200 with a body.
    pub fn ok(body: &[u8]) -> Self {
        Self::response("200 OK").body(body)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.truncate(self.head.len() - 2);
        self.head.extend(format!("{name}: {value}\r\n\r\n").into_bytes());
        self
    }

    /// A body with a Content-Length.
    pub fn body(self, body: &[u8]) -> Self {
        let length = body.len().to_string();
        self.header("Content-Length", &length).bytes(body)
    }

    /// A body that no header announces.
    pub fn bytes(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.decoded = body.len() as u64;
        self
    }

    /// Exactly these bytes as body on the wire, of which `decoded` are the message's.
    pub fn wire(mut self, body: impl AsRef<[u8]>, decoded: u64) -> Self {
        self.body = body.as_ref().to_vec();
        self.decoded = decoded;
        self
    }

    /// A chunked body. Empty pieces are omitted: each would be the last chunk.
    pub fn chunked(self, chunks: &[&[u8]]) -> Self {
        let mut wire = vec![];
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            wire.extend(*chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        let decoded = chunks.iter().map(|c| c.len() as u64).sum();
        self.header("Transfer-Encoding", "chunked").wire(wire, decoded)
    }

    pub fn all(&self) -> Vec<u8> {
        [&self.head[..], &self.body[..]].concat()
    }

    /// The parts of the start line.
    pub fn start_line(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        let line = text.trim_start_matches(['\r', '\n']).lines().next().unwrap_or_default();
        line.splitn(3, ' ').map(str::to_owned).collect()
    }

    /// Value of the first header of a name.
    pub fn value(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        text.trim_start_matches(['\r', '\n']).lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// A command of Redis' protocol.
pub fn redis(words: &[&str]) -> Vec<u8> {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words.collect::<String>()).into_bytes()
}

/// `len` bytes of body that no reader could take for HTTP.
pub fn filler(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"abcdefghijklmnopqrstuvwxyz0123456789\n"[i % 37]).collect()
}

/// A request and an answer of one kind of several: with a length, with chunks, without a body. `usual`: what most requests are.
pub fn varied(
    random: &mut Random,
    target: &str,
    body: &[u8],
    usual: impl FnOnce(&mut Random, Message) -> Message,
) -> (Message, Message) {
    let get = Message::get(target);
    match random.below(8) {
        0 => (
            Message::start(&format!("HEAD {target} HTTP/1.1")).header("Host", "x"),
            Message::response("200 OK").header("Content-Length", "77777"),
        ),
        1 => (get, Message::response("304 Not Modified")),
        2 | 3 => (get, Message::response("200 OK").chunked(&body.chunks(4000).collect::<Vec<_>>())),
        4 => (
            Message::post(target, &filler(random.below(6000) as usize)),
            Message::response("201 Created").body(b"made"),
        ),
        _ => (usual(random, get), Message::ok(body)),
    }
}
