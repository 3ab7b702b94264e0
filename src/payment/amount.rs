//! Exact amounts: an integer of minor units and where the decimal point stands.

use std::fmt;

use super::Currency;
use crate::limits::AMOUNT_MAX_DIGITS;

/// The amount of a payment that names none: 100 major units (EUR 100.00, JPY 100, KWD 100.000).
pub const DEFAULT_MAJOR_UNITS: i64 = 100;

/// An exact amount. It displays as a decimal with all its minor units, such as `12.30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// The amount in the currency's minor unit.
    pub minor_units: i64,
    /// Decimals of the major unit.
    pub exponent: u8,
}

impl Amount {
    /// `units` of the currency's major unit.
    pub fn from_major_units(units: i64, currency: Currency) -> Self {
        let exponent = currency.exponent();
        Self {
            minor_units: units.saturating_mul(10_i64.saturating_pow(u32::from(exponent))),
            exponent,
        }
    }

    /// Reads an amount above 0 in `currency`: JSON's number without sign and exponent (RFC 8259
    /// section 6), so `12`, `12.3`, `12.30`, and neither `+1`, `1e2`, `1,000`, `.5`, `5.` nor `007`:
    /// an amount that could be read in two ways is not paid.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let malformed = AmountError::Malformed(currency);
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(malformed),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !digits(whole) || !digits(decimals) {
            return Err(malformed);
        }
        let exponent = usize::from(currency.exponent());
        if decimals.len() > exponent {
            return Err(AmountError::TooManyDecimals(currency));
        }
        if whole.len() + exponent > AMOUNT_MAX_DIGITS {
            return Err(AmountError::TooLarge(currency));
        }
        let padding = std::iter::repeat_n(b'0', exponent - decimals.len());
        let minor_units = whole
            .bytes()
            .chain(decimals.bytes())
            .chain(padding)
            .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        if minor_units == 0 {
            return Err(AmountError::Zero);
        }
        Ok(Self {
            minor_units,
            exponent: currency.exponent(),
        })
    }

    /// Gives the pieces of the decimal to `put`, in their order.
    pub fn write<E>(&self, mut put: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        if self.minor_units < 0 {
            put("-")?;
        }
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(self.minor_units.unsigned_abs());
        let exponent = usize::from(self.exponent);
        if exponent == 0 {
            return put(digits);
        }
        let (whole, decimals) = digits
            .split_at_checked(digits.len().saturating_sub(exponent))
            .unwrap_or(("", digits));
        put(if whole.is_empty() { "0" } else { whole })?;
        put(".")?;
        for _ in decimals.len()..exponent {
            put("0")?;
        }
        put(decimals)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(|piece| f.write_str(piece))
    }
}

/// Why a text is not an amount. Displays as the rest of a sentence that begins with the field's
/// name, and says which form is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// Not a plain decimal.
    Malformed(Currency),
    /// More decimals than the currency has minor units.
    TooManyDecimals(Currency),
    /// More digits than are stored.
    TooLarge(Currency),
    /// Nothing would be paid.
    Zero,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(currency) => write!(
                f,
                "must be a plain decimal such as {}: digits, and a point before the decimals if \
                 there are any; no sign, exponent, separator, space or leading zero",
                Amount::from_major_units(12, *currency)
            ),
            Self::TooManyDecimals(currency) => match currency.exponent() {
                0 => write!(
                    f,
                    "must have no decimals, because {currency} has no minor units"
                ),
                1 => write!(f, "must have at most 1 decimal in {currency}"),
                count => write!(f, "must have at most {count} decimals in {currency}"),
            },
            Self::TooLarge(currency) => write!(
                f,
                "must have at most {} digits before the decimal point in {currency}",
                AMOUNT_MAX_DIGITS.saturating_sub(usize::from(currency.exponent()))
            ),
            Self::Zero => f.write_str("must be more than 0"),
        }
    }
}

impl std::error::Error for AmountError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn exact_decimals_become_minor_units() {
        for (text, code, minor_units, shown) in [
            ("12", "EUR", 1_200, "12.00"),
            ("12.3", "EUR", 1_230, "12.30"),
            ("12.30", "EUR", 1_230, "12.30"),
            ("0.01", "EUR", 1, "0.01"),
            ("0.10", "EUR", 10, "0.10"),
            ("1", "JPY", 1, "1"),
            ("1500", "JPY", 1_500, "1500"),
            ("0.001", "KWD", 1, "0.001"),
            ("1.5", "KWD", 1_500, "1.500"),
            ("2.0001", "CLF", 20_001, "2.0001"),
            (
                "9999999999999.99",
                "EUR",
                999_999_999_999_999,
                "9999999999999.99",
            ),
            (
                "999999999999999",
                "JPY",
                999_999_999_999_999,
                "999999999999999",
            ),
            (
                "99999999999.9999",
                "CLF",
                999_999_999_999_999,
                "99999999999.9999",
            ),
        ] {
            let amount = Amount::parse(text, currency(code)).unwrap();
            assert_eq!(amount.minor_units, minor_units, "{text} {code}");
            assert_eq!(amount.to_string(), shown);
            assert_eq!(Amount::parse(shown, currency(code)), Ok(amount));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_accepted_form() {
        let malformed = [
            "", " ", "+1", "-1", "-0", "1e2", "1E2", "1,000", "1_000", "1 000", "1.", ".5", ".",
            "1.2.3", "007", "00", "00.5", " 1", "1 ", "0x10", "1\n", "NaN", "inf", "١٢", "１２",
            "€1", "1.-5", "1.+5", "1.5 ",
        ];
        for text in malformed {
            let error = Amount::parse(text, Currency::EUR).unwrap_err();
            assert_eq!(error, AmountError::Malformed(Currency::EUR), "{text:?}");
        }
        for (text, code, sentence) in [
            ("1.234", "EUR", "must have at most 2 decimals in EUR"),
            ("1.000", "EUR", "must have at most 2 decimals in EUR"),
            (
                "1.0",
                "JPY",
                "must have no decimals, because JPY has no minor units",
            ),
            ("1.2345", "KWD", "must have at most 3 decimals in KWD"),
            ("0", "EUR", "must be more than 0"),
            ("0.00", "EUR", "must be more than 0"),
            (
                "10000000000000",
                "EUR",
                "must have at most 13 digits before the decimal point in EUR",
            ),
            (
                "1000000000000000",
                "JPY",
                "must have at most 15 digits before the decimal point in JPY",
            ),
            (
                "99999999999999999999999999",
                "EUR",
                "must have at most 13 digits before the decimal point in EUR",
            ),
        ] {
            let error = Amount::parse(text, currency(code)).unwrap_err();
            assert_eq!(error.to_string(), sentence, "{text} {code}");
        }
        let error = Amount::parse("x", currency("JPY")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("must be a plain decimal such as 12: ")
        );
    }

    #[test]
    fn the_default_is_a_hundred_major_units_of_any_currency() {
        for (code, shown) in [
            ("EUR", "100.00"),
            ("JPY", "100"),
            ("KWD", "100.000"),
            ("CLF", "100.0000"),
        ] {
            let amount = Amount::from_major_units(DEFAULT_MAJOR_UNITS, currency(code));
            assert_eq!(amount.to_string(), shown);
        }
    }

    #[test]
    fn every_stored_amount_displays_exactly() {
        for (minor_units, exponent, shown) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (-1_234, 2, "-12.34"),
            (i64::MAX, 0, "9223372036854775807"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MIN, 18, "-9.223372036854775808"),
            (i64::MIN, 21, "-0.009223372036854775808"),
        ] {
            let amount = Amount {
                minor_units,
                exponent,
            };
            assert_eq!(amount.to_string(), shown);
        }
    }
}
