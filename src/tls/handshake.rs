//! A handshake message has a type and a length of its own (RFC 8446 section 4, RFC 5246 section 7.4). Messages do not follow
//! records: one may lie in many, and many in one.
//!
//! [`Messages`] puts them together. It keeps only messages that are read, up to [`MAX_MESSAGE`] bytes; all others,
//! certificates above all, are skipped by their length, which may be 16 MiB and costs no memory.

use super::client_hello::ClientHello;
use super::server_hello::{EncryptedExtensions, ServerHello};
use super::wire::Cursor;

/// The longest message that is read. A ClientHello with post-quantum key shares has 2 KiB.
pub const MAX_MESSAGE: usize = 32 * 1024;
/// Type and length.
const HEADER: usize = 4;

/// A message, as far as it is of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the standard names them")]
pub enum Message {
    ClientHello(Box<ClientHello>),
    ServerHello(Box<ServerHello>),
    EncryptedExtensions(EncryptedExtensions),
    NewSessionTicket,
    EndOfEarlyData,
    Certificate,
    Finished,
    KeyUpdate,
    /// Of another type, with its number.
    Other(u8),
    /// It is too long, or not as the standard says; with the number of its type.
    Unreadable(u8),
}

impl Message {
    /// Reads the body of a message.
    #[must_use]
    pub fn read(kind: u8, body: &[u8]) -> Self {
        let read = match kind {
            1 => ClientHello::read(body).map(|hello| Self::ClientHello(Box::new(hello))),
            2 => ServerHello::read(body).map(|hello| Self::ServerHello(Box::new(hello))),
            8 => EncryptedExtensions::read(body).map(Self::EncryptedExtensions),
            _ => Some(Self::skipped(kind)),
        };
        read.unwrap_or(Self::Unreadable(kind))
    }

    /// A message whose body is not read.
    const fn skipped(kind: u8) -> Self {
        match kind {
            4 => Self::NewSessionTicket,
            5 => Self::EndOfEarlyData,
            11 => Self::Certificate,
            20 => Self::Finished,
            24 => Self::KeyUpdate,
            _ => Self::Other(kind),
        }
    }

    const fn is_read(kind: u8) -> bool {
        matches!(kind, 1 | 2 | 8)
    }
}

/// Puts the messages of one side together. It keeps at most [`MAX_MESSAGE`] bytes.
#[derive(Debug, Default)]
pub struct Messages {
    /// A partial message: of one that is read its beginning, of one that is skipped at most its header.
    partial: Vec<u8>,
    /// Bytes of a skipped message that are still to come.
    skip: usize,
    /// What that message is.
    skipped: Option<Message>,
}

impl Messages {
    /// The next message that ends in `input`, which loses the bytes that were used. `None`: all were.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Message> {
        self.next_raw(input, &mut |_| {})
    }

    /// The same; `raw` is given each hello as it is, with its header.
    pub(super) fn next_raw(&mut self, input: &mut &[u8], raw: &mut impl FnMut(&[u8])) -> Option<Message> {
        loop {
            if let Some(message) = self.skipped.take() {
                let (_, rest) = input.split_at_checked(self.skip).unwrap_or((input, &[]));
                self.skip = self.skip.saturating_sub(input.len());
                *input = rest;
                if self.skip > 0 {
                    self.skipped = Some(message);
                    return None;
                }
                return Some(message);
            }
            if self.partial.is_empty() {
                // Most messages lie in one record, and are read where they are.
                let before = *input;
                if let Some((kind, body)) = whole(input) {
                    if is_hello(kind) {
                        raw(before.get(..HEADER + body.len()).unwrap_or_default());
                    }
                    return Some(Message::read(kind, body));
                }
            }
            if input.is_empty() {
                return None;
            }
            let (kind, length) = match (self.fill(HEADER, input), header(&self.partial)) {
                (true, Some(header)) => header,
                _ => return None,
            };
            if !Message::is_read(kind) || length > MAX_MESSAGE - HEADER {
                self.partial = Vec::new();
                self.skip = length;
                let read = Message::is_read(kind);
                self.skipped = Some(if read { Message::Unreadable(kind) } else { Message::skipped(kind) });
                continue;
            }
            if !self.fill(HEADER + length, input) {
                return None;
            }
            let whole = std::mem::take(&mut self.partial);
            if is_hello(kind) {
                raw(&whole);
            }
            return Some(Message::read(kind, whole.get(HEADER..).unwrap_or_default()));
        }
    }

    /// Moves bytes from the input until the partial message has so many; whether it has.
    fn fill(&mut self, length: usize, input: &mut &[u8]) -> bool {
        let missing = length.saturating_sub(self.partial.len()).min(input.len());
        let (more, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.partial.extend_from_slice(more);
        *input = rest;
        self.partial.len() >= length
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.skipped.is_some() || !self.partial.is_empty()
    }

    /// Memory that is held, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.partial.capacity()
    }
}

const fn is_hello(kind: u8) -> bool {
    matches!(kind, 1 | 2)
}

/// Type and length of a message.
fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, length @ ..] = Cursor(bytes).array::<HEADER>()?;
    let [high, middle, low] = length.map(usize::from);
    Some((kind, (high << 16) | (middle << 8) | low))
}

/// Takes a message that is wholly there, and not too long to be read.
fn whole<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (kind, length) = header(input)?;
    if length > MAX_MESSAGE - HEADER {
        return None;
    }
    let mut cursor = Cursor(input);
    cursor.take(HEADER)?;
    let body = cursor.take(length)?;
    *input = cursor.0;
    Some((kind, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let length_bytes = u32::try_from(length).unwrap().to_be_bytes();
        [&[kind], &length_bytes[1..], &vec![7; length]].concat()
    }

    fn all(messages: &mut Messages, pieces: &[&[u8]]) -> Vec<Message> {
        let mut out = vec![];
        for piece in pieces {
            let mut input = *piece;
            while let Some(message) = messages.next(&mut input) {
                out.push(message);
            }
            assert!(input.is_empty());
            assert!(messages.partial.len() < MAX_MESSAGE);
        }
        out
    }

    #[test]
    fn messages_do_not_follow_records() {
        let stream = [
            message(8, 2),
            message(11, 70_000),
            message(15, 0),
            message(8, MAX_MESSAGE),
            message(20, 32),
            message(4, 200),
            message(24, 1),
        ]
        .concat();
        let wanted = [
            Message::Unreadable(8),
            Message::Certificate,
            Message::Other(15),
            Message::Unreadable(8),
            Message::Finished,
            Message::NewSessionTicket,
            Message::KeyUpdate,
        ];
        for size in [1, 2, 3, 4, 5, 16_384, stream.len()] {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let mut messages = Messages::default();
            assert_eq!(all(&mut messages, &pieces), wanted, "in pieces of {size}");
            assert!(!messages.is_inside());
        }
    }

    #[test]
    fn a_skipped_message_costs_no_memory() {
        let mut messages = Messages::default();
        let mut input: &[u8] = &[11, 255, 255, 255];
        assert_eq!(messages.next(&mut input), None);
        for _ in 0..100 {
            let mut input: &[u8] = &[0; 16_384];
            assert_eq!(messages.next(&mut input), None);
        }
        assert!(messages.is_inside());
        assert_eq!(messages.memory(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same(
            stream in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(8), any::<u8>()], 0..400),
            size in 1_usize..50,
        ) {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let whole = all(&mut Messages::default(), &[&stream]);
            prop_assert_eq!(all(&mut Messages::default(), &pieces), whole);
        }
    }
}
