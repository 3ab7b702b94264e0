//! Wall-clock time as text and numbers. Durations are measured with `Instant`, never with this.

use arrayvec::ArrayString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in microseconds since 1970.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// `2026-01-02T03:04:05.678901Z`
pub type Rfc3339 = ArrayString<27>;

/// Microseconds since 1970-01-01T00:00:00Z.
pub fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

/// Formats microseconds since 1970 as RFC 3339 in UTC, for years from 0000 to 9999.
pub fn rfc3339(unix_micros: i64) -> Rfc3339 {
    let seconds = unix_micros.div_euclid(1_000_000);
    let micros = unix_micros.rem_euclid(1_000_000);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let pairs = [
        (0, i64::from(year / 100)),
        (2, i64::from(year)),
        (5, month.into()),
        (8, day.into()),
        (11, hour),
        (14, minute),
        (17, second),
        (20, micros / 10_000),
        (22, micros / 100),
        (24, micros),
    ];
    for (place, number) in pairs {
        if let Some(digits) = text.get_mut(place..place + 2) {
            digits.copy_from_slice(&last_two_digits(number));
        }
    }
    Rfc3339::from_byte_string(&text).unwrap_or_default()
}

/// A duration in milliseconds to the microsecond, such as `0.178`; one that is longer than 2^32
/// microseconds is cut to that.
pub fn milliseconds(duration: Duration) -> ArrayString<11> {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    let thousandths = micros % 1_000;
    let decimals = [thousandths / 100, thousandths / 10, thousandths];
    let mut text = ArrayString::new();
    let _ = text.try_push_str(itoa::Buffer::new().format(micros / 1_000));
    let _ = text.try_push('.');
    for digit in decimals {
        let _ = text.try_push(char::from(b'0' + (digit % 10) as u8));
    }
    text
}

/// The last two decimal digits of a number that is not negative.
pub fn last_two_digits(number: i64) -> [u8; 2] {
    let digit = |n: i64| b'0' + u8::try_from(n % 10).unwrap_or(0);
    [digit(number / 10), digit(number)]
}

/// The current time.
pub fn now_rfc3339() -> Rfc3339 {
    rfc3339(unix_micros())
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
    fn times_are_formatted_across_leap_years_and_centuries() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (POSTGRES_EPOCH_MICROS, "2000-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (1_767_323_045_678_901, "2026-01-02T03:04:05.678901Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(micros).as_str(), text);
        }
    }
}
