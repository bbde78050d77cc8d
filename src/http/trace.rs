//! A trace context says which trace a request belongs to: the header `traceparent` (W3C Trace Context, level 1, section 3.2).

/// Bytes of version, trace, parent and flags with the dashes between them. What follows in later versions is not kept.
pub(crate) const LEN: usize = 55;

/// Where the parts begin and end.
pub(crate) const TRACE: std::ops::Range<usize> = 3..35;
pub(crate) const PARENT: std::ops::Range<usize> = 36..52;
pub(crate) const FLAGS: std::ops::Range<usize> = 53..55;

/// The first [`LEN`] bytes of a valid value. Of a version that is not known yet, more may follow behind a dash; an invalid value is
/// to be ignored.
pub(crate) fn parse(value: &[u8]) -> Option<&[u8]> {
    let (context, rest) = value.split_at_checked(LEN)?;
    let version = context.get(..2)?;
    let dashes = [2, 35, 52].iter().all(|at| context.get(*at) == Some(&b'-'));
    let is_hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts = [version, context.get(TRACE)?, context.get(PARENT)?, context.get(FLAGS)?];
    let no_zeros =
        [TRACE, PARENT].into_iter().all(|part| context.get(part).is_some_and(|id| id.iter().any(|b| *b != b'0')));
    let ends = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => matches!(rest, [] | [b'-', ..]),
    };
    (dashes && parts.into_iter().all(is_hex) && no_zeros && ends).then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_specification_allows_is_taken() {
        assert_eq!(parse(GOOD.as_bytes()), Some(GOOD.as_bytes()));
        for later in [
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09-more",
        ] {
            assert_eq!(parse(later.as_bytes()), Some(&later.as_bytes()[..LEN]), "{later}");
        }
        let parts = [TRACE, PARENT, FLAGS].map(|part| &GOOD[part]);
        assert_eq!(parts, ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01"]);
    }

    #[test]
    fn what_it_forbids_is_not() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
