//! Shared by the load generator, the floor and the micro-benchmarks: arrivals, timers, tallies, a
//! payment.

pub mod stamps;
pub mod wire;

use hdrhistogram::Histogram;
use payment_latency_api::config::{PoolSettings, StatementMode};
use payment_latency_api::payment::{Currency, Parameters};
use payment_latency_api::pg::payments::Insert;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

/// A burst lasts for this part of every second, from its beginning.
const BURST: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

/// When requests are due: independent gaps (Poisson), the same for the same seed.
pub struct Arrivals {
    next: Duration,
    rate: f64,
    burst: f64,
    random: u64,
}

impl Arrivals {
    /// `rate` a second on average, and `burst` times as many in the first 200 ms of every second.
    pub fn new(rate: f64, burst: f64, seed: u64) -> Self {
        let mut arrivals = Self {
            next: Duration::ZERO,
            rate,
            burst,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        arrivals.advance();
        arrivals
    }

    /// When the next one is due, counted from the start.
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// Moves on to the one after it.
    pub fn advance(&mut self) {
        // xorshift64; its upper 53 bits make a uniform number in (0, 1].
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let even = ((self.random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let mut gap = -even.ln();
        loop {
            let (rate, rest) = self.rate_and_rest();
            if gap <= rate * rest.as_secs_f64() {
                self.next += Duration::from_secs_f64(gap / rate);
                return;
            }
            gap -= rate * rest.as_secs_f64();
            self.next += rest;
        }
    }

    /// The rate at `next`, and how long it lasts.
    fn rate_and_rest(&self) -> (f64, Duration) {
        let phase = Duration::from_nanos(u64::from(self.next.subsec_nanos()));
        match phase < BURST {
            true => (self.rate * self.burst, BURST - phase),
            false => (self.rate, SECOND - phase),
        }
    }
}

/// A timer with the resolution of the kernel's high-resolution clock (timerfd_create(2)). It learns how
/// late it wakes, and is set that much earlier. A request sent early is timed from its sending.
pub struct Timer {
    descriptor: OwnedFd,
    began: Instant,
    /// The time it is set for, and what is due then.
    set_for: Option<(Duration, Duration)>,
    early: Duration,
}

/// No more than this counts as the timer's own lateness: beyond it, the machine is busy.
const EARLY_MAX: Duration = Duration::from_micros(250);

/// A timer is set early enough for all but one in a hundred of its wake-ups, a nap for half of
/// them: at the rates of a nap, what is due within that time is sent together with it.
const IN_TIME: f64 = 0.99;
const NAP_IN_TIME: f64 = 0.5;

/// How far one wake-up moves the estimate of their lateness.
const LEARNED: f64 = 4e-6;

impl Timer {
    /// A timer that is not set; times count from now.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            descriptor: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            began: Instant::now(),
            set_for: None,
            early: Duration::ZERO,
        })
    }

    /// Times count from now.
    pub fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// The descriptor that becomes readable when the timer goes off.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// The time now.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Requests due up to this time are sent now.
    pub fn horizon(&self) -> Duration {
        self.now() + self.early
    }

    /// Sets it to go off for what is due at `due`. Setting it again for the same time does nothing: on a virtual
    /// machine, every change of the clock's next event leaves the guest.
    pub fn set(&mut self, due: Duration) -> io::Result<()> {
        if self.set_for.is_some_and(|(_, same)| same == due) {
            return Ok(());
        }
        let target = due.saturating_sub(self.early);
        let wait = target.saturating_sub(self.now());
        self.set_for = (!wait.is_zero()).then_some((target, due));
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
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Learns from a wake-up how late it was.
    pub fn woke(&mut self) {
        self.learn(IN_TIME);
    }

    fn learn(&mut self, in_time: f64) {
        if let Some((set_for, _)) = self.set_for.take() {
            let late = self.now().saturating_sub(set_for);
            self.early = learned(self.early, late, in_time);
        }
    }

    /// Sleeps until what is due at `due` may be sent: one system call, which no socket event interrupts.
    pub fn nap(&mut self, due: Duration) {
        let wait = due.saturating_sub(self.horizon());
        if !wait.is_zero() {
            self.set_for = Some((self.now() + wait, due));
            std::thread::sleep(wait);
            self.learn(NAP_IN_TIME);
        }
    }

    /// Blocks until what is due at `due` may be sent; false if it already may.
    pub fn sleep_until(&mut self, due: Duration) -> io::Result<bool> {
        let early = self.horizon() < due;
        if early {
            self.set(due)?;
            poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], None)?;
            self.woke();
        }
        Ok(early)
    }
}

/// One wake-up's step towards the lateness that this share of them does not exceed (a quantile by
/// stochastic approximation).
fn learned(early: Duration, late: Duration, in_time: f64) -> Duration {
    let step = LEARNED * if late > early { in_time } else { in_time - 1.0 };
    let seconds = (early.as_secs_f64() + step).clamp(0.0, EARLY_MAX.as_secs_f64());
    Duration::from_secs_f64(seconds)
}

/// Latencies, and how late the generator itself was, in nanoseconds to three digits.
pub struct Tally {
    /// From when a request was due to its answer.
    pub latency: Histogram<u64>,
    /// From when it was due to just before it was sent.
    pub lag: Histogram<u64>,
    /// From the sending of a successful request to its answer.
    pub answer: Histogram<u64>,
    /// From when a refused request was due to its refusal: 503 with `Retry-After`.
    pub refusal: Histogram<u64>,
    /// Time of successful requests in the service itself, from `Server-Timing`, if asked for.
    pub service: Histogram<u64>,
    /// Unsuccessful answers, connections that ended, and requests that were not sent.
    pub failed: u64,
    /// Requests that were due, but for which no connection became free.
    pub unsent: u64,
    /// Successful requests, including those of the warm-up.
    pub served: u64,
    /// From the end of the warm-up to the last answer.
    pub took: Duration,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        let empty =
            || Histogram::new_with_bounds(100, 3_600_000_000_000, 3).expect("bounds in order");
        Self {
            latency: empty(),
            lag: empty(),
            answer: empty(),
            refusal: empty(),
            service: empty(),
            failed: 0,
            unsent: 0,
            served: 0,
            took: Duration::ZERO,
        }
    }

    /// As JSON; times in microseconds. `histogram` has values with their counts, so that runs can be
    /// combined.
    pub fn to_json(&self, rate: f64, seconds: f64) -> Value {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let quantiles = |histogram: &Histogram<u64>| {
            let at = |quantile| micros(histogram.value_at_quantile(quantile));
            json!({
                "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999),
                "max": micros(histogram.max()), "mean": histogram.mean() / 1e3,
            })
        };
        let values: Vec<_> = self
            .latency
            .iter_recorded()
            .map(|step| json!([micros(step.value_iterated_to()), step.count_at_value()]))
            .collect();
        json!({
            "rate": rate,
            "achieved": self.latency.len() as f64 / seconds,
            "answered": self.latency.len(),
            "failed": self.failed,
            "unsent": self.unsent,
            "refused": self.refusal.len(),
            "refusal_us": quantiles(&self.refusal),
            "service_us": quantiles(&self.service),
            "served": self.served,
            "took_s": self.took.as_secs_f64(),
            "latency_us": quantiles(&self.latency),
            "answer_us": quantiles(&self.answer),
            "lag_us": quantiles(&self.lag),
            "histogram": values,
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

/// A payment as most callers make it.
pub fn sample_insert() -> Insert {
    let parameters = Parameters::from_query(None, Currency::EUR).expect("defaults are valid");
    Insert {
        transaction_id: [0; 16],
        idempotency_key: None,
        request_hash: parameters.request_hash(),
        amount: parameters.amount,
        currency: parameters.currency,
        outcome: parameters.outcome,
        processing_ms: parameters.processing_ms,
    }
}

/// A pool of the usual size, with limits that no measurement meets.
pub fn pool_settings() -> PoolSettings {
    const AMPLE: Duration = Duration::from_secs(5);
    PoolSettings {
        size: 8,
        waiters_max: 256,
        batch_max: 32,
        checkout_timeout: AMPLE,
        exchange_timeout: AMPLE,
        connect_timeout: AMPLE,
        connection_lifetime: Duration::from_secs(3_600),
        idle_probe_interval: Duration::from_secs(30),
        statement_mode: StatementMode::Named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_learns_what_all_but_one_in_a_hundred_wake_ups_need() {
        let micros = Duration::from_micros;
        let learn = |early, round: u64| learned(early, micros(20 + round * 37 % 100), IN_TIME);
        let early = (0..10_000).fold(Duration::ZERO, learn);
        assert!((micros(110)..micros(125)).contains(&early), "{early:?}");
        let busy = (0..10_000).fold(early, |early, _| learned(early, micros(5_000), IN_TIME));
        assert_eq!(busy, EARLY_MAX);
    }
}
