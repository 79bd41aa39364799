//! Durations and moments: their text forms and their parts.

use std::fmt;

use jiff::civil::{self, DateTime};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

/// The first second of CEL, 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;
/// The last second of CEL, 9999-12-31T23:59:59Z, which many write for "never". It is beyond [`Timestamp::MAX`].
const LAST_SECOND: i64 = 253_402_300_799;

const EPOCH: DateTime = civil::datetime(1970, 1, 1, 0, 0, 0, 0);

pub(crate) const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// A moment between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Since 1970-01-01T00:00:00Z, rounded towards the past.
    seconds: i64,
    nanosecond: u32,
}

impl Moment {
    /// The moment so many nanoseconds after 1970-01-01T00:00:00Z.
    pub(crate) fn from_nanoseconds(nanoseconds: i128) -> Option<Moment> {
        let per_second = i128::from(NANOSECONDS_PER_SECOND);
        let seconds = i64::try_from(nanoseconds.div_euclid(per_second)).ok()?;
        let nanosecond = u32::try_from(nanoseconds.rem_euclid(per_second)).ok()?;
        (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some(Moment { seconds, nanosecond })
    }

    pub(crate) fn from_seconds(seconds: i64) -> Option<Moment> {
        Moment::from_nanoseconds(i128::from(seconds) * i128::from(NANOSECONDS_PER_SECOND))
    }

    pub(crate) fn nanoseconds(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOSECONDS_PER_SECOND) + i128::from(self.nanosecond)
    }

    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    /// What a clock in `zone` shows. Clocks stop at the end of the year 9999.
    fn local(self, zone: &TimeZone) -> DateTime {
        let offset = zone.to_offset(Timestamp::from_second(self.seconds).unwrap_or(Timestamp::MAX));
        let nanosecond = i32::try_from(self.nanosecond).unwrap_or(0);
        EPOCH.saturating_add(SignedDuration::new(self.seconds + i64::from(offset.seconds()), nanosecond))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.local(&TimeZone::UTC))
    }
}

/// A part of a moment or a duration that expressions can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// Reads a duration: `0`, or an optional sign and numbers with units, such as `1h30m`, `-1.5h`, `100ms`. In nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole_length = digits(rest);
        let whole = &rest[..whole_length];
        rest = &rest[whole_length..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = after.split_at(digits(after));
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_length = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, after) = rest.split_at(unit_length);
        rest = after;
        let unit = unit_nanoseconds(unit)?;
        let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
        total += whole * unit + fraction_of(fraction, unit);
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    i64::try_from(if is_negative { -total } else { total }).ok()
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// The whole nanoseconds of `0.fraction` units; no unit has more than 13 digits.
fn fraction_of(fraction: &str, unit: i128) -> i128 {
    let significant = &fraction[..fraction.len().min(18)];
    let Ok(number) = significant.parse::<i128>() else { return 0 };
    number * unit / 10_i128.pow(u32::try_from(significant.len()).unwrap_or(0))
}

/// In seconds, with as many decimals as it takes, such as `5400s`.
pub(crate) fn print_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let absolute = nanoseconds.unsigned_abs();
    let per_second = NANOSECONDS_PER_SECOND.unsigned_abs();
    let fraction = format!("{:09}", absolute % per_second);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}s", absolute / per_second)
}

/// Reads a moment of RFC 3339, such as `2030-01-31T00:00:00Z` or `2030-01-31T01:00:00.5+01:00`.
pub(crate) fn parse_timestamp(text: &str) -> Option<Moment> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let is_shaped = date_time.bytes().zip(*b"0000-00-00T00:00:00").all(|(found, shape)| match shape {
        b'0' => found.is_ascii_digit(),
        _ => found == shape,
    });
    // A leap second is refused, as elsewhere in CEL.
    if !is_shaped || date_time.ends_with("60") {
        return None;
    }
    let (nanosecond, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let (fraction, zone) = fraction.split_at(digits(fraction));
            if fraction.is_empty() {
                return None;
            }
            (fraction_of(fraction, i128::from(NANOSECONDS_PER_SECOND)), zone)
        }
        None => (0, rest),
    };
    let offset_seconds = if zone == "Z" { 0 } else { parse_offset(zone)? };
    if zone != "Z" && !zone.starts_with(['+', '-']) {
        return None;
    }
    let local = date_time.parse::<DateTime>().ok()?.duration_since(EPOCH);
    let seconds = local.as_secs() - i64::from(offset_seconds);
    Moment::from_nanoseconds(i128::from(seconds) * i128::from(NANOSECONDS_PER_SECOND) + nanosecond)
}

/// A time zone by its name (`Europe/Berlin`) or its distance from UTC (`+02:00`).
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    if name.contains(':') {
        return Some(TimeZone::fixed(Offset::from_seconds(parse_offset(name)?).ok()?));
    }
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        _ => TimeZoneDatabase::bundled().get(name).ok(),
    }
}

/// Reads `+02:00`, `-02:00` or `02:00`, in seconds.
fn parse_offset(text: &str) -> Option<i32> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (hours, minutes) = unsigned.split_once(':')?;
    let number = |text: &str, below: i32| {
        let number: i32 = (text.len() == 2 && digits(text) == 2).then(|| text.parse().ok())??;
        (number < below).then_some(number)
    };
    let seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    Some(if text.starts_with('-') { -seconds } else { seconds })
}

/// A part of a moment, as a clock in `zone` shows it. Months and the days of a month, week or year count from 0, the
/// date from 1; the week begins on Sunday.
pub(crate) fn part_of_timestamp(part: Part, moment: Moment, zone: &TimeZone) -> i64 {
    let local = moment.local(zone);
    match part {
        Part::FullYear => i64::from(local.year()),
        Part::Month => i64::from(local.month()) - 1,
        Part::Date => i64::from(local.day()),
        Part::DayOfMonth => i64::from(local.day()) - 1,
        Part::DayOfWeek => i64::from(local.weekday().to_sunday_zero_offset()),
        Part::DayOfYear => i64::from(local.day_of_year()) - 1,
        Part::Hours => i64::from(local.hour()),
        Part::Minutes => i64::from(local.minute()),
        Part::Seconds => i64::from(local.second()),
        Part::Milliseconds => i64::from(local.subsec_nanosecond() / 1_000_000),
    }
}

/// A duration as a whole number of a unit, rounded towards zero. Durations have only the parts of a clock.
pub(crate) fn part_of_duration(part: Part, nanoseconds: i64) -> Option<i64> {
    let unit = match part {
        Part::Hours => 3600 * NANOSECONDS_PER_SECOND,
        Part::Minutes => 60 * NANOSECONDS_PER_SECOND,
        Part::Seconds => NANOSECONDS_PER_SECOND,
        Part::Milliseconds => 1_000_000,
        _ => return None,
    };
    Some(nanoseconds / unit)
}

impl Part {
    /// The function that asks for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::FullYear => "getFullYear",
            Part::Month => "getMonth",
            Part::Date => "getDate",
            Part::DayOfMonth => "getDayOfMonth",
            Part::DayOfWeek => "getDayOfWeek",
            Part::DayOfYear => "getDayOfYear",
            Part::Hours => "getHours",
            Part::Minutes => "getMinutes",
            Part::Seconds => "getSeconds",
            Part::Milliseconds => "getMilliseconds",
        }
    }
}
