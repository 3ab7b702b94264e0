//! Faults, floods and time: whatever happens, what callers were told stands in the table.
//!
//! `make test` tries each for a moment; `make faults`, `make soak` and `make abuse` in full, and record
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
