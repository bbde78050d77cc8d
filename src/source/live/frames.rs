//! Frames of a live source, lent where the kernel put them.

use std::iter::FusedIterator;

use super::super::Frame;

/// The most frames that are lent at once.
pub const MOST_AHEAD: usize = 32;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) time: i64,
    /// Of its first byte among the bytes of all.
    pub(super) start: usize,
    pub(super) len: u32,
    pub(super) original_len: u32,
}

/// Frames that were read at once, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lent {
    pub(super) frames: u64,
    /// Left out because of their time.
    pub(super) early: u64,
    /// Cannot be where the kernel says that they are.
    pub(super) damaged: u64,
}

/// Frames that lie side by side in memory, at least one and at most [`MOST_AHEAD`].
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    pub(super) spans: std::slice::Iter<'a, Span>,
    pub(super) bytes: &'a [u8],
    pub(super) link: i32,
    pub(super) interface: u32,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        let span = self.spans.next()?;
        let end = span.start.saturating_add(span.len as usize);
        Some(Frame {
            time: span.time,
            link: self.link,
            interface: self.interface,
            // Where a span is was checked when it was made.
            data: self.bytes.get(span.start..end).unwrap_or_default(),
            original_len: span.original_len,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Frames<'_> {}
impl FusedIterator for Frames<'_> {}
