//! The pool, the coalescing and the wire on a paused clock, against a simulated PostgreSQL over
//! in-memory streams. One number, the seed, decides everything that happens, so that a failed run can
//! be repeated: `make simulate FIRST=<seed>`.
//!
//! Reading order: `world` (a run and its invariants), `known` (runs without randomness), `postgres` (the
//! server and its faults), `table` (what was committed), `wire` (messages and statements), `stream`
//! (sockets), `dice` (the seed).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failure here is the test's failure"
)]

mod dice;
mod known;
mod postgres;
mod stream;
mod table;
mod wire;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use payment_latency_api::log;
use world::TRACE;

/// Number of seeds in `make test`; `make simulate` runs as many as it is told to.
const SEEDS: u64 = 2_000;

/// Number of lines printed for a failed run.
const LINES_SHOWN: usize = 60;

thread_local! {
    /// The first panic of this thread's run. The runtime catches panics in the pool's tasks.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::discard();
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let in_run = FAILURE.with_borrow_mut(|failure| match failure {
                None => false,
                Some(text) => {
                    if text.is_empty() {
                        *text = panic.to_string();
                    }
                    true
                }
            });
            if !in_run {
                usual(panic);
            }
        }));
    });
}

/// Runs one seed, recording what happens, and returns what did not hold.
fn run(seed: u64, traced: bool) -> Option<String> {
    watch(traced, world::run(seed))
}

fn watch(traced: bool, run: impl Future<Output = ()>) -> Option<String> {
    note_panics();
    FAILURE.set(Some(String::new()));
    TRACE.set(traced.then(Vec::new));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    let _ = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
    drop(runtime);
    FAILURE.take().filter(|failure| !failure.is_empty())
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[test]
fn every_invariant_holds_for_every_seed() {
    let first = setting("FIRST").unwrap_or(0);
    let count = setting("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count || failed.load(Ordering::Relaxed) < seed {
                        return;
                    }
                    if run(seed, false).is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        u64::MAX => println!("{count} seeds from {first} on, every invariant held"),
        seed => report(seed),
    }
}

/// Runs a failed seed again and prints what happened in it.
fn report(seed: u64) {
    let failure = run(seed, true).expect("it must fail again");
    let lines = TRACE.take().unwrap();
    for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
        println!("{line}");
    }
    panic!("seed {seed}: {failure}\nreplay it with: make simulate SEEDS=1 FIRST={seed}");
}

#[test]
fn a_payment_takes_no_time_of_the_pools_own() {
    let course = known::a_payment_takes_no_time_of_the_pools_own();
    assert_eq!(watch(false, course), None);
}

#[test]
fn no_connection_outlives_a_proxys_limit() {
    let course = known::no_connection_outlives_a_proxys_limit();
    assert_eq!(watch(false, course), None);
}

#[test]
fn idle_connections_are_validated_once_an_interval() {
    let course = known::idle_connections_are_validated_once_an_interval();
    assert_eq!(watch(false, course), None);
}

#[test]
fn an_old_connection_goes_also_while_another_one_is_busy() {
    let course = known::an_old_connection_goes_also_while_another_one_is_busy();
    assert_eq!(watch(false, course), None);
}

#[test]
fn a_seed_decides_everything() {
    let lines = |seed| {
        assert_eq!(run(seed, true), None);
        TRACE.take().unwrap()
    };
    for seed in 0..40 {
        assert_eq!(
            lines(seed),
            lines(seed),
            "seed {seed} differs from its replay"
        );
    }
    assert_ne!(lines(0), lines(1), "two seeds made the same run");
}
