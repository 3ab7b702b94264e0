//! What the load generator and the floor have in common: arrivals, timers, tallies.

use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

/// When requests are due: gaps that know nothing of each other (Poisson), the same for the same seed.
pub struct Arrivals {
    next: Duration,
    mean_gap: f64,
    random: u64,
}

impl Arrivals {
    /// `rate` a second on average.
    pub fn new(rate: f64, seed: u64) -> Self {
        let mut arrivals = Self {
            next: Duration::ZERO,
            mean_gap: 1.0 / rate,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        arrivals.advance();
        arrivals
    }

    /// The next one, counted from the beginning.
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// Goes on to the one behind it.
    pub fn advance(&mut self) {
        // xorshift64; its upper 53 bits make an even number in (0, 1].
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let even = ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.next += Duration::from_secs_f64(-even.ln() * self.mean_gap);
    }
}

/// A timer at the grain of the kernel's high-resolution clock (timerfd_create(2)).
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// The descriptor that becomes readable when the time has come.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Sets it to go off after `wait`; at once, if that is nought.
    pub fn set(&self, wait: Duration) -> io::Result<()> {
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos().max(u32::from(wait.is_zero()))),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Blocks until `due`, counted from `began`.
    pub fn sleep_until(&self, began: Instant, due: Duration) -> io::Result<()> {
        let wait = due.saturating_sub(began.elapsed());
        if !wait.is_zero() {
            self.set(wait)?;
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None)?;
        }
        Ok(())
    }
}

/// Latencies, and how late the generator itself was, in nanoseconds to three digits.
pub struct Tally {
    /// From when a request was due to its answer.
    pub latency: Histogram<u64>,
    /// From when it was due to its sending.
    pub lag: Histogram<u64>,
    /// Answers that are no success, and connections that ended.
    pub failed: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let empty =
            || Histogram::new_with_bounds(100, 3_600_000_000_000, 3).expect("bounds in order");
        Self {
            latency: empty(),
            lag: empty(),
            failed: 0,
        }
    }

    /// As JSON; times in microseconds. `curve` has a point for each half of the remaining rest.
    pub fn to_json(&self, rate: f64, seconds: f64) -> Value {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let quantiles = |histogram: &Histogram<u64>| {
            let at = |quantile| micros(histogram.value_at_quantile(quantile));
            json!({
                "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999),
                "max": micros(histogram.max()), "mean": histogram.mean() / 1e3,
            })
        };
        let curve: Vec<_> = self
            .latency
            .iter_quantiles(2)
            .map(|point| {
                json!([
                    point.quantile_iterated_to(),
                    micros(point.value_iterated_to())
                ])
            })
            .collect();
        json!({
            "rate": rate,
            "achieved": self.latency.len() as f64 / seconds,
            "answered": self.latency.len(),
            "failed": self.failed,
            "latency_us": quantiles(&self.latency),
            "lag_us": quantiles(&self.lag),
            "curve": curve,
        })
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
