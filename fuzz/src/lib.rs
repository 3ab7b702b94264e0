//! What each fuzz target does with its input, and what must hold. A panic is a finding.
//!
//! `fuzz_targets/` gives each function to libFuzzer; `tests/fuzz_corpora.rs` includes this file to
//! replay the corpora on a stable compiler.

mod configuration;
mod differential;
mod http;
mod postgres;

pub use configuration::configuration;
pub use differential::differential;
pub use http::{chunks, query, requests};
pub use postgres::{exchange, login, scram};

/// A target's function.
pub type Target = fn(&[u8]);

/// All targets by name: each has a file in `fuzz_targets/` and a folder in `corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("requests", requests),
    ("chunks", chunks),
    ("query", query),
    ("configuration", configuration),
    ("exchange", exchange),
    ("login", login),
    ("scram", scram),
    ("differential", differential),
];

/// Cuts bytes into pieces whose lengths depend only on `seed`, so that an input can be replayed.
struct Pieces<'a> {
    rest: &'a [u8],
    state: u32,
}

impl<'a> Pieces<'a> {
    fn new(seed: u8, bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            state: u32::from(seed) * 2 + 1,
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        // A linear congruential generator; its high bits are the random ones.
        self.state = self
            .state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let most = 1 << (self.state >> 29);
        let length = 1 + (self.state >> 16) as usize % most;
        let (piece, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}
