//! Every metric with its name, its help and its samples: the one list that both formats walk over.

use super::cells::{Counter, Durations, Gauge, Histogram};
use super::{ConnectionEnd, Metrics, Rejected};
use crate::http::{Method, Refusal, Status};
use crate::log;
use crate::pg::error::ConnectStep;
use crate::pool::Closed;
use crate::route::Route;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(super) enum Value<'a> {
    Counter(f64),
    Gauge(f64),
    /// Upper bounds and counts, not cumulative; their sum.
    Histogram {
        buckets: &'a [(f64, u64)],
        count: u64,
        sum: f64,
    },
}

pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];
pub(super) type Sink<'a> = &'a mut dyn FnMut(Labels<'_>, Value<'_>);

/// A format: is told each family, and pulls its samples.
pub(super) trait Visitor {
    /// `name` of a counter comes without its `_total`.
    fn family(&mut self, name: &str, help: &str, kind: Kind, samples: &dyn Fn(Sink<'_>));
}

/// Series that alerts look at are there from the start, at 0: `rate()` misses what a new series
/// begins with.
const STATUSES_FROM_THE_START: [Status; 4] = [
    Status::Ok,
    Status::InternalServerError,
    Status::ServiceUnavailable,
    Status::GatewayTimeout,
];
const REFUSALS_FROM_THE_START: [Refusal; 2] =
    [Refusal::TooManyConnections, Refusal::BuffersExhausted];

pub(super) fn visit(metrics: &Metrics, visitor: &mut dyn Visitor) {
    requests(metrics, visitor);
    connections(metrics, visitor);
    payments(metrics, visitor);
    pool(metrics, visitor);
    pool_connections(metrics, visitor);
    database(metrics, visitor);
    secrets(metrics, visitor);
    process(visitor);
    build(metrics, visitor);
}

#[allow(clippy::indexing_slicing)] // by enums, over arrays of their size
fn requests(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let http = &metrics.http;
    visitor.family(
        "http_requests",
        "Answered requests.",
        Kind::Counter,
        &|sink| {
            for route in Route::ALL {
                for method in Method::ALL {
                    for status in Status::ALL {
                        let count =
                            http.requests[route as usize][method as usize][*status as usize].get();
                        let payment = (route, method) == (Route::Payment, Method::Get);
                        if count > 0 || payment && STATUSES_FROM_THE_START.contains(status) {
                            let mut digits = itoa::Buffer::new();
                            let status = digits.format(status.code());
                            let labels = [
                                ("method", method.as_str()),
                                ("endpoint", route.as_str()),
                                ("status", status),
                            ];
                            sink(&labels, counter(count));
                        }
                    }
                }
            }
        },
    );
    let help = "Time from reading a request to making its answer, in seconds, including simulated \
                processing.";
    visitor.family(
        "http_request_duration_seconds",
        help,
        Kind::Histogram,
        &|sink| {
            for route in Route::ALL {
                for method in Method::ALL {
                    let durations = &http.durations[route as usize][method as usize];
                    if durations.count() > 0 || (route, method) == (Route::Payment, Method::Get) {
                        histogram(
                            &[("method", method.as_str()), ("endpoint", route.as_str())],
                            durations,
                            SECONDS,
                            sink,
                        );
                    }
                }
            }
        },
    );
    visitor.family(
        "http_refused",
        "Requests refused before they reached a handler.",
        Kind::Counter,
        &|sink| {
            for refusal in Refusal::ALL {
                let count = http.refused.0[refusal as usize].get();
                if count > 0 || REFUSALS_FROM_THE_START.contains(&refusal) {
                    sink(&[("reason", refusal.code())], counter(count));
                }
            }
        },
    );
}

fn connections(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let http = &metrics.http;
    gauge(
        visitor,
        "http_connections",
        "Callers' open connections.",
        &http.connections,
    );
    count(
        visitor,
        "http_connections_accepted",
        "Connections accepted.",
        &http.accepted,
    );
    let ends = || {
        ConnectionEnd::ALL
            .iter()
            .zip(&http.closed)
            .map(|(why, cell)| (why.as_str(), cell))
    };
    by_label(
        visitor,
        "http_connections_closed",
        "Callers' connections closed.",
        "reason",
        &ends,
    );
    gauge(
        visitor,
        "http_buffered_bytes",
        "Buffer budget that connections have reserved.",
        &http.buffered_bytes,
    );
    gauge(
        visitor,
        "service_draining",
        "1 after the first signal to stop.",
        &http.draining,
    );
    durations(
        visitor,
        "event_loop_lag_seconds",
        "How late the service's thread reached a timer, ten times a second, in seconds.",
        &http.event_loop_lags,
    );
    gauge(
        visitor,
        "service_ready",
        "1 once the pool has been complete.",
        &metrics.pool.ready,
    );
}

fn payments(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let payments = &metrics.payments;
    let help = "Time from the end of the simulated processing to the answer, in seconds.";
    durations(
        visitor,
        "payment_processing_duration_seconds",
        help,
        &payments.durations,
    );
    let outcomes = || {
        let cells = [&payments.approved, &payments.declined, &payments.replayed];
        ["approved", "declined", "replayed"].into_iter().zip(cells)
    };
    by_label(
        visitor,
        "payments",
        "Payments answered with 200.",
        "outcome",
        &outcomes,
    );
    gauge(
        visitor,
        "payments_in_flight",
        "Payments being processed or written.",
        &payments.in_flight,
    );
}

fn pool(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let pool = &metrics.pool;
    gauge(
        visitor,
        "pool_size",
        "Connections the pool normally keeps open.",
        &pool.size,
    );
    visitor.family(
        "pool_connections",
        "Connections to the database.",
        Kind::Gauge,
        &|sink| {
            let (open, idle) = (pool.open.get(), pool.idle.get());
            for (state, value) in [("open", open), ("idle", idle), ("busy", open - idle)] {
                sink(&[("state", state)], number(value));
            }
        },
    );
    gauge(
        visitor,
        "pool_waiters",
        "Payments, and a health check, waiting for a connection.",
        &pool.waiters,
    );
    durations(
        visitor,
        "pool_checkout_duration_seconds",
        "Waits that ended with a connection or with a place in another payment's exchange, in seconds.",
        &pool.checkouts,
    );
    let rejected = || {
        Rejected::ALL
            .iter()
            .zip(&pool.rejected)
            .map(|(why, cell)| (why.as_str(), cell))
    };
    by_label(
        visitor,
        "pool_rejected",
        "Waits that ended without a connection.",
        "reason",
        &rejected,
    );
}

fn pool_connections(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let pool = &metrics.pool;
    count(
        visitor,
        "pool_connections_opened",
        "Connections opened.",
        &pool.opened,
    );
    durations(
        visitor,
        "pool_connect_duration_seconds",
        "Time to open a connection, in seconds.",
        &pool.connects,
    );
    let failures = || {
        ConnectStep::ALL
            .iter()
            .zip(&pool.connect_failures)
            .map(|(step, cell)| (step.as_str(), cell))
    };
    by_label(
        visitor,
        "pool_connect_failures",
        "Failed attempts to open a connection.",
        "step",
        &failures,
    );
    let closed = || {
        Closed::ALL
            .iter()
            .zip(&pool.closed)
            .map(|(why, cell)| (why.as_str(), cell))
    };
    by_label(
        visitor,
        "pool_connections_closed",
        "Connections closed.",
        "reason",
        &closed,
    );
}

fn database(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let pool = &metrics.pool;
    durations(
        visitor,
        "database_exchange_duration_seconds",
        "Time of answered round trips, in seconds.",
        &pool.exchanges,
    );
    visitor.family(
        "database_batch_size",
        "Payments in one exchange.",
        Kind::Histogram,
        &|sink| {
            histogram(&[], &pool.batches, 1.0, sink);
        },
    );
    count(
        visitor,
        "database_retries",
        "Repeated attempts to write a payment.",
        &pool.retries,
    );
    let help = "Last successful answer of the database, in seconds since 1970.";
    visitor.family(
        "database_last_success_timestamp_seconds",
        help,
        Kind::Gauge,
        &|sink| {
            let micros = pool.last_success_unix_micros.load(Relaxed);
            sink(&[], Value::Gauge(float(micros) / 1e6));
        },
    );
}

fn secrets(metrics: &Metrics, visitor: &mut dyn Visitor) {
    let secrets = &metrics.secrets;
    let reloads = || {
        let cells = [&secrets.database_reloads, &secrets.api_key_reloads];
        ["database", "api_keys"].into_iter().zip(cells)
    };
    by_label(
        visitor,
        "secret_reloads",
        "Changed secrets put into effect.",
        "secret",
        &reloads,
    );
    count(
        visitor,
        "secret_reload_failures",
        "Reads of a secret's file, one a second, that found it unusable.",
        &secrets.failures,
    );
}

fn process(visitor: &mut dyn Visitor) {
    let process = super::process::figures();
    for (name, help, kind, value) in [
        (
            "process_cpu_seconds",
            "CPU time used, in seconds.",
            Kind::Counter,
            process.cpu_seconds,
        ),
        (
            "process_resident_memory_bytes",
            "Memory in use.",
            Kind::Gauge,
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Address space in use.",
            Kind::Gauge,
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Open descriptors.",
            Kind::Gauge,
            process.open_fds,
        ),
        (
            "process_max_fds",
            "Limit on open descriptors.",
            Kind::Gauge,
            process.max_fds,
        ),
        ("process_threads", "Threads.", Kind::Gauge, process.threads),
        (
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
            Kind::Gauge,
            process.start_seconds,
        ),
        (
            "log_lines_dropped",
            "Log lines lost to a slow reader or a failed write.",
            Kind::Counter,
            float(i64::try_from(log::dropped()).unwrap_or(i64::MAX)),
        ),
    ] {
        visitor.family(name, help, kind, &|sink| {
            sink(
                &[],
                if kind == Kind::Counter {
                    Value::Counter(value)
                } else {
                    Value::Gauge(value)
                },
            );
        });
    }
}

fn build(metrics: &Metrics, visitor: &mut dyn Visitor) {
    visitor.family(
        "build_info",
        "What is running; always 1.",
        Kind::Gauge,
        &|sink| {
            let build = &metrics.build;
            let labels = [
                ("version", build.version),
                ("revision", build.revision),
                ("region", &build.region),
                ("environment", &build.environment),
            ];
            sink(&labels, Value::Gauge(1.0));
        },
    );
}

/// Microseconds in a second.
const SECONDS: f64 = 1e6;

fn gauge(visitor: &mut dyn Visitor, name: &str, help: &str, cell: &Gauge) {
    visitor.family(name, help, Kind::Gauge, &|sink| {
        sink(&[], number(cell.get()))
    });
}

fn count(visitor: &mut dyn Visitor, name: &str, help: &str, cell: &Counter) {
    visitor.family(name, help, Kind::Counter, &|sink| {
        sink(&[], counter(cell.get()))
    });
}

fn durations(visitor: &mut dyn Visitor, name: &str, help: &str, cell: &Durations) {
    visitor.family(name, help, Kind::Histogram, &|sink| {
        histogram(&[], cell, SECONDS, sink)
    });
}

fn by_label<'a, I: Iterator<Item = (&'a str, &'a Counter)>>(
    visitor: &mut dyn Visitor,
    name: &str,
    help: &str,
    label: &str,
    cells: &dyn Fn() -> I,
) {
    visitor.family(name, help, Kind::Counter, &|sink| {
        for (value, cell) in cells() {
            sink(&[(label, value)], counter(cell.get()));
        }
    });
}

fn histogram<const N: usize>(
    labels: Labels<'_>,
    cell: &Histogram<N>,
    per_unit: f64,
    sink: Sink<'_>,
) {
    let scale = |value: u64| float(i64::try_from(value).unwrap_or(i64::MAX)) / per_unit;
    let buckets: Vec<(f64, u64)> = cell
        .buckets()
        .map(|(bound, count)| (bound.map_or(f64::INFINITY, scale), count))
        .collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    sink(
        labels,
        Value::Histogram {
            buckets: &buckets,
            count,
            sum: scale(cell.sum()),
        },
    );
}

fn counter(value: u64) -> Value<'static> {
    Value::Counter(float(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn number(value: i64) -> Value<'static> {
    Value::Gauge(float(value))
}

/// Exact up to 2^53, which a counter of requests does not reach in a process' life.
#[allow(clippy::cast_precision_loss)]
fn float(value: i64) -> f64 {
    value as f64
}
