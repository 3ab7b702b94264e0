//! What a migration did, and why it could not.

use std::fmt;
use std::io;
use tokio_postgres::error::SqlState;

use super::Migration;
use crate::pg::error::ConnectError;
use crate::pg::owner;

/// What was done. Nothing in it is secret.
#[derive(Debug)]
pub struct Report {
    /// The schema that holds the tables.
    pub schema: String,
    /// A sentence for each thing that was done, or left as it was where somebody could expect otherwise, in order.
    pub steps: Vec<String>,
}

/// Why nothing was changed. The text is for operators and holds no secret.
#[derive(Debug)]
pub enum MigrateError {
    /// The runtime could not start.
    Runtime(io::Error),
    /// There is no connection.
    Connect(ConnectError),
    /// A statement failed.
    Statement {
        /// What it was for.
        doing: String,
        /// What PostgreSQL said.
        reason: String,
        /// Whether it failed because a lock was not to be had in time.
        is_lock_timeout: bool,
    },
    /// A migration that was applied is not the one of this version.
    Changed(Migration),
    /// No schema of the search path exists.
    NoSchema,
    /// The owner does not have a right.
    Rights {
        /// What it was for.
        doing: String,
        /// What somebody with the right should run.
        remedy: String,
    },
    /// The application's login is missing, and there is no password to make it with.
    NoPassword(String),
}

impl MigrateError {
    /// Whether a new attempt may succeed once another session has released its lock.
    pub(super) fn is_lock_timeout(&self) -> bool {
        matches!(
            self,
            Self::Statement {
                is_lock_timeout: true,
                ..
            }
        )
    }
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(e) => write!(f, "the runtime could not start: {e}"),
            Self::Connect(e) => write!(f, "cannot connect as the owner: {e}"),
            Self::Statement { doing, reason, .. } => write!(f, "{doing} failed: {reason}"),
            Self::Changed(migration) => write!(
                f,
                "migration {} ({}) was applied with other contents than this version has: its file \
                 was changed after release, or the database belongs to something else",
                migration.version, migration.name
            ),
            Self::NoSchema => f.write_str(
                "no schema in the owner's search_path exists; create one, or change the search_path",
            ),
            Self::Rights { doing, remedy } => {
                write!(f, "the owner does not have the right for {doing}; {remedy}")
            }
            Self::NoPassword(role) => write!(
                f,
                "the application's login {role} does not exist, and its URL has no password to \
                 create it with"
            ),
        }
    }
}

impl std::error::Error for MigrateError {}

/// For `map_err`: the statement was for `doing`.
pub(super) fn failed(doing: &str) -> impl Fn(tokio_postgres::Error) -> MigrateError + use<> {
    let doing = doing.to_owned();
    move |error| MigrateError::Statement {
        doing: doing.clone(),
        reason: owner::explain(&error),
        is_lock_timeout: error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE),
    }
}

/// For `map_err`: like [`failed`], and a missing right is answered with `remedy`.
pub(super) fn failed_for_rights(
    doing: &str,
    remedy: String,
) -> impl Fn(tokio_postgres::Error) -> MigrateError + use<> {
    let doing = doing.to_owned();
    move |error| {
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            MigrateError::Rights {
                doing: format!("{doing} ({})", owner::explain(&error)),
                remedy: remedy.clone(),
            }
        } else {
            failed(&doing)(error)
        }
    }
}

/// For `map_err`: a statement that makes something in `schema`.
pub(super) fn failed_in_schema(
    schema: &str,
) -> impl Fn(tokio_postgres::Error) -> MigrateError + use<> {
    failed_for_rights(
        &format!("creating tables in schema {schema}"),
        format!(
            "ask its owner to run: GRANT CREATE, USAGE ON SCHEMA {schema} TO <the owner's role>"
        ),
    )
}
