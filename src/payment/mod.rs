//! The domain: what a payment is, and which requests for one are valid.
//!
//! It knows neither HTTP nor PostgreSQL: it is given a query as bytes and answers with values and
//! with sentences that name the field at fault.

mod amount;
mod currency;
mod idempotency;
mod parameters;

use crate::labels::labels;

pub use amount::{Amount, AmountError, DEFAULT_MAJOR_UNITS};
pub use currency::{Currency, CurrencyError};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use parameters::{InvalidParameter, NAMES as PARAMETER_NAMES, Parameters};

/// A UUID of version 7. Its time orders index entries and nothing else: it may repeat itself or go
/// back when the clock is stepped, and the random part alone keeps two payments apart.
pub fn transaction_id(unix_micros: i64, random: &[u8; 10]) -> [u8; 16] {
    let millis = u64::try_from(unix_micros / 1_000).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, random);
    id.into_uuid().into_bytes()
}

labels! {
    /// What the simulated acquirer says, with the word in the query, in the answer and in the table.
    pub enum Outcome {
        /// The payment goes through; the default.
        Approved = "approved",
        /// The payment is refused. It is written all the same.
        Declined = "declined",
    }
}
