//! Content codings (RFC 9110, section 8.4.1) undone, within bounds: of what is given no more is made than is wanted.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Deflate inside zlib (RFC 1950), as it should be, or without.
    Deflate,
    /// Something else, or several codings. Brotli and zstd among them: their decoders would read an attacker's bytes outside of the
    /// sandbox, in C, or are not at hand.
    Other(&'static str),
}

impl Coding {
    /// By the value of `Content-Encoding`.
    pub(super) fn of(value: &[u8]) -> Self {
        let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
        let Some(name) = names.next() else { return Self::Identity };
        if names.next().is_some() {
            return Self::Other("several");
        }
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            b"br" => Self::Other("br"),
            b"zstd" => Self::Other("zstd"),
            b"compress" | b"x-compress" => Self::Other("compress"),
            _ => Self::Other("unknown"),
        }
    }
}

/// What a body, or its front, says: at most `limit` bytes of it, and whether that is all that can be made of it.
///
/// # Errors
/// The name of the coding, if nothing can be made of it.
pub(super) fn decode(coding: Coding, sent: Vec<u8>, limit: usize) -> Result<(Vec<u8>, bool), &'static str> {
    match coding {
        Coding::Identity => Ok((sent, true)),
        Coding::Other(name) => Err(name),
        _ if sent.is_empty() => Ok((sent, true)),
        Coding::Gzip => read(MultiGzDecoder::new(&*sent), limit).ok_or("gzip"),
        Coding::Deflate if is_zlib(&sent) => read(ZlibDecoder::new(&*sent), limit).ok_or("deflate"),
        Coding::Deflate => read(DeflateDecoder::new(&*sent), limit).ok_or("deflate"),
    }
}

/// The head of zlib: the method is 8, and both bytes are a multiple of 31.
fn is_zlib(sent: &[u8]) -> bool {
    sent.first_chunk().is_some_and(|head| head[0] & 15 == 8 && u16::from_be_bytes(*head).is_multiple_of(31))
}

/// Reads until there is no more, something is wrong, or the limit is passed. `None`: nothing came, and something was wrong.
fn read(decoder: impl Read, limit: usize) -> Option<(Vec<u8>, bool)> {
    let mut text = Vec::new();
    let read = decoder.take(limit as u64 + 1).read_to_end(&mut text);
    let whole = read.is_ok() && text.len() <= limit;
    text.truncate(limit);
    (read.is_ok() || !text.is_empty()).then_some((text, whole))
}
