//! Times, addresses and numbers as they are written in a line.

use std::io::Write;
use std::net::IpAddr;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A calendar time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Year; the range of 64-bit nanoseconds is 1677 to 2262.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// Nanoseconds within the second.
    pub nanosecond: u32,
}

impl Calendar {
    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub(super) fn new(time: i64) -> Self {
        let (seconds, nanosecond) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
        let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date(days);
        let small = |value: i64| {
            debug_assert!(u32::try_from(value).is_ok(), "all are positive and small by construction");
            u32::try_from(value).unwrap_or(0)
        };
        Self {
            year: small(year),
            month: small(month),
            day: small(day),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
            nanosecond: small(nanosecond),
        }
    }
}

/// Year, month and day of a day number since 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that a leap day comes last; 400 of them have 146,097 days.
const fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let from_march_0 = days + 719_468;
    let (era, day_of_era) = (from_march_0.div_euclid(ERA), from_march_0.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Appends `value` in decimal with at least `width` digits.
pub(super) fn padded(value: u32, width: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

/// Appends `value` in decimal.
pub(super) fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a byte's value in decimal, for addresses: a third fewer instructions than [`number`], whose digits are copied.
fn small(value: u8, out: &mut Vec<u8>) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// Appends RFC 3339 in UTC with microseconds: `2026-01-02T03:04:05.123456Z`.
pub(crate) fn rfc3339(time: i64, out: &mut Vec<u8>) {
    let Calendar { year, month, day, hour, minute, second, nanosecond } = Calendar::new(time);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |from: usize, to: usize, mut value: u32| {
        for digit in text.get_mut(from..to).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 7, month);
    put(8, 10, day);
    put(11, 13, hour);
    put(14, 16, minute);
    put(17, 19, second);
    put(20, 26, nanosecond / 1000);
    out.extend_from_slice(&text);
}

/// Appends seconds since the Unix epoch with six decimals.
pub(super) fn epoch(time: i64, out: &mut Vec<u8>) {
    let micros = time.div_euclid(1000);
    if micros < 0 {
        out.push(b'-');
    }
    let micros = micros.unsigned_abs();
    number(micros / 1_000_000, out);
    out.push(b'.');
    padded(u32::try_from(micros % 1_000_000).unwrap_or(0), 6, out);
}

/// Appends an address (RFC 5952 for IPv6).
pub(super) fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            small(a, out);
            for byte in [b, c, d] {
                out.push(b'.');
                small(byte, out);
            }
        }
        IpAddr::V6(ip) => write!(out, "{ip}").unwrap_or_default(), // a Vec takes everything
    }
}

/// A number with a comma before every three digits, for people.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(time: i64) -> String {
        let mut out = Vec::new();
        rfc3339(time, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(stamp(951_827_696_123_456_789), "2000-02-29T12:34:56.123456Z");
        assert_eq!(stamp(1_767_225_599_999_999_999), "2025-12-31T23:59:59.999999Z");
        assert_eq!(stamp(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(stamp(i64::MAX), "2262-04-11T23:47:16.854775Z");
        assert_eq!(stamp(i64::MIN), "1677-09-21T00:12:43.145224Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(-200_000);
        for days in -199_999..200_000 {
            let (year, month, day) = date(days);
            let next = match before {
                (y, m, d) if day == d + 1 => (y, m, d + 1),
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) => {
                    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
                    let last = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                    assert_eq!(d, last[usize::try_from(m - 1).unwrap()]);
                    (y, m + 1, 1)
                }
            };
            assert_eq!((year, month, day), next);
            before = next;
        }
    }

    #[test]
    fn epoch_seconds_have_six_decimals() {
        let mut out = Vec::new();
        epoch(1_000_000_001_500_000_000, &mut out);
        assert_eq!(out, b"1000000001.500000");
        out.clear();
        epoch(-1_500_000_000, &mut out);
        assert_eq!(out, b"-1.500000");
    }

    #[test]
    fn addresses_are_written_as_usual() {
        for text in ["0.9.10.99", "100.101.200.255", "10.0.200.1", "2001:db8::1", "::ffff:1.2.3.4"] {
            let mut out = Vec::new();
            address(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
