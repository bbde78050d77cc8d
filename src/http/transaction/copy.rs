//! Copies of transactions that outlive them: bounded, and into memory that is there already.

use super::{Kept, TextRange, Transaction};

/// The most bytes of texts that a copy has.
pub(crate) const MAX_COPY: usize = 4096;
/// The most headers that a copy has.
const MAX_HEADERS: usize = 16;
/// The most bytes of a target that a copy has, if it has not all texts.
const LONG_TARGET: usize = 1024;
/// The same of any other text.
const LONG_TEXT: usize = 256;
/// The most bytes of a body that a copy has, where its texts leave room.
const LONG_BODY: usize = 1024;

impl Transaction {
    /// Becomes a copy of another. If its texts are longer than [`MAX_COPY`] together, or it has too many headers, texts are cut
    /// and headers left out.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let (mut text, mut kept) = (std::mem::take(&mut self.text), std::mem::take(&mut self.kept));
        text.clear();
        kept.clear();
        let whole = other.text.len() <= MAX_COPY && other.kept.len() <= MAX_HEADERS;
        if whole {
            text.reserve_exact(other.text.len());
            text.extend_from_slice(&other.text);
            kept.extend_from_slice(&other.kept);
        }
        let (outer, secured, http2) = (other.outer.clone(), other.secured.clone(), other.http2.clone());
        let bodies = other
            .bodies
            .as_ref()
            .map(|bodies| Box::new(bodies.abridged(LONG_BODY.min(MAX_COPY.saturating_sub(other.text.len()) / 2))));
        let processes = other.processes.clone();
        *self = Self { text, kept, outer, secured, http2, bodies, processes, ..*other };
        if !whole {
            self.abridge(other);
        }
    }

    #[cold]
    fn abridge(&mut self, other: &Self) {
        self.text.reserve_exact(MAX_COPY);
        let mut copy = |range: TextRange, limit: usize| {
            let text = other.read(range);
            let room = MAX_COPY.saturating_sub(self.text.len());
            let text = text.get(..limit.min(room)).unwrap_or_else(|| text.get(..room).unwrap_or(text));
            let start = self.text.len();
            self.text.extend_from_slice(text);
            TextRange { start: u32::try_from(start).unwrap_or(0), len: u32::try_from(text.len()).unwrap_or(0) }
        };
        self.protocol = copy(other.protocol, LONG_TEXT);
        self.method = copy(other.method, LONG_TEXT);
        self.target = copy(other.target, LONG_TARGET);
        self.route = copy(other.route, LONG_TARGET);
        self.host = copy(other.host, LONG_TEXT);
        self.user_agent = copy(other.user_agent, LONG_TEXT);
        self.referer = copy(other.referer, LONG_TEXT);
        self.origin = copy(other.origin, LONG_TEXT);
        self.reason = copy(other.reason, LONG_TEXT);
        self.interim_reason = copy(other.interim_reason, LONG_TEXT);
        self.trace = copy(other.trace, LONG_TEXT);
        if let Some(http2) = &mut self.http2 {
            for text in http2.texts() {
                *text = copy(*text, LONG_TEXT);
            }
        }
        for header in other.kept.iter().take(MAX_HEADERS) {
            if other.read(header.name).len() > LONG_TEXT {
                continue;
            }
            let (name, value) = (copy(header.name, LONG_TEXT), copy(header.value, LONG_TEXT));
            self.kept.push(Kept { name, value, ..*header });
        }
        self.flags |= super::Flags::TEXT_CUT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Settings;
    use crate::http::test_wire::Wire;

    #[test]
    fn a_copy_is_the_same_and_a_long_one_is_cut() {
        let headers = vec!["x-a".to_owned()];
        let mut wire = Wire::new(Settings { headers, ..Settings::default() });
        wire.ask(1, "GET /a HTTP/1.1\r\nHost: h\r\nX-A: b", 0).end(0, 1, 0, 0).reply(1, 200, 3);
        let mut copy = Transaction::empty();
        copy.copy_from(wire.last());
        assert_eq!(format!("{copy:?}"), format!("{:?}", wire.last()));
        copy.copy_from(Wire::new(Settings::default()).call(3, "5").last());
        let call = copy.grpc().map(|call| (call.service.to_vec(), call.status));
        assert_eq!((copy.stream(), call), (Some(3), Some((b"pkg.Greeter".to_vec(), Some(5)))));
        let (target, many) = ("x".repeat(7000), "X-A: c\r\n".repeat(40));
        let many = many + "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n";
        wire.ask(2, format!("GET /{target} HTTP/1.1\r\n{many}Host: h"), 0).end(0, 2, 0, 0).reply(2, 200, 3);
        copy.copy_from(wire.last());
        assert!(copy.size() <= size_of::<Transaction>() + MAX_COPY + MAX_HEADERS * size_of::<Kept>());
        assert_eq!((copy.target().unwrap().len(), copy.host().unwrap()), (LONG_TARGET, &b"h"[..]));
        assert_eq!(copy.trace_id(), Some(&b"0123456789abcdef0123456789abcdef"[..]));
        assert_eq!(copy.headers(true).count(), MAX_HEADERS);
        assert!(copy.headers(true).all(|header| header == (b"x-a", b"c")));
        assert!(copy.flags.intersects(super::super::Flags::TEXT_CUT));
    }
}
