//! The statements of the service, as bytes: the durable insert of one payment or of several, and
//! the lookup of the row that an earlier attempt or an earlier caller left.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use postgres_protocol::types::{ArrayDimension, array_to_sql};
use std::io;

use crate::config::StatementMode;
use crate::payment::{Amount, Currency, IdempotencyKey, Outcome};
use crate::pg::messages::{self, Columns, Malformed};

/// A conflict is not an error here: it is a repeated attempt or a replayed key, and the existing
/// row is the answer. `created_at` comes from the database, so a replay can repeat it exactly.
const INSERT_SQL: &str = "INSERT INTO payments (transaction_id, idempotency_key, request_hash, \
     amount_minor, amount_exponent, currency, region, status, processing_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING \
     RETURNING transaction_id, created_at";

/// The same for several payments: an array for each column, but one region for all. One statement
/// costs PostgreSQL a fraction of what as many statements cost.
const INSERT_MANY_SQL: &str = "INSERT INTO payments (transaction_id, idempotency_key, \
     request_hash, amount_minor, amount_exponent, currency, region, status, processing_ms) \
     SELECT id, key, hash, minor, exponent, currency, $7, status, processing_ms \
     FROM unnest($1, $2, $3, $4, $5, $6, $8, $9) \
     AS payment (id, key, hash, minor, exponent, currency, status, processing_ms) \
     ON CONFLICT DO NOTHING RETURNING transaction_id, created_at";

/// A row with this payment's own id comes before one with the same key: it shows that the attempt
/// had arrived.
///
/// A row can be seen before a standby has confirmed it, when the session that wrote it ended while
/// it waited. So a lookup that finds a row also writes a record into the log; its commit waits for
/// the standby, too.
/// <https://www.postgresql.org/docs/17/warm-standby.html#SYNCHRONOUS-REPLICATION-HA>
const LOOKUP_SQL: &str = "SELECT transaction_id, request_hash, amount_minor, amount_exponent, \
     currency, status, processing_ms, created_at FROM payments \
     WHERE (transaction_id = $1 OR idempotency_key = $2) \
     AND pg_logical_emit_message(true, 'payment', '') IS NOT NULL \
     ORDER BY transaction_id = $1 DESC LIMIT 1";

/// Checks what may change behind the configuration's back: that commits wait for the disk and, at
/// the beginning of a session, that the login has the rights that payments take. It takes no lock. It
/// also shows that the session is alive, since a proxy may answer a bare Sync by itself.
const VALIDATION_SQL: &str = "SELECT current_setting('synchronous_commit') <> 'off', \
     has_table_privilege('payments', 'INSERT') AND has_table_privilege('payments', 'SELECT')";

// Object identifiers of PostgreSQL's types, fixed since its catalog's beginning (pg_type.dat).
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const UUID: u32 = 2950;
const UUID_ARRAY: u32 = 2951;
const BYTEA_ARRAY: u32 = 1001;
const INT8_ARRAY: u32 = 1016;
const INT2_ARRAY: u32 = 1005;
const INT4_ARRAY: u32 = 1007;
const TEXT_ARRAY: u32 = 1009;
const BINARY: i16 = 1;

const INSERT: Statement<9> = Statement {
    name: "payment_insert",
    sql: INSERT_SQL,
    types: [UUID, TEXT, BYTEA, INT8, INT2, TEXT, TEXT, TEXT, INT4],
};
const INSERT_MANY: Statement<9> = Statement {
    name: "payment_insert_many",
    sql: INSERT_MANY_SQL,
    types: [
        UUID_ARRAY,
        TEXT_ARRAY,
        BYTEA_ARRAY,
        INT8_ARRAY,
        INT2_ARRAY,
        TEXT_ARRAY,
        TEXT,
        TEXT_ARRAY,
        INT4_ARRAY,
    ],
};
const LOOKUP: Statement<2> = Statement {
    name: "payment_lookup",
    sql: LOOKUP_SQL,
    types: [UUID, TEXT],
};
const VALIDATION: Statement<0> = Statement {
    name: "payment_validation",
    sql: VALIDATION_SQL,
    types: [],
};
/// The insert's parameter that is the same for all payments.
const REGION: usize = 6;

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

/// Appends the statements that a new connection begins with: they show that the table has the columns this version
/// needs, and in `named` mode they stay prepared. The last one is the validation query, whose row is the answer.
pub fn prepare(mode: StatementMode, out: &mut BytesMut) -> io::Result<()> {
    INSERT.parse(mode, out)?;
    INSERT_MANY.parse(mode, out)?;
    LOOKUP.parse(mode, out)?;
    if mode == StatementMode::Named {
        VALIDATION.parse(mode, out)?;
    }
    validate(mode, out)?;
    frontend::sync(out);
    Ok(())
}

/// Appends the validation query.
pub fn validate(mode: StatementMode, out: &mut BytesMut) -> io::Result<()> {
    VALIDATION.call(mode, out, |_, _| Ok(IsNull::Yes))
}

/// Appends one statement that inserts `payments`, in their order, without the Sync that commits it.
pub fn insert(
    mode: StatementMode,
    region: &str,
    payments: &[&Insert],
    out: &mut BytesMut,
) -> io::Result<()> {
    let [payment] = payments else {
        return insert_many(mode, region, payments, out);
    };
    INSERT.call(mode, out, |column, out| match column {
        REGION => value(region.as_bytes(), out),
        _ => payment.write(column, out),
    })
}

fn insert_many(
    mode: StatementMode,
    region: &str,
    payments: &[&Insert],
    out: &mut BytesMut,
) -> io::Result<()> {
    let dimension = ArrayDimension {
        len: i32::try_from(payments.len()).map_err(io::Error::other)?,
        lower_bound: 1,
    };
    INSERT_MANY.call(mode, out, |column, out| {
        if column == REGION {
            return value(region.as_bytes(), out);
        }
        let element_type = INSERT.types.get(column).copied().unwrap_or_default();
        array_to_sql(
            [dimension],
            element_type,
            payments,
            |payment, out| payment.write(column, out),
            out,
        )?;
        Ok(IsNull::No)
    })
}

/// Appends the lookup of the row that an insert conflicted with.
pub fn lookup(mode: StatementMode, payment: &Insert, out: &mut BytesMut) -> io::Result<()> {
    LOOKUP.call(mode, out, |column, out| payment.write(column, out))
}

impl Insert {
    /// Writes the value of a column, in the order of the insert's parameters; the lookup's are the
    /// first two of them.
    fn write(&self, column: usize, out: &mut BytesMut) -> Result<IsNull, Unwritten> {
        match column {
            0 => value(&self.transaction_id, out),
            1 => match &self.idempotency_key {
                Some(key) => value(key.as_str().as_bytes(), out),
                None => Ok(IsNull::Yes),
            },
            2 => value(&self.request_hash, out),
            3 => value(&self.amount.minor_units.to_be_bytes(), out),
            4 => value(&i16::from(self.amount.exponent).to_be_bytes(), out),
            5 => value(self.currency.code().as_bytes(), out),
            7 => value(self.outcome.as_str().as_bytes(), out),
            8 => value(&i32::from(self.processing_ms).to_be_bytes(), out),
            _ => Err("not a column of a payment".into()),
        }
    }
}

/// A row of the insert: which payment was written, and when.
pub fn read_insert(body: &[u8]) -> Result<([u8; 16], i64), Malformed> {
    let mut columns = Columns::new(body)?;
    Ok((columns.fixed()?, columns.fixed().map(i64::from_be_bytes)?))
}

/// The validation query's row: that commits wait for the disk, and that payments may be written and
/// read.
pub fn read_validation(mut columns: Columns<'_>) -> Result<(bool, bool), Malformed> {
    Ok((columns.fixed()? == [1], columns.fixed()? == [1]))
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
        outcome: Outcome::from_name(columns.text()?).ok_or(Malformed)?,
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

/// What cannot be written as a parameter; postgres-protocol's type.
type Unwritten = Box<dyn std::error::Error + Sync + Send>;

/// A statement, and how it is called.
struct Statement<const N: usize> {
    name: &'static str,
    sql: &'static str,
    types: [u32; N],
}

impl<const N: usize> Statement<N> {
    fn parse(&self, mode: StatementMode, out: &mut BytesMut) -> io::Result<()> {
        frontend::parse(self.name(mode), self.sql, self.types, out)
    }

    fn name(&self, mode: StatementMode) -> &'static str {
        match mode {
            StatementMode::Unnamed => "",
            StatementMode::Named => self.name,
        }
    }

    /// Binds what `write` writes for each parameter, and executes.
    fn call(
        &self,
        mode: StatementMode,
        out: &mut BytesMut,
        write: impl FnMut(usize, &mut BytesMut) -> Result<IsNull, Unwritten>,
    ) -> io::Result<()> {
        if mode == StatementMode::Unnamed {
            self.parse(mode, out)?;
        }
        let written = frontend::bind("", self.name(mode), [BINARY], 0..N, write, [BINARY], out);
        written.map_err(|e| match e {
            frontend::BindError::Conversion(e) => io::Error::other(e),
            frontend::BindError::Serialization(e) => e,
        })?;
        frontend::execute("", 0, out)
    }
}

fn value(bytes: &[u8], out: &mut BytesMut) -> Result<IsNull, Unwritten> {
    out.extend_from_slice(bytes);
    Ok(IsNull::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names between the first parentheses.
    fn columns(sql: &str) -> Vec<&str> {
        let (_, rest) = sql.split_once("INSERT INTO payments (").unwrap();
        let (list, _) = rest.split_once(')').unwrap();
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        list.split(word).filter(|name| !name.is_empty()).collect()
    }

    #[test]
    fn what_this_service_is_compared_with_writes_the_same_columns() {
        for other in [
            INSERT_MANY_SQL,
            include_str!("../../benches/peers/axum-deadpool/src/main.rs"),
            include_str!("../../benches/peers/axum-sqlx/src/main.rs"),
            include_str!("../../benches/peers/go-pgxpool/main.go"),
            include_str!("../../benches/pgbench.sql"),
        ] {
            assert_eq!(columns(other), columns(INSERT_SQL));
        }
    }
}
