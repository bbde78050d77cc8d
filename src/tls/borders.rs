//! Borders say which plaintext an acknowledgement covers: that of every record which lies wholly below it.

use crate::stream::UNKNOWN;

/// The most borders of a side.
const MAX_BORDERS: usize = 64;

/// The ends of a side's records, in ciphertext and in plaintext.
///
/// The list grows in both, and its first border is at or below every acknowledgement that was asked for. Where borders were
/// left out, an acknowledgement gives an earlier one: what it says was acknowledged always was.
#[derive(Debug, Default)]
pub(super) struct Borders(Vec<(u64, u64)>);

impl Borders {
    /// A record ends here.
    pub(super) fn push(&mut self, ciphertext: u64, plaintext: u64) {
        if self.0.len() >= MAX_BORDERS {
            // The latest are asked for next, the first is the floor.
            let mut at = 0;
            self.0.retain(|_| {
                at += 1;
                at % 2 == 1 || at > MAX_BORDERS * 3 / 4
            });
        }
        self.0.push((ciphertext, plaintext));
    }

    /// The plaintext below this offset of the ciphertext; unknown if that is.
    pub(super) fn plaintext(&mut self, ciphertext: u64) -> u64 {
        if ciphertext == UNKNOWN {
            return UNKNOWN;
        }
        let below = self.0.partition_point(|(end, _)| *end <= ciphertext);
        // Acknowledgements grow: what lies before the last one found is not asked for again, but for a late packet's sake.
        self.0.drain(..below.saturating_sub(2));
        let last = self.0.iter().take_while(|(end, _)| *end <= ciphertext).last();
        last.map_or(0, |(_, plaintext)| *plaintext)
    }

    /// Reads one word, so that it is in the cache.
    pub(super) fn touch(&self) -> u64 {
        self.0.first().map_or(0, |(ciphertext, _)| *ciphertext)
    }

    pub(super) const fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_covers_whole_records() {
        let mut borders = Borders::default();
        assert_eq!(borders.plaintext(500), 0);
        for record in 1..=5 {
            borders.push(record * 100, record * 70);
        }
        for (acked, wanted) in [(99, 0), (100, 70), (250, 140), (499, 280), (500, 350), (9999, 350), (UNKNOWN, UNKNOWN)]
        {
            assert_eq!(borders.plaintext(acked), wanted, "{acked}");
        }
    }

    #[test]
    fn thinned_borders_give_a_floor() {
        let mut borders = Borders::default();
        for record in 1..=100_000 {
            borders.push(record * 100, record * 70);
            assert!(borders.0.len() <= MAX_BORDERS);
        }
        assert_eq!(borders.plaintext(100_000 * 100), 100_000 * 70);
        let mut borders = Borders::default();
        for record in 1..=1000 {
            borders.push(record * 100, record * 70);
        }
        let mut last = 0;
        for acked in (0..100_000).step_by(37) {
            let plaintext = borders.plaintext(acked);
            assert!(plaintext <= acked / 100 * 70 && plaintext >= last);
            last = plaintext;
        }
        assert!(last > 65_000);
    }
}
