//! Lengths of time as operators write them, in the form that Go programs read: `30s`, `24h`, `1h30m`, `4.8s`, `0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest that can be asked for: a hundred years. Clocks can add it to now without running over.
const SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;
/// Digits after the point that count; more are below a nanosecond for every unit.
const FRACTION_DIGITS_MAX: usize = 14;

/// Units by name, in nanoseconds; the longer of two that begin alike comes first.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A length of time in a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time: expected one such as `30s`, `5m`, `24h` or `1h30m`");
        if text == "0" {
            return Ok(Period(Duration::ZERO));
        }
        if text.is_empty() {
            return Err(wrong());
        }
        let mut rest = text;
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let (part, left) = part(rest).ok_or_else(wrong)?;
            nanos = nanos.checked_add(part).ok_or_else(wrong)?;
            rest = left;
        }
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        if seconds > SECONDS_MAX {
            return Err(format!("`{text}` is longer than a hundred years"));
        }
        // The remainder is below a billion.
        Ok(Period(Duration::new(seconds, (nanos % 1_000_000_000) as u32)))
    }
}

/// A number and its unit from the beginning of `text`, in nanoseconds, and what follows them.
fn part(text: &str) -> Option<(u128, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() || whole.len() > 20 {
        return None;
    }
    let (name, unit) = UNITS.into_iter().find(|(name, _)| rest.starts_with(name))?;
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let nanos = number(whole)?.checked_mul(unit)?.checked_add(number(fraction)? * unit / scale)?;
    Some((nanos, &rest[name.len()..]))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if seconds == 0 && nanos > 0 {
            return match nanos {
                nanos if nanos % 1_000_000 == 0 => write!(f, "{}ms", nanos / 1_000_000),
                nanos if nanos % 1_000 == 0 => write!(f, "{}us", nanos / 1_000),
                nanos => write!(f, "{nanos}ns"),
            };
        }
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if nanos > 0 {
            let fraction = format!("{nanos:09}");
            write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
        } else if seconds > 0 || hours == 0 && minutes == 0 {
            write!(f, "{seconds}s")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_go_reads_them_and_written_shortly() {
        for (text, nanos, written) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("30s", 30_000_000_000, "30s"),
            ("24h", 86_400_000_000_000, "24h"),
            ("24h0m0s", 86_400_000_000_000, "24h"),
            ("1h30m", 5_400_000_000_000, "1h30m"),
            ("4.8s", 4_800_000_000, "4.8s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("100ms", 100_000_000, "100ms"),
            ("90m", 5_400_000_000_000, "1h30m"),
            ("1m0.000000001s", 60_000_000_001, "1m0.000000001s"),
            ("7us", 7_000, "7us"),
            ("7µs", 7_000, "7us"),
            ("3ns", 3, "3ns"),
            ("1.999999999999999999999s", 1_999_999_999, "1.999999999s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0.as_nanos(), nanos, "{text}");
            assert_eq!(period.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(period), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_no_number_or_no_end_is_refused() {
        for text in ["", "30", "s", "-5s", "+5s", "5x", "5 s", "1h30", ".s", "1d", "99999999999999999999999s", "s5"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        assert!("878400h".parse::<Period>().is_ok());
        assert!("878401h".parse::<Period>().unwrap_err().contains("hundred years"));
    }
}
