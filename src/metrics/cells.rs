//! Plain cells: one relaxed atomic each, no lock, no allocation.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// As many counters as a label has values; the standard library has `Default` for arrays of up to
/// 32 only.
#[derive(Debug)]
pub struct Counters<const N: usize>(pub [Counter; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self([const { Counter(AtomicU64::new(0)) }; N])
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it to a count.
    pub fn set(&self, count: usize) {
        self.0
            .store(i64::try_from(count).unwrap_or(i64::MAX), Relaxed);
    }

    /// Changes it.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of buckets for durations, in microseconds: fine around the millisecond that a
/// payment takes, and with the 100 ms of the service's target among them.
pub const DURATION_BOUNDS: [u64; 20] = [
    100, 250, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 25_000, 50_000, 75_000,
    100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
];

/// Upper bounds of buckets for the number of payments in one exchange.
pub const BATCH_BOUNDS: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// Counts of values by their size, and their sum.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

/// A histogram of durations.
pub type Durations = Histogram<{ DURATION_BOUNDS.len() }>;

/// A histogram of batch sizes.
pub type Batches = Histogram<{ BATCH_BOUNDS.len() }>;

impl Default for Durations {
    fn default() -> Self {
        Self::new(&DURATION_BOUNDS)
    }
}

impl Default for Batches {
    fn default() -> Self {
        Self::new(&BATCH_BOUNDS)
    }
}

impl Durations {
    /// Counts `duration`, to the microsecond, rounded up: none counts as faster than it was.
    pub fn observe(&self, duration: Duration) {
        let whole = duration.as_secs().saturating_mul(1_000_000);
        self.add(whole.saturating_add(duration.subsec_nanos().div_ceil(1_000).into()));
    }
}

impl Batches {
    /// Counts a batch of `size`.
    pub fn observe_size(&self, size: usize) {
        self.add(size as u64);
    }
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    fn add(&self, value: u64) {
        let index = self.bounds.partition_point(|&bound| bound < value);
        self.buckets
            .get(index)
            .unwrap_or(&self.beyond)
            .fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Upper bounds and counts, not cumulative; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounded = self.bounds.iter().zip(&self.buckets);
        let bounded = bounded.map(|(bound, count)| (Some(*bound), count.load(Relaxed)));
        bounded.chain([(None, self.beyond.load(Relaxed))])
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.buckets().map(|(_, count)| count).sum()
    }

    /// Sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Durations::default();
        for micros in [100, 101, 250, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        histogram.observe(Duration::from_nanos(100_001));
        let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts[..2], [1, 3]);
        assert_eq!(counts[19..], [1, 1]);
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum(), 10_000_001 + 451 + 101);
    }
}
