//! Header blocks, as a client or server writes them, and their frames.

use httlib_hpack::Encoder;

pub(crate) use crate::support::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITISED, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

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
