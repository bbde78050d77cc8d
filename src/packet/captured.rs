//! The captured part of a layer, and how much of its end was not captured.

/// Captured bytes of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Captured<'a> {
    pub(super) data: &'a [u8],
    /// Bytes behind `data` that were on the wire and that the snap length cut.
    pub(super) missing: u32,
}

impl<'a> Captured<'a> {
    /// Bytes of a frame of which `original` were on the wire.
    pub(super) fn of_frame(data: &'a [u8], original: u32) -> Self {
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self { data, missing: original.saturating_sub(captured) }
    }

    /// A layer that was captured whole.
    pub(super) fn whole(data: &'a [u8]) -> Self {
        Self { data, missing: 0 }
    }

    /// Its first `length` bytes, as a length field gives them. Padding behind them is dropped; bytes that are not there
    /// are missing, even if the frame's original length does not say so (some taps shorten frames).
    pub(super) fn limit(self, length: u32) -> Self {
        match self.data.get(..length as usize) {
            Some(data) => Self { data, missing: 0 },
            // Cannot truncate: the data is shorter than `length`.
            None => Self { data: self.data, missing: length - u32::try_from(self.data.len()).unwrap_or(length) },
        }
    }

    /// What is behind a header of `length` bytes; `None` if the header was not captured whole.
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
        assert_eq!(Captured::whole(b"abcdef").limit(4), Captured::whole(b"abcd"));
    }

    #[test]
    fn a_limit_counts_what_is_missing() {
        assert_eq!(Captured::of_frame(b"abc", 10).limit(8), Captured { data: b"abc", missing: 5 });
        assert_eq!(Captured::whole(b"abc").limit(8), Captured { data: b"abc", missing: 5 });
    }

    #[test]
    fn a_header_that_was_cut_has_nothing_behind_it() {
        assert_eq!(Captured::of_frame(b"abc", 10).behind(4), None);
        assert_eq!(Captured::of_frame(b"abc", 10).behind(3), Some(Captured { data: b"", missing: 7 }));
    }
}
