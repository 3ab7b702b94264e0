//! Times as text and numbers. Durations are measured with `Instant`, never by the wall clock.

use arrayvec::{ArrayString, ArrayVec};
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds since 1970.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// `2026-01-02T03:04:05.678901Z`
pub type Rfc3339 = [u8; 27];

/// Microseconds since 1970-01-01T00:00:00Z.
pub fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// Microseconds since 1970 as RFC 3339 in UTC, for years from 0000 to 9999. For successive times in
/// one second, the second's text is formatted once.
#[derive(Debug)]
pub struct Rfc3339Cache(Cell<(i64, Rfc3339)>);

impl Default for Rfc3339Cache {
    fn default() -> Self {
        Self(Cell::new((0, whole_second(0))))
    }
}

impl Rfc3339Cache {
    /// The text of a time.
    pub fn format(&self, unix_micros: i64) -> Rfc3339 {
        let second = unix_micros.div_euclid(1_000_000);
        let (kept, mut text) = self.0.get();
        if kept != second {
            text = whole_second(second);
            self.0.set((second, text));
        }
        put_micros(unix_micros, &mut text);
        text
    }
}

fn put_micros(unix_micros: i64, text: &mut Rfc3339) {
    let micros = u32::try_from(unix_micros.rem_euclid(1_000_000)).unwrap_or(0);
    text[20..22].copy_from_slice(&last_two_digits(micros / 10_000));
    text[22..24].copy_from_slice(&last_two_digits(micros / 100));
    text[24..26].copy_from_slice(&last_two_digits(micros));
}

fn whole_second(unix_seconds: i64) -> Rfc3339 {
    let (year, month, day) = civil_from_days(unix_seconds.div_euclid(86_400));
    let of_day = u32::try_from(unix_seconds.rem_euclid(86_400)).unwrap_or(0);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let pairs = [
        (0, year / 100),
        (2, year),
        (5, month.into()),
        (8, day.into()),
        (11, of_day / 3_600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
    ];
    for (place, number) in pairs {
        if let Some(digits) = text.get_mut(place..place + 2) {
            digits.copy_from_slice(&last_two_digits(number));
        }
    }
    text
}

/// A duration in milliseconds to the microsecond, such as `0.178`, up to 2^32 - 1 microseconds.
pub fn milliseconds_text(duration: Duration) -> ArrayVec<u8, 11> {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    let decimals = [100, 10, 1].map(|unit| digit(micros / unit));
    let mut text = ArrayVec::new();
    let _ = text.try_extend_from_slice(itoa::Buffer::new().format(micros / 1_000).as_bytes());
    let _ = text.try_extend_from_slice(b".");
    let _ = text.try_extend_from_slice(&decimals);
    text
}

/// The last two decimal digits of a number.
pub fn last_two_digits(number: u32) -> [u8; 2] {
    [digit(number / 10), digit(number)]
}

/// The last decimal digit of a number.
fn digit(number: u32) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

/// The current time.
pub fn now_rfc3339() -> ArrayString<27> {
    let now = unix_micros();
    let mut text = whole_second(now.div_euclid(1_000_000));
    put_micros(now, &mut text);
    ArrayString::from_byte_string(&text).unwrap_or_default()
}

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1970-01-01, in the proleptic
/// Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last; 400 of them have 146,097
/// days.
pub fn civil_from_days(days: i64) -> (u32, u8, u8) {
    const DAYS_FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        u32::try_from(year).unwrap_or(0),
        u8::try_from(month).unwrap_or(1),
        u8::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_decimals_and_an_end() {
        for (micros, text) in [
            (0, "0.000"),
            (999, "0.999"),
            (1_000, "1.000"),
            (12_345, "12.345"),
            (u64::from(u32::MAX), "4294967.295"),
            (u64::MAX, "4294967.295"),
        ] {
            let duration = Duration::from_micros(micros);
            assert_eq!(milliseconds_text(duration).as_slice(), text.as_bytes());
        }
    }

    #[test]
    fn times_are_formatted_across_leap_years_and_centuries() {
        let cache = Rfc3339Cache::default();
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (907, "1970-01-01T00:00:00.000907Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (-20, "1969-12-31T23:59:59.999980Z"),
            (POSTGRES_EPOCH_MICROS, "2000-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_782_400_123_456, "2000-02-29T00:00:00.123456Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (1_767_323_045_678_901, "2026-01-02T03:04:05.678901Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(cache.format(micros), text.as_bytes());
        }
    }
}
