//! What the service counts, and how Prometheus gets to see it.
//!
//! The request path touches plain cells (`cells`). `families` walks over all of them and gives each
//! its name; `openmetrics` and `text` are the two formats. A histogram of prometheus-client takes a
//! lock, so its registry sees the cells through its `Collector` trait.

mod cells;
mod families;
mod openmetrics;
mod process;
mod text;

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub use cells::{
    BATCH_BOUNDS, Batches, Counter, Counters, DURATION_BOUNDS, Durations, Gauge, Histogram,
};
pub use openmetrics::{OpenMetrics, accepts_openmetrics};

use crate::clock;
use crate::http::{Method, Refusal, Status};
use crate::labels::labels;
use crate::pg::error::ConnectStep;
use crate::pool::Closed;
use crate::route::Route;

const ROUTES: usize = Route::ALL.len();
const METHODS: usize = Method::ALL.len();
const STATUSES: usize = Status::ALL.len();

/// What the binary is, and where it runs.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The commit it was built from, where the build knew it.
    pub revision: &'static str,
    /// When it was built, RFC 3339, where the build knew it.
    pub timestamp: &'static str,
    /// The region it runs in.
    pub region: String,
    /// The environment it runs in.
    pub environment: String,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    build: Build,
    started: Instant,
    /// Requests and connections of callers.
    pub http: HttpMetrics,
    /// Payments.
    pub payments: PaymentMetrics,
    /// The pool and the database.
    pub pool: PoolMetrics,
    /// Secrets that were read again.
    pub secrets: SecretMetrics,
}

impl Metrics {
    /// All at zero.
    pub fn new(build: Build) -> Self {
        Self {
            build,
            started: Instant::now(),
            http: HttpMetrics::default(),
            payments: PaymentMetrics::default(),
            pool: PoolMetrics::default(),
            secrets: SecretMetrics::default(),
        }
    }

    /// What the binary is.
    pub fn build(&self) -> &Build {
        &self.build
    }

    /// Time since the process started counting.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Appends everything as text 0.0.4.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        text::write(self, out);
    }
}

/// Requests and connections of callers.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    requests: [[[Counter; STATUSES]; METHODS]; ROUTES],
    durations: [[Durations; METHODS]; ROUTES],
    refused: Counters<{ Refusal::ALL.len() }>,
    /// Open connections.
    pub connections: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    closed: [Counter; ConnectionEnd::ALL.len()],
    /// Bytes in buffers of connections.
    pub buffered_bytes: Gauge,
    /// 1 from the first signal on.
    pub draining: Gauge,
    /// How late the thread came to its timer.
    pub event_loop_lags: Durations,
}

impl HttpMetrics {
    /// Counts an answered request.
    #[allow(clippy::indexing_slicing)] // by enums, over arrays of their size
    pub fn request(&self, route: Route, method: Method, status: Status, duration: Duration) {
        self.requests[route as usize][method as usize][status as usize].increment();
        self.durations[route as usize][method as usize].observe(duration);
    }

    /// Counts a refusal, which has an answer but no route.
    #[allow(clippy::indexing_slicing)] // by an enum, over an array of its size
    pub fn refusal(&self, refusal: Refusal) {
        let status = refusal.status() as usize;
        self.requests[Route::Unmatched as usize][Method::Other as usize][status].increment();
        self.refused.0[refusal as usize].increment();
    }

    /// Counts the end of a connection.
    #[allow(clippy::indexing_slicing)] // by an enum, over an array of its size
    pub fn closed(&self, why: ConnectionEnd) {
        self.closed[why as usize].increment();
    }
}

labels! {
    /// Why a caller's connection ended.
    pub enum ConnectionEnd {
        /// The caller closed it.
        Peer = "peer",
        /// The caller asked for it with `Connection: close`, or speaks HTTP/1.0.
        Requested = "requested",
        /// It was idle for too long.
        KeepAlive = "keep_alive",
        /// It was idle, slow or greedy, and its place was needed.
        Evicted = "evicted",
        /// A request was refused.
        Refused = "refused",
        /// The socket failed.
        Error = "error",
        /// The caller did not take its answer in time.
        WriteTimeout = "write_timeout",
        /// The service ends.
        Drain = "drain",
    }
}

/// Payments.
#[derive(Debug, Default)]
pub struct PaymentMetrics {
    /// From the end of the simulated processing to the answer.
    pub durations: Durations,
    /// Written as approved.
    pub approved: Counter,
    /// Written as declined.
    pub declined: Counter,
    /// Answered out of an earlier payment with the same key.
    pub replayed: Counter,
    /// Being processed or written.
    pub in_flight: Gauge,
}

labels! {
    /// Why a payment got no connection.
    pub enum Rejected {
        /// Too many waited already.
        WaitersFull = "waiters_full",
        /// None became free in time.
        CheckoutTimeout = "checkout_timeout",
        /// No connection was open.
        Disconnected = "disconnected",
        /// The deadline came first.
        Deadline = "deadline",
        /// The caller hung up.
        Abandoned = "abandoned",
    }
}

/// The pool and the database.
#[derive(Debug, Default)]
pub struct PoolMetrics {
    size: Gauge,
    open: Gauge,
    idle: Gauge,
    waiters: Gauge,
    /// 1 once the pool has been complete.
    pub ready: Gauge,
    rejected: [Counter; Rejected::ALL.len()],
    checkouts: Durations,
    opened: Counter,
    connects: Durations,
    connect_failures: [Counter; ConnectStep::ALL.len()],
    closed: [Counter; Closed::ALL.len()],
    exchanges: Durations,
    batches: Batches,
    retries: Counter,
    last_success_unix_micros: AtomicI64,
}

#[allow(clippy::indexing_slicing)] // by enums, over arrays of their size
impl PoolMetrics {
    /// Sets the number of connections the pool should have.
    pub fn size(&self, size: usize) {
        self.size.set(size);
    }

    /// Sets the number of connections there are, and of those that nobody uses.
    pub fn connections(&self, open: usize, idle: usize) {
        self.open.set(open);
        self.idle.set(idle);
    }

    /// Sets the number of payments that wait for a connection.
    pub fn waiters(&self, count: usize) {
        self.waiters.set(count);
    }

    /// Counts a wait that ended without a connection.
    pub fn rejected(&self, why: Rejected) {
        self.rejected[why as usize].increment();
    }

    /// Counts a wait that ended with one, or with a place in the exchange of another payment.
    pub fn checkout(&self, waited: Duration) {
        self.checkouts.observe(waited);
    }

    /// Counts a new connection.
    pub fn opened(&self, took: Duration) {
        self.opened.increment();
        self.connects.observe(took);
    }

    /// Counts a connection that was not made.
    pub fn connect_failed(&self, step: ConnectStep) {
        self.connect_failures[step as usize].increment();
    }

    /// Counts the end of a connection.
    pub fn closed(&self, why: Closed) {
        self.closed[why as usize].increment();
    }

    /// Counts an exchange that was answered.
    pub fn exchange(&self, took: Duration) {
        self.exchanges.observe(took);
    }

    /// Counts the payments of one exchange.
    pub fn batch_size(&self, payments: usize) {
        self.batches.observe_size(payments);
    }

    /// Counts a repeated attempt.
    pub fn retry(&self) {
        self.retries.increment();
    }

    /// Notes that the database answered well.
    pub fn success(&self) {
        self.last_success_unix_micros
            .store(clock::unix_micros(), Relaxed);
    }
}

/// Secrets that were read again.
#[derive(Debug, Default)]
pub struct SecretMetrics {
    /// New database credentials in force.
    pub database_reloads: Counter,
    /// New API keys in force.
    pub api_key_reloads: Counter,
    /// Reads that failed; the old value stays in force.
    pub failures: Counter,
}
