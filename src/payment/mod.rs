//! The domain: what a payment is, and which requests for one are valid.
//!
//! It knows neither HTTP nor PostgreSQL: it is given a query as bytes and answers with values and
//! with sentences that name the field at fault.

mod amount;
mod currency;
mod idempotency;
mod parameters;

pub use amount::{Amount, AmountError, DEFAULT_MAJOR_UNITS};
pub use currency::{Currency, CurrencyError};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use parameters::{InvalidParameter, Parameters};

/// What the simulated acquirer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The payment goes through; the default.
    Approved,
    /// The payment is refused. It is written all the same.
    Declined,
}

impl Outcome {
    /// The word in the query, in the answer and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }

    /// The outcome that `word` names, in lower case.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "approved" => Some(Self::Approved),
            "declined" => Some(Self::Declined),
            _ => None,
        }
    }
}
