//! Durations and sizes as people write them: `10ms`, `1.5s`, `64M`, `1GiB`. A number alone has the unit of its option.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A unit's names, of which the first is printed, and how many of the smallest unit it holds.
type Unit = (&'static [&'static str], u64);

/// Units of time, in nanoseconds. A month would be no fixed time.
const TIMES: [Unit; 7] = [
    (&["d"], 86_400_000_000_000),
    (&["h"], 3_600_000_000_000),
    (&["m", "min"], 60_000_000_000),
    (&["s"], 1_000_000_000),
    (&["ms"], 1_000_000),
    (&["us", "\u{b5}s", "\u{3bc}s"], 1_000),
    (&["ns"], 1),
];

/// Units of size, in bytes: powers of 1,024. Names that some read as powers of 1,000 (kB, MB) are refused, not guessed at.
const SIZES: [Unit; 5] = [
    (&["TiB", "T", "t"], 1 << 40),
    (&["GiB", "G", "g"], 1 << 30),
    (&["MiB", "M", "m"], 1 << 20),
    (&["KiB", "K", "k"], 1 << 10),
    (&["B"], 1),
];

/// Digits behind the point: a nanosecond of a second.
const MAX_DECIMALS: usize = 9;

/// Reads a duration within `range`. `unit`: name of the unit of a number alone.
///
/// # Errors
/// What was expected: it is no duration, or not in the range.
pub(super) fn duration(text: &str, unit: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let nanoseconds = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (least, most) = (nanoseconds(range.start()), nanoseconds(range.end()));
    let read = number(text, unit, &TIMES).filter(|time| (least..=most).contains(time));
    read.map(Duration::from_nanos).ok_or_else(|| {
        let (least, most) = (shown(least, &TIMES), shown(most, &TIMES));
        format!("expected a time from {least} to {most}, such as 250us, 10ms or 1.5s (a number alone is in {unit}), got {text:?}")
    })
}

/// Reads a size within `range`, in bytes. `unit`: name of the unit of a number alone.
///
/// # Errors
/// What was expected: it is no size, or not in the range.
pub(super) fn size(text: &str, unit: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    number(text, unit, &SIZES).filter(|size| range.contains(size)).ok_or_else(|| {
        let (least, most) = (shown(*range.start(), &SIZES), shown(*range.end(), &SIZES));
        format!(
            "expected a size from {least} to {most}, such as 4k, 64M or 1GiB in powers of 1024 (a number alone is in {unit}), got \
             {text:?}"
        )
    })
}

/// A decimal number with a unit, in the smallest unit. None if it is none, if it is too large, or if it is no whole number of
/// the smallest unit.
fn number(text: &str, unit: &str, units: &[Unit]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, name) = text.split_at_checked(end)?;
    let name = if name.is_empty() { unit } else { name };
    let (_, scale) = units.iter().find(|(names, _)| names.contains(&name))?;
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    if decimals.is_empty() || decimals.len() > MAX_DECIMALS || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let divisor = 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    let parts = u128::from(decimals.parse::<u64>().ok()?) * u128::from(*scale);
    if parts % divisor != 0 {
        return None;
    }
    let total = u128::from(whole.parse::<u64>().ok()?) * u128::from(*scale) + parts / divisor;
    u64::try_from(total).ok()
}

/// In the largest unit of which it is a whole number.
fn shown(value: u64, units: &[Unit]) -> String {
    let fits = |(_, scale): &&Unit| value >= *scale && value.is_multiple_of(*scale);
    let found = units.iter().find(fits).and_then(|(names, scale)| Some((names.first()?, value / scale)));
    found.map_or_else(|| value.to_string(), |(name, count)| format!("{count}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_that_of_its_option() {
        let read =
            |text: &str| duration(text, "ms", Duration::ZERO..=Duration::from_secs(86_400)).map(|time| time.as_nanos());
        for (text, expected) in [
            ("10ms", 10_000_000),
            ("10", 10_000_000),
            ("1.5", 1_500_000),
            ("1.5s", 1_500_000_000),
            ("250us", 250_000),
            ("250\u{b5}s", 250_000),
            ("250\u{3bc}s", 250_000),
            ("7ns", 7),
            ("0", 0),
            ("2m", 120_000_000_000),
            ("2min", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1d", 86_400_000_000_000),
            ("0.000000001s", 1),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in
            ["", "ms", "-1", "1 s", "1,5s", "1.", ".5", "1.2.3", "1e3", "10MS", "10sec", "0.5ns", "1.0000000000", "25h"]
        {
            let said = read(text).expect_err(text);
            assert!(
                said.starts_with("expected a time from 0 to 1d, such as 250us, 10ms or 1.5s") && said.contains("in ms"),
                "{said}"
            );
        }
        assert!(read("99999999999999999999").is_err() && read("18446744073709551615d").is_err(), "too large");
    }

    #[test]
    fn a_size_is_in_powers_of_1024() {
        let read = |text: &str| size(text, "MiB", 0..=1 << 40);
        for (text, expected) in [
            ("64", 64 << 20),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("4k", 4096),
            ("4K", 4096),
            ("1.5k", 1536),
            ("1GiB", 1 << 30),
            ("1T", 1 << 40),
            ("0B", 0),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", "k", "-4k", "4 k", "4kB", "4MB", "2T", "0.3B", "lots", "16777216T"] {
            let said = read(text).expect_err(text);
            assert!(
                said.starts_with("expected a size from 0 to 1TiB, such as 4k, 64M or 1GiB") && said.contains("in MiB"),
                "{said}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_in_the_range(text in "[0-9.]{0,25}[a-zA-Z\u{b5}]{0,3}") {
            let most = Duration::from_secs(60);
            proptest::prop_assert!(duration(&text, "s", Duration::ZERO..=most).map_or(true, |time| time <= most));
            proptest::prop_assert!(size(&text, "KiB", 1..=5).map_or(true, |bytes| (1..=5).contains(&bytes)));
        }

        #[test]
        fn whole_numbers_are_exact(count in 0_u64..1 << 22) {
            for (names, scale) in SIZES {
                for name in names {
                    proptest::prop_assert_eq!(size(&format!("{count}{name}"), "MiB", 0..=u64::MAX), Ok(count * scale));
                }
            }
        }
    }
}
