//! The service from outside: the real binary, real sockets, a real PostgreSQL over TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

#[path = "../support/framing_cases.rs"]
mod framing_cases;
#[path = "../support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "tests/reliability uses more of it")]
mod support;

mod coalescing;
mod configuration;
mod drain;
mod endpoints;
mod fairness;
mod faults;
mod framing;
mod hostile;
mod idempotency;
mod metrics;
mod payments;
mod pool;
mod rotation;
