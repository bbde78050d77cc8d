//! A sequence number names a byte of a stream modulo 2^32 (RFC 9293, section 3.4); an offset, without wrapping.

/// A TCP sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seq(pub(super) u32);

impl Seq {
    /// The number `offset` bytes further on.
    pub(super) const fn plus(self, offset: u64) -> Self {
        Self(self.0.wrapping_add((offset & 0xffff_ffff) as u32))
    }

    /// How far `self` is behind `other` in the stream, by the shorter way: negative if it is before it.
    pub(super) const fn since(self, other: Self) -> i64 {
        self.0.wrapping_sub(other.0).cast_signed() as i64
    }

    /// How far `self` is behind `other` in the stream, forwards only.
    pub(super) const fn forward_from(self, other: Self) -> u64 {
        self.0.wrapping_sub(other.0) as u64
    }

    /// The offset of this number in a stream whose offset 0 has the number `base`: of all candidates, the nearest to
    /// `near`. Negative: before the stream's start.
    pub(super) const fn offset(self, base: Self, near: u64) -> i64 {
        near.cast_signed().wrapping_add(self.since(base.plus(near)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_continues_where_the_number_wraps() {
        let base = Seq(u32::MAX - 1);
        assert_eq!(base.plus(5), Seq(3));
        assert_eq!(Seq(3).offset(base, 0), 5);
        assert_eq!(Seq(3).offset(base, 1 << 32), (1 << 32) + 5);
        assert_eq!(Seq(3).offset(base, 7 << 32), (7 << 32) + 5);
    }

    #[test]
    fn an_offset_before_the_start_is_negative() {
        assert_eq!(Seq(90).offset(Seq(100), 0), -10);
        assert_eq!(Seq(u32::MAX).offset(Seq(2), 0), -3);
    }

    #[test]
    fn half_the_numbers_are_before_and_half_behind() {
        assert_eq!(Seq(0x7fff_ffff).since(Seq(0)), 0x7fff_ffff);
        assert_eq!(Seq(0x8000_0000).since(Seq(0)), -0x8000_0000);
        assert_eq!(Seq(5).forward_from(Seq(10)), (1 << 32) - 5);
    }

    #[test]
    fn offsets_survive_any_base_and_distance() {
        for base in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            for near in [0_u64, 1, 1 << 31, (1 << 32) - 1, 1 << 40] {
                for step in [0_u64, 1, 1460, 1 << 30] {
                    let seq = Seq(base).plus(near + step);
                    assert_eq!(seq.offset(Seq(base), near), (near + step).cast_signed());
                }
            }
        }
    }
}
