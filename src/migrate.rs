//! The verb `migrate`: brings the schema to this version, and makes the roles that use it.
//!
//! Everything happens in one transaction under an advisory lock, so that it may run any number of
//! times and from several replicas at once: the first does the work, the others find it done, unless
//! they wait for longer than `MIGRATE_LOCK_TIMEOUT_MS`. It acts as the schema's owner and must never
//! know how payments are made.
//!
//! Payments queue behind a session that waits for their table. So no statement waits for long:
//! where a lock is not to be had, the whole transaction is given up and tried again a little later.

mod report;
mod roles;

pub use report::{MigrateError, Report};
pub use roles::GROUP;

use ring::digest::{SHA256, digest};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::config::DatabaseTarget;
use crate::limits::{
    MIGRATE_LOCK_TIMEOUT_MS, MIGRATE_RETRY_PAUSE_MS, MIGRATE_STATEMENT_LOCK_TIMEOUT_MS,
    MIGRATE_STATEMENT_TIMEOUT_MS,
};
use crate::pg::owner;
use report::failed;

/// One numbered file of `migrations/`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number; the first is 1, and none is left out.
    pub version: i32,
    /// The rest of its name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// All of them, in order. A file that has been released is never changed: a new one follows.
pub const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "payments",
    sql: include_str!("../migrations/0001_payments.sql"),
}];

/// The advisory lock's key, `payments` in ASCII: held by any session that migrates this service's
/// schema.
const LOCK_KEY: i64 = i64::from_be_bytes(*b"payments");

const CREATE_LEDGER: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)";

/// Applies the migrations that are missing, then makes the group role with the application's
/// rights and, if it is missing, the login of `application`. Blocks, on a runtime of its own; the
/// report says what was done.
///
/// # Errors
/// Nothing was changed: the transaction is rolled back as a whole.
pub fn run(
    owner: &DatabaseTarget,
    application: Option<&DatabaseTarget>,
) -> Result<Report, MigrateError> {
    run_these(&MIGRATIONS, owner, application)
}

/// The same with these migrations: for tests of what a later one meets.
///
/// # Errors
/// As for [`run`].
pub fn run_these(
    migrations: &[Migration],
    owner: &DatabaseTarget,
    application: Option<&DatabaseTarget>,
) -> Result<Report, MigrateError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(MigrateError::Runtime)?
        .block_on(migrate(migrations, owner, application))
}

async fn migrate(
    migrations: &[Migration],
    owner: &DatabaseTarget,
    application: Option<&DatabaseTarget>,
) -> Result<Report, MigrateError> {
    let mut client = owner::connect(owner).await.map_err(MigrateError::Connect)?;
    let end = Instant::now() + Duration::from_millis(MIGRATE_LOCK_TIMEOUT_MS);
    let pause = Duration::from_millis(MIGRATE_RETRY_PAUSE_MS);
    loop {
        match attempt(&mut client, migrations, application, end).await {
            Err(error) if error.is_lock_timeout() && Instant::now() + pause < end => {
                sleep(pause).await;
            }
            result => return result,
        }
    }
}

/// One transaction; dropped, it is rolled back before the next one begins.
async fn attempt(
    client: &mut Client,
    migrations: &[Migration],
    application: Option<&DatabaseTarget>,
    end: Instant,
) -> Result<Report, MigrateError> {
    let mut transaction = client
        .build_transaction()
        // A session that waited for the lock must see what its holder committed.
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .map_err(failed("beginning the transaction"))?;
    // Zero would mean no limit.
    let left = end.saturating_duration_since(Instant::now()).as_millis();
    limit(&transaction, "lock_timeout", left.max(1)).await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK_KEY])
        .await
        .map_err(failed("taking the advisory lock"))?;
    for (setting, ms) in [
        ("lock_timeout", MIGRATE_STATEMENT_LOCK_TIMEOUT_MS),
        ("statement_timeout", MIGRATE_STATEMENT_TIMEOUT_MS),
    ] {
        limit(&transaction, setting, ms.into()).await?;
    }
    let schema = current_schema(&transaction).await?;
    let mut steps = Vec::new();
    // Another database's migration may be making the same roles: no table is locked while this one
    // waits for it.
    let group = roles::make(&mut transaction, application, &mut steps).await?;
    apply_missing(&transaction, migrations, &schema, &mut steps).await?;
    if let Some(owner) = group {
        roles::grant(&transaction, &schema, &owner, &mut steps).await?;
    }
    transaction.commit().await.map_err(failed("committing"))?;
    Ok(Report { schema, steps })
}

async fn limit(transaction: &Transaction<'_>, setting: &str, ms: u128) -> Result<(), MigrateError> {
    transaction
        .batch_execute(&format!("SET LOCAL {setting} = {ms}"))
        .await
        .map_err(failed("setting timeouts"))
}

/// Where unqualified names are made: the first schema of the search path that exists.
async fn current_schema(transaction: &Transaction<'_>) -> Result<String, MigrateError> {
    let row = transaction
        .query_one("SELECT current_schema()::text", &[])
        .await
        .map_err(failed("finding the schema"))?;
    row.get::<_, Option<String>>(0)
        .ok_or(MigrateError::NoSchema)
}

async fn apply_missing(
    transaction: &Transaction<'_>,
    migrations: &[Migration],
    schema: &str,
    steps: &mut Vec<String>,
) -> Result<(), MigrateError> {
    transaction
        .batch_execute(CREATE_LEDGER)
        .await
        .map_err(report::failed_in_schema(schema))?;
    let applied = transaction
        .query(
            "SELECT version, name, checksum FROM schema_migrations ORDER BY version",
            &[],
        )
        .await
        .map_err(failed("reading schema_migrations"))?;
    let applied: Vec<(i32, String, Vec<u8>)> = applied
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect::<Result<_, _>>()
        .map_err(failed("reading schema_migrations"))?;
    for migration in migrations {
        let checksum = digest(&SHA256, migration.sql.as_bytes());
        let row = applied
            .iter()
            .find(|(version, ..)| *version == migration.version);
        match row {
            Some((.., applied)) if applied == checksum.as_ref() => {}
            Some(_) => return Err(MigrateError::Changed(*migration)),
            None => {
                apply(transaction, migration, checksum.as_ref(), schema).await?;
                let Migration { version, name, .. } = migration;
                steps.push(format!("migration {version} ({name}) was applied"));
            }
        }
    }
    // A rollback of the service leaves later migrations in place: older versions can go on with
    // them.
    let newest = migrations.last().map_or(0, |migration| migration.version);
    for (version, name, _) in applied.iter().filter(|(version, ..)| *version > newest) {
        steps.push(format!(
            "migration {version} ({name}) belongs to a later version and was left unchanged"
        ));
    }
    Ok(())
}

async fn apply(
    transaction: &Transaction<'_>,
    migration: &Migration,
    checksum: &[u8],
    schema: &str,
) -> Result<(), MigrateError> {
    transaction
        .batch_execute(migration.sql)
        .await
        .map_err(report::failed_in_schema(schema))?;
    transaction
        .execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            &[&migration.version, &migration.name, &checksum],
        )
        .await
        .map_err(failed("recording the migration"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_migrations_is_embedded_under_its_number_and_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let embedded: Vec<String> = MIGRATIONS
            .iter()
            .map(|migration| format!("{:04}_{}.sql", migration.version, migration.name))
            .collect();
        assert_eq!(files, embedded);
        let versions = MIGRATIONS.map(|migration| migration.version);
        assert!(
            versions
                .into_iter()
                .eq(1..=versions.len().try_into().unwrap())
        );
    }
}
