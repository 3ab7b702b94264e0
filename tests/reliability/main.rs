//! Faults, floods and time: whatever happens, the table agrees with what callers were told.
//!
//! `make test` runs each briefly; `make faults`, `make soak` and `make abuse` run them in full, and record
//! what they saw in docs/reliability.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    dead_code,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../service/support.rs"]
mod support;

mod abuse;
mod faults;
mod ledger;
mod pooler;
mod proxy;
mod record;
mod soak;
mod stage;
