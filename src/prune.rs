//! The verb `prune`: removes payments past an age, in small batches.
//!
//! Each batch is a transaction of its own, so that locks, WAL and the work of a replica stay short
//! and an interrupted run loses nothing. It acts as the schema's owner: the application itself has
//! no right to delete.

use std::fmt;
use std::io;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::config::DatabaseTarget;
use crate::limits::{
    PRUNE_AGE_HOURS, PRUNE_CLOCK_MARGIN_S, PRUNE_LOCK_TIMEOUT_MS, PRUNE_PAUSE_FACTOR,
    PRUNE_PAUSE_MAX_MS, PRUNE_STATEMENT_TIMEOUT_MS,
};
use crate::pg::error::ConnectError;
use crate::pg::owner;

/// The age is measured once, by the database's clock: later batches must not chase it. The second
/// column is the first id that is too young to be looked at: a UUID of version 7 begins with its
/// milliseconds since 1970, and an age can reach back before that.
const CUTOFF_SQL: &str = "SELECT cutoff, (lpad(to_hex(greatest(0, \
     extract(epoch FROM cutoff + make_interval(secs => $2)) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid::text \
     FROM (SELECT now() - make_interval(secs => $1) AS cutoff) AS age";

/// Statistics are absent or old just when much is due. Whatever the planner makes of them, only a
/// walk along the ids reads no row twice.
const WALK_SQL: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off";

/// The server's own limits are for payments.
fn limits_sql() -> String {
    format!(
        "SET lock_timeout = {PRUNE_LOCK_TIMEOUT_MS}; \
         SET statement_timeout = {PRUNE_STATEMENT_TIMEOUT_MS}"
    )
}

/// Continues behind the last id that the batch before removed. Ids are in the order of time, so the
/// next rows are due; pages do not stay in that order, since vacuum gives them to new rows.
///
/// Ids are made by the clocks of pods, `created_at` by the database's clock, and only `created_at`
/// decides. So no row goes too early. A row whose pod's clock was ahead by more than the bound's
/// margin goes in a later run, once the bound has passed its id. A row whose pod's clock was behind
/// is looked at by every run from when the bound has passed its id until it is due.
///
/// A second `prune` at the same time takes other rows.
const DELETE_SQL: &str = "WITH removed AS (DELETE FROM payments WHERE ctid = ANY (ARRAY (\
     SELECT ctid FROM payments WHERE transaction_id > $1::text::uuid AND transaction_id < $2::text::uuid \
     AND created_at < $3 ORDER BY transaction_id LIMIT $4 FOR UPDATE SKIP LOCKED)) RETURNING transaction_id) \
     SELECT count(*), max(transaction_id::text COLLATE \"C\") FROM removed";

/// Less than every id of a payment.
const BEFORE_ALL: &str = "00000000-0000-0000-0000-000000000000";

/// Removes payments older than `older_than`, at most `batch` of them in one transaction (a number in
/// [`PRUNE_BATCH_COUNT`](crate::limits::PRUNE_BATCH_COUNT)), until none is left. `progress` gets the number removed so
/// far, after each batch. Blocks, on a runtime of its own; returns the number removed.
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

/// Reads an age: a whole number and its unit, `d` or `h`, as in `90d` or `12h`. Minutes are no
/// unit: `m` may be meant as months, and all but the payments of the last hour or two would be
/// removed.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let unit_h = match text.as_bytes().last() {
        Some(b'd') => DAY_H,
        Some(b'h') => 1,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let age = number
        .parse::<u64>()
        .ok()
        .filter(|_| digits)
        .and_then(|number| number.checked_mul(unit_h))
        .filter(|hours| (PRUNE_AGE_HOURS.min..=PRUNE_AGE_HOURS.max).contains(hours));
    age.map(Duration::from_hours).ok_or_else(|| {
        format!(
            "must be a whole number followed by d or h (90d, 12h), up to {}d",
            PRUNE_AGE_HOURS.max / DAY_H
        )
    })
}

const DAY_H: u64 = 24;

async fn prune(
    target: &DatabaseTarget,
    older_than: Duration,
    batch: u64,
    mut progress: impl FnMut(u64),
) -> Result<u64, PruneError> {
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
    client.batch_execute(&limits_sql()).await?;
    client.batch_execute(WALK_SQL).await?;
    let margin = Duration::from_secs(PRUNE_CLOCK_MARGIN_S).as_secs_f64();
    let row = client
        .query_one(CUTOFF_SQL, &[&older_than.as_secs_f64(), &margin])
        .await?;
    let (cutoff, bound): (SystemTime, String) = (row.get(0), row.get(1));
    let statement = client.prepare(DELETE_SQL).await?;
    let limit = i64::try_from(batch).unwrap_or(i64::MAX);
    let mut last = BEFORE_ALL.to_owned();
    let mut total = 0;
    loop {
        let began = Instant::now();
        let row = client
            .query_one(&statement, &[&last, &bound, &cutoff, &limit])
            .await?;
        let removed = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        total += removed;
        progress(total);
        if removed < batch {
            return Ok(total);
        }
        last = row.get(1);
        sleep(pause_after(began.elapsed())).await;
    }
}

fn pause_after(batch: Duration) -> Duration {
    let longest = Duration::from_millis(PRUNE_PAUSE_MAX_MS);
    batch.saturating_mul(PRUNE_PAUSE_FACTOR).min(longest)
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
            Self::Connect(e) => write!(f, "cannot connect as the owner: {e}"),
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
            ("1h", 3_600),
            ("0090d", 90 * 86_400),
            ("36500d", 36_500 * 86_400),
        ] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn a_pause_is_in_proportion_to_its_batch_up_to_a_minute() {
        for (batch_ms, pause_ms) in [(0, 0), (10, 490), (1_000, 49_000), (600_000, 60_000)] {
            let [batch, pause] = [batch_ms, pause_ms].map(Duration::from_millis);
            assert_eq!(pause_after(batch), pause);
        }
    }

    #[test]
    fn anything_else_is_no_age() {
        for text in [
            "",
            "d",
            "90",
            "90s",
            "90m",
            "3M",
            "90D",
            "-1d",
            "+1d",
            "1.5d",
            " 1d",
            "1d ",
            "1 d",
            "0d",
            "0h",
            "36501d",
            "99999999999999999999d",
            "18446744073709551615d",
            "1€",
        ] {
            assert!(parse_age(text).is_err(), "{text:?}");
        }
    }
}
