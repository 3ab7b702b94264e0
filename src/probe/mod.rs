//! The verb `probe`: asks a URL once, or measures its latency in an open loop.
//!
//! Once, it is the container's health check: a scratch image holds nothing else that could ask. In
//! a loop, requests are due at random times that do not depend on the answers, and a latency counts
//! from the moment its request was due: a server that stalls cannot make the generator wait with it
//! and so hide what callers would have met.

mod client;
mod options;

pub use options::{HELP, Options};

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::{Client, Failure};

/// What a probe found.
#[derive(Debug)]
pub struct Verdict {
    /// For people, without a line end.
    pub text: String,
    /// All requests were answered with 2xx, and the limit was kept.
    pub passed: bool,
}

/// Sends what `options` ask for, and blocks until all of it is answered or has failed.
pub fn run(options: &Options) -> Verdict {
    match options.rate {
        None => once(options),
        Some(rate) => measure(options, rate),
    }
}

fn once(options: &Options) -> Verdict {
    let began = Instant::now();
    let result = Client::new(options).exchange(began);
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    Verdict {
        passed: matches!(result, Ok(200..=299)),
        text: match result {
            Ok(status) => format!("{status} in {milliseconds:.3} ms"),
            Err(failure) => format!("failed: {failure}"),
        },
    }
}

/// When requests are due: exponential gaps make arrivals that are independent of each other
/// (Poisson).
struct Schedule {
    due: Instant,
    left: u64,
    ends: Instant,
    mean_gap_s: f64,
    random: u64,
}

impl Schedule {
    fn next(&mut self) -> Option<Instant> {
        if self.left == 0 || self.due > self.ends {
            return None;
        }
        self.left -= 1;
        let due = self.due;
        // xorshift64; its upper 53 bits make a uniform number in (0, 1].
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        #[allow(clippy::cast_precision_loss)] // 53 bits fit
        let even = ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.due += Duration::from_secs_f64(-even.ln() * self.mean_gap_s);
        Some(due)
    }
}

/// Latencies in microseconds, to three digits, and what became of requests.
struct Tally {
    latencies: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
}

impl Tally {
    fn new() -> Self {
        Self {
            #[allow(clippy::expect_used)]
            latencies: Histogram::new_with_bounds(1, 3_600_000_000, 3)
                .expect("bounds in ascending order and at most five digits are accepted"),
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

fn measure(options: &Options, rate: f64) -> Verdict {
    let mut seed = [0; 8];
    let _ = crate::random::fill(&mut seed);
    let began = Instant::now();
    let schedule = Mutex::new(Schedule {
        due: began,
        left: options.count,
        ends: began + options.duration,
        mean_gap_s: 1.0 / rate,
        random: u64::from_le_bytes(seed) | 1,
    });
    let tally = Mutex::new(Tally::new());
    std::thread::scope(|scope| {
        for _ in 0..options.connections {
            scope.spawn(|| work(options, &schedule, &tally));
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(options, &tally, began.elapsed())
}

/// One connection: takes the next request that is due, again and again.
fn work(options: &Options, schedule: &Mutex<Schedule>, tally: &Mutex<Tally>) {
    let mut client = Client::new(options);
    loop {
        let next = schedule
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next();
        let Some(due) = next else {
            return;
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let result = client.exchange(due);
        let latency = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(status) => {
                *tally.statuses.entry(status).or_default() += 1;
                tally.latencies.saturating_record(latency);
            }
            Err(failure) => *tally.failures.entry(failure).or_default() += 1,
        }
    }
}

fn report(options: &Options, tally: &Tally, elapsed: Duration) -> Verdict {
    let failed: u64 = tally.failures.values().sum();
    let answered = tally.latencies.len();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} requests in {:.1} s, latency counted from when each was due",
        answered + failed,
        elapsed.as_secs_f64()
    );
    for (status, count) in &tally.statuses {
        let _ = writeln!(text, "  answered {status}: {count}");
    }
    for (failure, count) in &tally.failures {
        let _ = writeln!(text, "  {failure}: {count}");
    }
    let mut passed = failed == 0
        && tally
            .statuses
            .keys()
            .all(|status| (200..300).contains(status));
    if answered > 0 {
        write_latencies(&mut text, &tally.latencies);
        let p99_ms = milliseconds(tally.latencies.value_at_quantile(0.99));
        if let Some(limit_ms) = options.limit_p99_ms {
            let kept = p99_ms <= limit_ms;
            let word = if kept { "within" } else { "above" };
            let _ = writeln!(
                text,
                "p99 {p99_ms:.3} ms is {word} the limit of {limit_ms} ms"
            );
            passed &= kept;
        }
    }
    Verdict {
        text: text.trim_end().to_owned(),
        passed,
    }
}

fn write_latencies(text: &mut String, latencies: &Histogram<u64>) {
    const BAR_WIDTH: u64 = 40;
    let _ = write!(text, "  ms: min {:.3}", milliseconds(latencies.min()));
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        let value = milliseconds(latencies.value_at_quantile(quantile));
        let _ = write!(text, "  {name} {value:.3}");
    }
    let _ = writeln!(text, "  max {:.3}", milliseconds(latencies.max()));
    let mut low = 0;
    // Each row ends at the double of the one before it.
    for row in latencies.iter_log(1, 2.0) {
        let count = row.count_since_last_iteration();
        let high = row.value_iterated_to();
        if count > 0 {
            let bar = (count * BAR_WIDTH).div_ceil(latencies.len());
            let bar = "#".repeat(usize::try_from(bar).unwrap_or(0));
            let (low, high) = (milliseconds(low), milliseconds(high));
            let _ = writeln!(text, "  {low:>10.3} to {high:>10.3}  {count:>9}  {bar}");
        }
        low = high;
    }
}

#[allow(clippy::cast_precision_loss)] // an hour of microseconds is exact
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_the_rate_and_end_with_the_count() {
        let began = Instant::now();
        let mut schedule = Schedule {
            due: began,
            left: 20_000,
            ends: began + Duration::from_secs(3_600),
            mean_gap_s: 0.001,
            random: 88_172_645_463_325_252,
        };
        let mut last = began;
        let mut count = 0;
        while let Some(due) = schedule.next() {
            assert!(due >= last);
            (last, count) = (due, count + 1);
        }
        assert_eq!(count, 20_000);
        let seconds = (last - began).as_secs_f64();
        assert!((19.0..21.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_report_has_exact_counts_and_percentiles_to_three_digits() {
        let mut tally = Tally::new();
        for micros in 1..=1_000 {
            tally.latencies.saturating_record(micros * 1_000);
        }
        tally.statuses.insert(200, 990);
        tally.statuses.insert(503, 10);
        tally.failures.insert(Failure::Timeout, 3);
        let options = Options::parse_all(&["http://localhost", "--rate", "5", "--count", "9"]);
        let options = Options {
            limit_p99_ms: Some(5.0),
            ..options.unwrap()
        };
        let verdict = report(&options, &tally, Duration::from_secs(2));
        assert!(!verdict.passed);
        for part in [
            "1003 requests in 2.0 s",
            "answered 200: 990",
            "answered 503: 10",
            "timed out: 3",
            "p50 500.",
            "p99 990.",
            "above the limit of 5 ms",
        ] {
            assert!(verdict.text.contains(part), "{part} in {}", verdict.text);
        }
    }
}
