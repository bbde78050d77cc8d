//! What only transactions of HTTP/2 have.

use super::{TextRange, Transaction};
use crate::http::flags::Flags;

/// What only transactions of HTTP/2 have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Http2 {
    /// Number of its stream.
    pub(crate) stream: u32,
    /// Code of the error with which the stream was reset.
    pub(crate) error: Option<u32>,
    pub(crate) scheme: TextRange,
    /// It is a call of gRPC.
    pub(crate) grpc: bool,
    pub(crate) grpc_status: TextRange,
    pub(crate) grpc_message: TextRange,
    pub(crate) grpc_timeout: TextRange,
    /// Messages of gRPC in the request and in the response.
    pub(crate) messages: [Option<u32>; 2],
}

impl Http2 {
    /// All its texts.
    pub(crate) fn texts(&mut self) -> [&mut TextRange; 4] {
        [&mut self.scheme, &mut self.grpc_status, &mut self.grpc_message, &mut self.grpc_timeout]
    }
}

impl Transaction {
    /// Number of its stream on the connection, in HTTP/2.
    #[must_use]
    pub fn stream(&self) -> Option<u32> {
        self.http2.as_ref().map(|http2| http2.stream)
    }

    /// Code of the error with which its stream was reset (RFC 9113, section 7), unless that was after the response.
    #[must_use]
    pub fn stream_error(&self) -> Option<u32> {
        self.http2.as_ref().and_then(|http2| http2.error)
    }

    /// Scheme of the target, where the request names it: in HTTP/2.
    #[must_use]
    pub fn named_scheme(&self) -> Option<&[u8]> {
        self.http2.as_ref().and_then(|http2| self.text_of(http2.scheme))
    }

    /// A copy of a request that was upgraded to HTTP/2, without the answer to the upgrade.
    pub(crate) fn upgraded(&self) -> Self {
        let kept = self.kept.iter().filter(|kept| kept.of_request).copied().collect();
        Self {
            http2: Some(Box::new(Http2 { stream: 1, ..Http2::default() })),
            kept,
            response: None,
            status: 0,
            reason: TextRange::default(),
            ..self.clone()
        }
    }

    /// Takes its place on another connection: that of a transaction which was opened there.
    pub(crate) fn move_to(&mut self, place: &Self) {
        (self.conn, self.seq, self.flags) = (place.conn, place.seq, place.flags);
        self.outer.clone_from(&place.outer);
    }

    pub(crate) fn note_stream_error(&mut self, code: u64) {
        if self.flags.intersects(Flags::STREAM_RESET | Flags::NOT_PROCESSED)
            && let Some(http2) = &mut self.http2
        {
            http2.error = u32::try_from(code).ok();
        }
    }

    pub(crate) fn note_messages(&mut self, of_request: bool, messages: Option<u32>) {
        if let Some(http2) = &mut self.http2
            && let Some(count) = http2.messages.get_mut(usize::from(!of_request))
        {
            *count = messages;
        }
    }
}
