//! Frames and header blocks, as a client or server writes them.

use httlib_hpack::Encoder;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITISED: u8 = 32;

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(of: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend_from_slice(&[of, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, [0, 3, 0, 0, 0, 100])
}

pub(crate) type Field = (Vec<u8>, Vec<u8>);

pub(crate) fn field(name: &str, value: &str) -> Field {
    (name.as_bytes().to_vec(), value.as_bytes().to_vec())
}

/// One direction's encoder: every field is indexed if it can be, and added to the table else.
pub(crate) struct Blocks(pub(crate) Encoder<'static>);

impl Blocks {
    pub(crate) fn new() -> Self {
        Self(Encoder::with_dynamic_size(4096))
    }

    pub(crate) fn fields(&mut self, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        let flags = Encoder::HUFFMAN_NAME | Encoder::HUFFMAN_VALUE | Encoder::WITH_INDEXING | Encoder::BEST_FORMAT;
        for (name, value) in fields {
            self.0.encode((name.clone(), value.clone(), flags), &mut block).unwrap();
        }
        block
    }

    pub(crate) fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let fields: Vec<Field> = fields.iter().map(|(name, value)| field(name, value)).collect();
        self.fields(&fields)
    }

    /// A HEADERS frame.
    pub(crate) fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(fields);
        frame(HEADERS, END_HEADERS | flags, stream, block)
    }

    pub(crate) fn get(&mut self, stream: u32, path: &str) -> Vec<u8> {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", path)];
        self.head(stream, END_STREAM, &fields)
    }
}
