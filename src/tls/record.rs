//! A record is the unit that TLS encrypts: a header of five bytes, and a body (RFC 8446 section 5.1, RFC 5246 section 6.2).
//!
//! Records do not follow segments: one may lie in many, and many in one. [`Records`] finds them in the bytes as they come,
//! and keeps one partial record, no more.

/// Bytes in a header.
pub const HEADER: usize = 5;
/// The most plaintext in a record.
pub const MAX_PLAINTEXT: usize = 1 << 14;
/// The longest body up to TLS 1.2 (RFC 5246 section 6.2.3).
pub const MAX_BODY: usize = MAX_PLAINTEXT + 2048;
/// The longest body in TLS 1.3 (RFC 8446 section 5.2).
pub const MAX_BODY_13: usize = MAX_PLAINTEXT + 256;

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the standard names them")]
pub enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

impl ContentType {
    /// The type with this number. Heartbeats (24, RFC 6520) are not among them: nobody sends them today.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::ApplicationData,
            _ => return None,
        })
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its bytes, which are authenticated with the body in TLS 1.3.
    pub bytes: [u8; HEADER],
    /// What the record says that it carries. An encrypted record of TLS 1.3 always says application data.
    pub kind: ContentType,
    /// Length of the body, from 1 to [`MAX_BODY`].
    pub length: usize,
}

impl Header {
    /// Reads a header; `None` if no implementation would send it. The version's minor number is at most 4, since TLS 1.3
    /// writes 1 or 3 there, and drafts of it wrote 4.
    #[must_use]
    pub fn read(bytes: [u8; HEADER]) -> Option<Self> {
        let [kind, major, minor, high, low] = bytes;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let kind = ContentType::of(kind)?;
        let valid = major == 3 && minor <= 4 && length > 0 && length <= MAX_BODY;
        valid.then_some(Self { bytes, kind, length })
    }

    /// Length of the whole record.
    #[must_use]
    pub const fn record(&self) -> usize {
        HEADER + self.length
    }
}

/// What the next bytes of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// A record with this header.
    Record(Header),
    /// Fewer bytes than a header has.
    Short,
    /// No record.
    Invalid,
}

/// Where a whole record lies.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// At the front of the input.
    InInput,
    /// In this buffer, which was completed by so many bytes of the input.
    Joined(Vec<u8>, usize),
    /// Nowhere yet: all of the input was kept.
    Partial,
}

/// Finds the records of one side of a connection. It keeps at most `HEADER + MAX_BODY` bytes.
#[derive(Debug, Default)]
pub struct Records {
    /// The beginning of a record. Empty, or shorter than the record.
    partial: Vec<u8>,
}

impl Records {
    /// What follows: the partial record with `input` behind it.
    #[must_use]
    pub fn front(&self, input: &[u8]) -> Front {
        let mut bytes = [0; HEADER];
        let mut given = self.partial.iter().chain(input);
        for byte in &mut bytes {
            match given.next() {
                Some(next) => *byte = *next,
                None => return Front::Short,
            }
        }
        Header::read(bytes).map_or(Front::Invalid, Front::Record)
    }

    /// Takes the record whose header [`Records::front`] gave, if all of it is there. `spare`: an empty buffer, which is used if
    /// one is needed, so that a partial record allocates nothing in the long run.
    pub fn take(&mut self, header: &Header, input: &[u8], spare: &mut Vec<u8>) -> Taken {
        let missing = header.record().saturating_sub(self.partial.len());
        if self.partial.is_empty() && input.len() >= missing {
            return Taken::InInput;
        }
        if let Some(end) = input.get(..missing) {
            self.partial.extend_from_slice(end);
            return Taken::Joined(std::mem::take(&mut self.partial), missing);
        }
        self.keep(input, spare);
        Taken::Partial
    }

    /// Keeps the beginning of a record: less of it than its header says, or less than a header.
    pub fn keep(&mut self, input: &[u8], spare: &mut Vec<u8>) {
        if self.partial.capacity() == 0 && !input.is_empty() {
            self.partial = std::mem::take(spare);
        }
        self.partial.extend_from_slice(input);
    }

    /// Forgets the partial record, and says how many bytes it had, and its header if it was seen.
    pub fn forget(&mut self) -> (usize, Option<Header>) {
        let header = match self.front(&[]) {
            Front::Record(header) => Some(header),
            Front::Short | Front::Invalid => None,
        };
        (std::mem::take(&mut self.partial).len(), header)
    }

    /// The beginning of a record that is kept.
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Reads the end of what is kept, behind which the next bytes are put, so that it is in the cache.
    pub(super) fn touch(&self) -> u64 {
        self.partial.last().copied().map_or(0, u64::from)
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.partial.len()
    }

    /// Memory that is held, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.partial.capacity()
    }
}

/// Whether the first bytes of a stream are those of a TLS client or server: a handshake record that begins with a hello.
/// `None`: too few bytes to say.
#[must_use]
pub fn begins_tls(first: &[u8]) -> Option<bool> {
    let fits = |at: usize, wanted: &dyn Fn(u8) -> bool| first.get(at).is_none_or(|byte| wanted(*byte));
    let plausible =
        fits(0, &|b| b == 22) && fits(1, &|b| b == 3) && fits(2, &|b| b <= 4) && fits(5, &|b| b == 1 || b == 2);
    let Some(bytes) = first.first_chunk() else { return if plausible { None } else { Some(false) } };
    match (plausible && Header::read(*bytes).is_some(), first.get(HEADER)) {
        (true, None) => None,
        (plausible, _) => Some(plausible),
    }
}

/// Recognises TLS in the middle of a stream, on one side: two records of application data in a row, the first of them at the
/// start of a segment.
#[derive(Debug, Default, Clone, Copy)]
pub struct Midstream {
    /// Offset at which the second record must begin, once the first was seen.
    next: Option<u64>,
    /// The bytes of its header that were seen so far.
    seen: usize,
}

impl Midstream {
    /// Whether one record was seen, and another has to follow it.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.next.is_some()
    }

    /// Looks at a segment, whose first byte has this offset. True: this is TLS.
    pub fn segment(&mut self, offset: u64, payload: &[u8]) -> bool {
        let is_record = |bytes: &[u8; HEADER]| {
            matches!(bytes, [23, 3, 3, ..]) && Header::read(*bytes).is_some_and(|h| h.length <= MAX_BODY_13)
        };
        if let Some(next) = self.next {
            let Some(skip) = next.checked_sub(offset) else {
                *self = Self::default();
                return self.segment(offset, payload);
            };
            let rest = usize::try_from(skip).ok().and_then(|skip| payload.get(skip..)).unwrap_or_default();
            // The length is not looked at if it lies in the next segment: 17 03 03 at a foretold place is proof enough.
            for byte in rest {
                let fits = match self.seen {
                    0 => *byte == 23,
                    1 | 2 => *byte == 3,
                    _ => return true,
                };
                if !fits {
                    *self = Self::default();
                    return false;
                }
                self.seen += 1;
                self.next = self.next.map(|next| next + 1);
            }
            return false;
        }
        if let Some(first) = payload.first_chunk().filter(|first| is_record(first)) {
            let length = u64::try_from(HEADER).unwrap_or(0) + u64::from(u16::from_be_bytes([first[3], first[4]]));
            self.next = Some(offset + length);
            self.seen = 0;
            return self.segment(offset, payload);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3, high, low], body].concat()
    }

    /// The records in a stream that comes in pieces.
    fn records(pieces: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let (mut reader, mut spare, mut out) = (Records::default(), vec![], vec![]);
        for piece in pieces {
            let mut input = *piece;
            loop {
                match reader.front(input) {
                    Front::Invalid => return None,
                    Front::Short => {
                        reader.keep(input, &mut spare);
                        break;
                    }
                    Front::Record(header) => match reader.take(&header, input, &mut spare) {
                        Taken::Partial => break,
                        Taken::InInput => {
                            out.push(input[..header.record()].to_vec());
                            input = &input[header.record()..];
                        }
                        Taken::Joined(joined, used) => {
                            out.push(joined);
                            input = &input[used..];
                        }
                    },
                }
            }
            assert!(reader.kept() < HEADER + MAX_BODY);
        }
        assert_eq!(reader.kept(), 0);
        Some(out)
    }

    #[test]
    fn records_do_not_follow_segments() {
        let wanted = vec![record(22, &[1; 300]), record(23, &[2]), record(23, &[3; MAX_BODY]), record(21, &[1, 0])];
        let stream = wanted.concat();
        assert_eq!(records(&[&stream]).unwrap(), wanted);
        for size in [1, 2, 3, 4, 5, 6, 7, 304, 305, 306, 1460, 18_437] {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            assert_eq!(records(&pieces).unwrap(), wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn what_no_implementation_sends_is_no_record() {
        for bytes in [[24, 3, 3, 0, 1], [19, 3, 3, 0, 1], [22, 2, 3, 0, 1], [22, 3, 5, 0, 1], [23, 3, 3, 0, 0]] {
            assert_eq!(Records::default().front(&bytes), Front::Invalid, "{bytes:?}");
        }
        let longest = u16::try_from(MAX_BODY).unwrap();
        for (length, valid) in [(longest, true), (longest + 1, false)] {
            let [high, low] = length.to_be_bytes();
            assert_eq!(Header::read([23, 3, 3, high, low]).is_some(), valid);
        }
    }

    #[test]
    fn a_hello_begins_tls() {
        let hello = record(22, &[1; 100]);
        for end in 0..6 {
            assert_eq!(begins_tls(&hello[..end]), None, "{end} bytes");
        }
        assert_eq!(begins_tls(&hello), Some(true));
        for other in ["GET / HTTP/1.1\r\n", "\x16\x03\x01\x00\x00\x01", "\x16\x04", "\x16\x03\x01\x00\x20\x05"] {
            assert_eq!(begins_tls(other.as_bytes()), Some(false), "{other:?}");
        }
    }

    #[test]
    fn midstream_takes_two_records_in_a_row() {
        let two = [record(23, &[0; 2000]), record(23, &[0; 30])].concat();
        let rest = &two[700..];
        for size in [1, 3, 7, 1460, 4000] {
            let mut midstream = Midstream::default();
            let first = midstream.segment(5, &two[..700]);
            let later = rest.chunks(size).scan(705, |at, piece| {
                let found = midstream.segment(*at, piece);
                *at += piece.len() as u64;
                Some(found)
            });
            assert!(!first && later.into_iter().any(|found| found), "pieces of {size}");
        }
        let mut one = [record(23, &[0; 2000]), b"HTTP/1.1 200 OK".to_vec()].concat();
        assert!(!Midstream::default().segment(0, &one));
        one.truncate(2005);
        assert!(!Midstream::default().segment(0, &one));
    }
}
