//! A moment as it stands in the log (RFC 3339), or the beginning of one: a day, a minute.

/// First and last microsecond since the Unix epoch of what is written: `2026-01-02` is the whole day. With a time of day there may
/// be `Z` behind it; all times are UTC. The letter T may be a blank or small.
pub(super) fn moment(text: &str) -> Option<(i64, i64)> {
    const SECOND: i64 = 1_000_000;
    let text = text.strip_suffix(['Z', 'z']).filter(|text| text.len() > 10).unwrap_or(text);
    let (date, time) = text.split_at_checked(10).map(|(date, time)| (date, time.get(1..)))?;
    if text.len() > 10 && !text.get(10..11).is_some_and(|sign| matches!(sign, "T" | "t" | " ")) {
        return None;
    }
    let [year, month, day] = numbers::<3>(date, '-', [4, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let start = days(year, month, day) * 86_400 * SECOND;
    let Some(time) = time else { return Some((start, start + 86_400 * SECOND - 1)) };
    let (clock, fraction) = time.split_once('.').map_or((time, None), |(clock, fraction)| (clock, Some(fraction)));
    let ([hour, minute, second], length) = match clock.len() {
        5 => numbers::<2>(clock, ':', [2, 2]).map(|[hour, minute]| ([hour, minute, 0], 60 * SECOND))?,
        _ => (numbers::<3>(clock, ':', [2, 2, 2])?, SECOND),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let start = start + ((hour * 60 + minute) * 60 + second) * SECOND;
    let Some(fraction) = fraction else { return Some((start, start + length - 1)) };
    if length != SECOND || !(1..=6).contains(&fraction.len()) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length = 10_i64.pow(6 - u32::try_from(fraction.len()).ok()?);
    let start = start + fraction.parse::<i64>().ok()? * length;
    Some((start, start + length - 1))
}

/// Numbers of so many digits, with a sign between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut out = [0; N];
    for (place, digits) in out.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// Days from 1970-01-01 to a day in the Gregorian calendar, whose years are counted from March.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_short_stands_for_all_of_it() {
        const DAY: i64 = 86_400_000_000;
        for (text, first, length) in [
            ("1970-01-01", 0, DAY),
            ("2000-02-29", 951_782_400_000_000, DAY),
            ("2026-01-02T03:04", 1_767_323_040_000_000, 60_000_000),
            ("2026-01-02 03:04:05", 1_767_323_045_000_000, 1_000_000),
            ("2026-01-02t03:04:05.5z", 1_767_323_045_500_000, 100_000),
            ("2026-01-02T03:04:05.123456Z", 1_767_323_045_123_456, 1),
        ] {
            assert_eq!(moment(text), Some((first, first + length - 1)), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-1-2",
            "2026-01-02T",
            "2026-01-02Z",
            "2026-13-01",
            "2026-02-29",
            "2026-01-02T24:00",
            "2026-01-02T3:04",
            "2026-01-02T03:04.5",
            "2026-01-02T03:04:05.",
            "2026-01-02T03:04:05.1234567",
            "2026-01-02T03:04:05+01:00",
            "+026-01-02",
            "1969-12-31",
            "2026-01-02x03:04",
            "2026-01-0\u{e9}",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
