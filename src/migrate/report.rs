//! What a migration did, and why it could not.

use std::fmt;
use std::io;
use tokio_postgres::error::SqlState;

use super::Migration;
use super::roles::GROUP;
use crate::pg::error::ConnectError;
use crate::pg::owner;

/// What was done. Nothing in it is secret.
#[derive(Debug)]
pub struct Report {
    /// The schema that holds the tables.
    pub schema: String,
    /// What was done, in order; empty when everything was there.
    pub steps: Vec<Step>,
}

/// One thing that was done, or left as it was where somebody could expect otherwise.
#[derive(Clone, Debug)]
pub enum Step {
    /// A migration was applied.
    Applied(Migration),
    /// A later version of the service has applied one that this one does not know.
    UnknownLeft {
        /// Its number.
        version: i32,
        /// Its name.
        name: String,
    },
    /// The group role was made.
    GroupCreated,
    /// The group role is not there and was not made: the owner may not, and no other login needs it.
    GroupLeftOut,
    /// The group role got these rights.
    Granted(String),
    /// The application's login was made.
    LoginCreated(String),
    /// The application's login was there; its password and attributes are left alone.
    LoginKept(String),
    /// The application's login is there and may not log in, which is left alone.
    LoginDisabled(String),
    /// The application's login became a member of the group role.
    LoginJoined(String),
    /// The application's login is a member and does not have the group's rights, which is left alone.
    LoginWithoutRights(String),
    /// The right to make temporary tables was taken from everybody.
    TemporaryRevoked(String),
    /// Everybody may make temporary tables, and the owner may not change that.
    TemporaryLeft(String),
    /// The application uses the owner's login, so that it has all rights and needs no grant.
    ApplicationIsOwner(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied(migration) => write!(
                f,
                "migration {} ({}) was applied",
                migration.version, migration.name
            ),
            Self::UnknownLeft { version, name } => write!(
                f,
                "migration {version} ({name}) is of a later version and was left as it is"
            ),
            Self::GroupCreated => write!(f, "group role {GROUP} was created"),
            Self::GroupLeftOut => write!(
                f,
                "group role {GROUP} was not created: the owner may not create roles, and no other \
                 login needs it"
            ),
            Self::Granted(rights) => write!(f, "{GROUP} was granted {rights}"),
            Self::LoginCreated(role) => write!(f, "login {role} was created"),
            Self::LoginKept(role) => write!(f, "login {role} exists and was left as it is"),
            Self::LoginDisabled(role) => write!(
                f,
                "role {role} exists and may not log in; it was left as it is"
            ),
            Self::LoginJoined(role) => write!(f, "login {role} became a member of {GROUP}"),
            Self::LoginWithoutRights(role) => write!(
                f,
                "login {role} is a member of {GROUP} and does not inherit its rights; let an \
                 administrator run: ALTER ROLE {role} INHERIT; and from PostgreSQL 16 on: GRANT \
                 {GROUP} TO {role} WITH INHERIT TRUE"
            ),
            Self::TemporaryRevoked(database) => {
                write!(
                    f,
                    "TEMPORARY ON DATABASE {database} was revoked from PUBLIC"
                )
            }
            Self::TemporaryLeft(database) => write!(
                f,
                "everybody may make temporary tables; let the database's owner run: REVOKE \
                 TEMPORARY ON DATABASE {database} FROM PUBLIC"
            ),
            Self::ApplicationIsOwner(role) => write!(
                f,
                "the application uses the owner's login {role}, which has all rights; a login of \
                 its own would have fewer"
            ),
        }
    }
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
        /// Whether it was that a lock was not to be had in time.
        is_lock_timeout: bool,
    },
    /// A migration that was applied is not the one of this version.
    Changed(Migration),
    /// No schema of the search path exists.
    NoSchema,
    /// The owner lacks a right.
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
    /// Whether the same may succeed as soon as another session has let go.
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
            Self::Connect(e) => write!(f, "no connection as the owner: {e}"),
            Self::Statement { doing, reason, .. } => write!(f, "{doing} failed: {reason}"),
            Self::Changed(migration) => write!(
                f,
                "migration {} ({}) was applied with other contents than this version has: its file \
                 was changed after it was released, or the database belongs to something else",
                migration.version, migration.name
            ),
            Self::NoSchema => f.write_str(
                "no schema of the owner's search_path exists; create one, or set the search_path",
            ),
            Self::Rights { doing, remedy } => {
                write!(f, "the owner has no right for {doing}; {remedy}")
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
        &format!("making tables in schema {schema}"),
        format!("let its owner run: GRANT CREATE, USAGE ON SCHEMA {schema} TO <the owner's role>"),
    )
}
