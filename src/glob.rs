//! A glob is a pattern in which `*` stands for any bytes and `?` for any one byte.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<u8>);

impl Glob {
    /// The pattern with this text.
    #[must_use]
    pub(crate) fn new(pattern: &[u8]) -> Self {
        Self(pattern.to_vec())
    }

    /// Whether this byte is in the pattern.
    #[must_use]
    pub(crate) fn contains(&self, byte: u8) -> bool {
        self.0.contains(&byte)
    }

    /// Whether the pattern matches all of `text`, in at most as many steps as the product of both lengths.
    #[must_use]
    pub(crate) fn fits(&self, text: &[u8]) -> bool {
        let pattern = &self.0;
        let (mut at, mut taken) = (0, 0);
        // Index of the last star in the pattern, and of the end of what it stands for in the text.
        let mut star: Option<(usize, usize)> = None;
        while taken < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, taken));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || Some(byte) == text.get(taken) => {
                    at += 1;
                    taken += 1;
                }
                _ => {
                    let Some((star_at, star_end)) = star else { return false };
                    star = Some((star_at, star_end + 1));
                    (at, taken) = (star_at + 1, star_end + 1);
                }
            }
        }
        pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obvious model of a glob.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| model(rest, &text[taken..])),
            ([b'?', rest @ ..], [_, after @ ..]) => model(rest, after),
            ([byte, rest @ ..], [same, after @ ..]) if byte == same => model(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_agree_with_the_model(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let glob = Glob::new(pattern.as_bytes());
            prop_assert_eq!(glob.fits(text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
