//! The two statements of the service, as bytes: the durable insert, and the look at the row that an
//! earlier attempt or an earlier caller left.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use std::io;

use crate::config::StatementMode;
use crate::payment::{Amount, Currency, IdempotencyKey, Outcome};
use crate::pg::messages::{self, Columns, Malformed};

/// A conflict is not an error here: it is a repeated attempt or a replayed key, and the row that is
/// there already answers. `created_at` comes from the database, so a replay can repeat it exactly.
const INSERT_SQL: &str = "INSERT INTO payments (transaction_id, idempotency_key, request_hash, \
     amount_minor, amount_exponent, currency, region, status, processing_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING created_at";

/// The row of this very payment comes before one with the same key: then the attempt had arrived.
const LOOKUP_SQL: &str = "SELECT transaction_id, request_hash, amount_minor, amount_exponent, \
     currency, status, processing_ms, created_at FROM payments \
     WHERE transaction_id = $1 OR idempotency_key = $2 ORDER BY transaction_id = $1 DESC LIMIT 1";

const INSERT_NAME: &str = "payment_insert";
const LOOKUP_NAME: &str = "payment_lookup";

// Object identifiers of PostgreSQL's types, fixed since its catalog's beginning (pg_type.dat).
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const UUID: u32 = 2950;
const INSERT_TYPES: [u32; 9] = [UUID, TEXT, BYTEA, INT8, INT2, TEXT, TEXT, TEXT, INT4];
const LOOKUP_TYPES: [u32; 2] = [UUID, TEXT];
const BINARY: i16 = 1;

/// One payment, ready to be written.
#[derive(Clone, Debug)]
pub struct Insert {
    /// Made before sending, so that a repeated attempt cannot write twice.
    pub transaction_id: [u8; 16],
    /// The caller's key, if there is one.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Tells a replay from another request under the same key.
    pub request_hash: [u8; 32],
    /// What is paid.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// What the acquirer said.
    pub outcome: Outcome,
    /// How long the simulated acquirer took.
    pub processing_ms: u16,
}

/// The row that stands in the table for a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose row it is.
    pub transaction_id: [u8; 16],
    /// The request that wrote it.
    pub request_hash: [u8; 32],
    /// What was paid.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// What the acquirer said.
    pub outcome: Outcome,
    /// How long the simulated acquirer took.
    pub processing_ms: u16,
    /// Microseconds since 2000-01-01 UTC, PostgreSQL's epoch.
    pub created_at: i64,
}

/// Appends the statements that a new connection begins with: they prove that the table has the
/// columns this version needs, and in `named` mode they stay prepared.
pub fn prepare(mode: StatementMode, out: &mut BytesMut) -> io::Result<()> {
    let (insert, lookup) = names(mode);
    frontend::parse(insert, INSERT_SQL, INSERT_TYPES, out)?;
    frontend::parse(lookup, LOOKUP_SQL, LOOKUP_TYPES, out)?;
    frontend::sync(out);
    Ok(())
}

/// Appends one insert, without the Sync that commits it: several may share one.
pub fn insert(
    mode: StatementMode,
    region: &str,
    payment: &Insert,
    out: &mut BytesMut,
) -> io::Result<()> {
    let (name, _) = names(mode);
    if mode == StatementMode::Unnamed {
        frontend::parse(name, INSERT_SQL, INSERT_TYPES, out)?;
    }
    bind(name, 0..9_u8, out, |column, out| {
        match column {
            0 => out.extend_from_slice(&payment.transaction_id),
            1 => match &payment.idempotency_key {
                Some(key) => out.extend_from_slice(key.as_str().as_bytes()),
                None => return IsNull::Yes,
            },
            2 => out.extend_from_slice(&payment.request_hash),
            3 => out.extend_from_slice(&payment.amount.minor_units.to_be_bytes()),
            4 => out.extend_from_slice(&i16::from(payment.amount.exponent).to_be_bytes()),
            5 => out.extend_from_slice(payment.currency.code().as_bytes()),
            6 => out.extend_from_slice(region.as_bytes()),
            7 => out.extend_from_slice(payment.outcome.as_str().as_bytes()),
            _ => out.extend_from_slice(&i32::from(payment.processing_ms).to_be_bytes()),
        }
        IsNull::No
    })?;
    frontend::execute("", 0, out)
}

/// Appends the look at the row that an insert ran into.
pub fn lookup(mode: StatementMode, payment: &Insert, out: &mut BytesMut) -> io::Result<()> {
    let (_, name) = names(mode);
    if mode == StatementMode::Unnamed {
        frontend::parse(name, LOOKUP_SQL, LOOKUP_TYPES, out)?;
    }
    bind(name, 0..2_u8, out, |column, out| {
        match (column, &payment.idempotency_key) {
            (0, _) => out.extend_from_slice(&payment.transaction_id),
            (_, Some(key)) => out.extend_from_slice(key.as_str().as_bytes()),
            (_, None) => return IsNull::Yes,
        }
        IsNull::No
    })?;
    frontend::execute("", 0, out)
}

/// The insert's row: when it was written.
pub fn read_insert(body: &[u8]) -> Result<i64, Malformed> {
    Columns::new(body)?.fixed().map(i64::from_be_bytes)
}

/// The lookup's row.
pub fn read_lookup(body: &[u8]) -> Result<Row, Malformed> {
    let mut columns = Columns::new(body)?;
    Ok(Row {
        transaction_id: columns.fixed()?,
        request_hash: columns.fixed()?,
        amount: Amount {
            minor_units: columns.fixed().map(i64::from_be_bytes)?,
            exponent: columns
                .fixed()
                .map(i16::from_be_bytes)?
                .try_into()
                .map_err(|_| Malformed)?,
        },
        currency: Currency::from_code(columns.text()?).ok_or(Malformed)?,
        outcome: match columns.text()? {
            "approved" => Outcome::Approved,
            "declined" => Outcome::Declined,
            _ => return Err(Malformed),
        },
        processing_ms: columns
            .fixed()
            .map(i32::from_be_bytes)?
            .try_into()
            .map_err(|_| Malformed)?,
        created_at: columns.fixed().map(i64::from_be_bytes)?,
    })
}

/// Whether `message` is one that may come at any time and means nothing to a payment.
/// <https://www.postgresql.org/docs/17/protocol-flow.html#PROTOCOL-ASYNC>
pub fn is_asynchronous(message: &messages::Message<'_>) -> bool {
    matches!(message.tag, b'N' | b'S' | b'A')
}

fn names(mode: StatementMode) -> (&'static str, &'static str) {
    match mode {
        StatementMode::Unnamed => ("", ""),
        StatementMode::Named => (INSERT_NAME, LOOKUP_NAME),
    }
}

fn bind(
    statement: &str,
    columns: std::ops::Range<u8>,
    out: &mut BytesMut,
    mut write: impl FnMut(u8, &mut BytesMut) -> IsNull,
) -> io::Result<()> {
    let written = frontend::bind(
        "",
        statement,
        [BINARY],
        columns,
        |column, out| Ok(write(column, out)),
        [BINARY],
        out,
    );
    written.map_err(|e| match e {
        frontend::BindError::Conversion(e) => io::Error::other(e),
        frontend::BindError::Serialization(e) => e,
    })
}
