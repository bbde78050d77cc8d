//! A span is the captured part of something on the wire, and how much of its end was not captured.

/// Captured bytes of a layer, and the number of wire bytes behind them that the snap length cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span<'a> {
    pub(super) data: &'a [u8],
    pub(super) missing: u32,
}

impl<'a> Span<'a> {
    /// Bytes of a frame of which `original` were on the wire.
    pub(super) fn of_frame(data: &'a [u8], original: u32) -> Self {
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self { data, missing: original.saturating_sub(captured) }
    }

    /// All of something.
    pub(super) fn whole(data: &'a [u8]) -> Self {
        Self { data, missing: 0 }
    }

    /// What a length field says is its own: padding behind it goes, and what should be there and is not is missing,
    /// whether the frame admits that it was cut or not (some taps shorten frames and say nothing).
    pub(super) fn limit(self, length: u32) -> Self {
        match self.data.get(..length as usize) {
            Some(data) => Self { data, missing: 0 },
            // Cannot truncate: the data is shorter than `length`.
            None => Self { data: self.data, missing: length - u32::try_from(self.data.len()).unwrap_or(length) },
        }
    }

    /// What is behind a header of `length` bytes that was captured whole; `None` if it was not.
    pub(super) fn behind(self, length: usize) -> Option<Self> {
        Some(Self { data: self.data.get(length..)?, missing: self.missing })
    }

    /// Length on the wire.
    pub(super) fn wire_len(self) -> u64 {
        self.data.len() as u64 + u64::from(self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_trims_padding() {
        assert_eq!(Span::whole(b"abcdef").limit(4), Span::whole(b"abcd"));
    }

    #[test]
    fn a_limit_tells_what_is_missing() {
        assert_eq!(Span::of_frame(b"abc", 10).limit(8), Span { data: b"abc", missing: 5 });
        assert_eq!(Span::whole(b"abc").limit(8), Span { data: b"abc", missing: 5 });
    }

    #[test]
    fn a_header_that_was_cut_has_nothing_behind_it() {
        assert_eq!(Span::of_frame(b"abc", 10).behind(4), None);
        assert_eq!(Span::of_frame(b"abc", 10).behind(3), Some(Span { data: b"", missing: 7 }));
    }
}
