//! The `Date` header's format (RFC 9110 section 5.6.7).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::clock::{civil_from_days, last_two_digits, unix_micros};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub type HttpDate = [u8; 29];

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The current date, formatted once a second: until the second ends the wall clock is not read.
#[derive(Debug)]
pub struct DateCache(Cell<(HttpDate, Instant)>);

impl Default for DateCache {
    fn default() -> Self {
        Self(Cell::new((format(0), Instant::now())))
    }
}

impl DateCache {
    /// The date at `now`.
    pub fn at(&self, now: Instant) -> HttpDate {
        let (date, until) = self.0.get();
        if now < until {
            return date;
        }
        // Read first: a pause between reading the two clocks ends the second early, never late.
        let looked = Instant::now();
        let micros = u64::try_from(unix_micros()).unwrap_or(0);
        let date = format(micros / 1_000_000);
        let rest = Duration::from_micros(1_000_000 - micros % 1_000_000);
        self.0.set((date, looked + rest));
        date
    }
}

/// Formats `unix_seconds`, which lies between the years 1970 and 9999.
pub fn format(unix_seconds: u64) -> HttpDate {
    let days = unix_seconds / 86_400;
    let of_day = u32::try_from(unix_seconds % 86_400).unwrap_or(0);
    let (year, month, day) = civil_from_days(i64::try_from(days).unwrap_or(0));
    let mut date = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    let weekday = DAYS
        .iter()
        .cycle()
        .nth(usize::try_from(days % 7).unwrap_or(0));
    let month = MONTHS.get(usize::from(month - 1));
    put(&mut date, 0, *weekday.unwrap_or(&b"Thu"));
    put(&mut date, 5, &last_two_digits(day.into()));
    put(&mut date, 8, *month.unwrap_or(&b"Jan"));
    put(&mut date, 12, &last_two_digits(year / 100));
    put(&mut date, 14, &last_two_digits(year));
    put(&mut date, 17, &last_two_digits(of_day / 3_600));
    put(&mut date, 20, &last_two_digits(of_day / 60 % 60));
    put(&mut date, 23, &last_two_digits(of_day % 60));
    date
}

fn put(date: &mut HttpDate, at: usize, text: &[u8]) {
    if let Some(place) = date.get_mut(at..at + text.len()) {
        place.copy_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_examples_of_rfc_9110_and_a_leap_day_are_formatted() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(super::format(seconds), text.as_bytes());
        }
    }
}
