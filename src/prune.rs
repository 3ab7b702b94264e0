//! The verb `prune`: removes payments past an age, in small batches.
//!
//! Each batch is a transaction of its own, so that locks, WAL and the work of a replica stay short
//! and an interrupted run loses nothing. It acts as the schema's owner: the application itself has
//! no right to delete.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::config::DatabaseTarget;
use crate::limits::{PRUNE_AGE_DAYS, PRUNE_BATCH_COUNT, PRUNE_PAUSE_FACTOR};
use crate::pg::error::ConnectError;
use crate::pg::owner;

/// The age is measured by the database's clock, once: later batches must not chase it.
const CUTOFF_SQL: &str = "SELECT now() - make_interval(secs => $1)";

/// No order is asked for: rows lie in the order of their time, and sorting would read all that are
/// due for every batch. A second `prune` at the same time takes other rows.
const DELETE_SQL: &str = "DELETE FROM payments WHERE ctid = ANY (ARRAY (\
     SELECT ctid FROM payments WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Removes payments older than `older_than`, at most `batch` of them in one transaction (brought
/// into the range of [`PRUNE_BATCH_COUNT`]), until none is left. `progress` gets the number removed
/// so far, after each batch. Blocks, on a runtime of its own; returns the number removed.
///
/// # Errors
/// What earlier batches removed stays removed; `progress` has told how much that was.
pub fn run(
    target: &DatabaseTarget,
    older_than: Duration,
    batch: u64,
    progress: impl FnMut(u64),
) -> Result<u64, PruneError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PruneError::Runtime)?
        .block_on(prune(target, older_than, batch, progress))
}

/// Reads an age: a whole number and its unit, `d`, `h` or `m`, as in `90d`, `12h` or `30m`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let unit_s = match text.as_bytes().last() {
        Some(b'd') => 24 * 3_600,
        Some(b'h') => 3_600,
        Some(b'm') => 60,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let age = number
        .parse::<u64>()
        .ok()
        .filter(|_| digits)
        .and_then(|number| number.checked_mul(unit_s))
        .filter(|&seconds| seconds > 0 && seconds <= OLDEST);
    age.map(Duration::from_secs).ok_or_else(|| {
        format!(
            "an age is a whole number with d, h or m behind it (90d, 12h, 30m), up to {}d",
            PRUNE_AGE_DAYS.max
        )
    })
}

const DAY: u64 = 24 * 3_600;
const OLDEST: u64 = PRUNE_AGE_DAYS.max * DAY;

async fn prune(
    target: &DatabaseTarget,
    older_than: Duration,
    batch: u64,
    mut progress: impl FnMut(u64),
) -> Result<u64, PruneError> {
    let batch = batch.clamp(PRUNE_BATCH_COUNT.min, PRUNE_BATCH_COUNT.max);
    let client = owner::connect(target).await.map_err(PruneError::Connect)?;
    let removed = remove(&client, older_than, batch, &mut progress).await;
    removed.map_err(|e| PruneError::Statement(owner::explain(&e)))
}

async fn remove(
    client: &Client,
    older_than: Duration,
    batch: u64,
    progress: &mut impl FnMut(u64),
) -> Result<u64, tokio_postgres::Error> {
    let cutoff = client
        .query_one(CUTOFF_SQL, &[&older_than.as_secs_f64()])
        .await?;
    let cutoff: std::time::SystemTime = cutoff.get(0);
    let statement = client.prepare(DELETE_SQL).await?;
    let limit = i64::try_from(batch).unwrap_or(i64::MAX);
    let mut total = 0;
    loop {
        let began = Instant::now();
        let removed = client.execute(&statement, &[&cutoff, &limit]).await?;
        total += removed;
        progress(total);
        if removed < batch {
            return Ok(total);
        }
        sleep(began.elapsed() * PRUNE_PAUSE_FACTOR).await;
    }
}

/// Why pruning ended early. The text is for operators and holds no secret.
#[derive(Debug)]
pub enum PruneError {
    /// The runtime could not start.
    Runtime(io::Error),
    /// There is no connection.
    Connect(ConnectError),
    /// A batch failed; it holds what PostgreSQL said.
    Statement(String),
}

impl fmt::Display for PruneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(e) => write!(f, "the runtime could not start: {e}"),
            Self::Connect(e) => write!(f, "no connection as the owner: {e}"),
            Self::Statement(reason) => write!(f, "removing payments failed: {reason}"),
        }
    }
}

impl std::error::Error for PruneError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_its_unit() {
        for (text, seconds) in [
            ("90d", 90 * 86_400),
            ("12h", 12 * 3_600),
            ("30m", 1_800),
            ("1m", 60),
            ("0090d", 90 * 86_400),
            ("36500d", 36_500 * 86_400),
        ] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_age() {
        for text in [
            "",
            "d",
            "90",
            "90s",
            "90D",
            "-1d",
            "+1d",
            "1.5d",
            " 1d",
            "1d ",
            "1 d",
            "0d",
            "0m",
            "36501d",
            "99999999999999999999d",
            "18446744073709551615d",
            "1€",
        ] {
            assert!(parse_age(text).is_err(), "{text:?}");
        }
    }
}
