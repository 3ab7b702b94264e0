//! ISO 4217 currencies, from the published table.

use std::fmt;

/// Codes that the table still lists for old records, and that ISO 4217 has withdrawn (list three):
/// they can be read, and no new payment is made in them.
const WITHDRAWN: [&str; 5] = ["BGN", "CUC", "HRK", "SLL", "ZWL"];

/// A currency that has minor units, so that amounts in it are exact integers of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    iso: iso_currency::Currency,
    exponent: u8,
}

impl Currency {
    /// The euro: what a region without a currency of its own uses.
    pub const EUR: Self = Self::known(iso_currency::Currency::EUR, 2);
    /// The Mexican peso.
    pub const MXN: Self = Self::known(iso_currency::Currency::MXN, 2);

    const fn known(iso: iso_currency::Currency, exponent: u8) -> Self {
        Self { iso, exponent }
    }

    /// The currency of a new payment: three upper-case letters, in force, with minor units.
    pub fn parse(code: &str) -> Result<Self, CurrencyError> {
        let iso = iso_currency::Currency::from_code(code).ok_or(CurrencyError::Unknown)?;
        let exponent = iso.exponent().and_then(|digits| u8::try_from(digits).ok());
        let exponent = exponent.ok_or(CurrencyError::NoMinorUnits)?;
        if WITHDRAWN.contains(&code) {
            return Err(CurrencyError::Withdrawn);
        }
        Ok(Self { iso, exponent })
    }

    /// The currency of a payment that was stored: like [`Self::parse`], and also a withdrawn one,
    /// because its payments stay readable.
    pub fn from_code(code: &str) -> Option<Self> {
        let iso = iso_currency::Currency::from_code(code)?;
        let exponent = u8::try_from(iso.exponent()?).ok()?;
        Some(Self { iso, exponent })
    }

    /// The alphabetic code, such as `EUR`.
    pub fn code(&self) -> &'static str {
        self.iso.code()
    }

    /// Decimals of the major unit: JPY 0, EUR 2, KWD 3, CLF 4.
    pub fn exponent(&self) -> u8 {
        self.exponent
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a code is not the currency of a new payment. Displays as the rest of a sentence that begins
/// with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrencyError {
    /// ISO 4217 has no such code, or it is not in upper case.
    Unknown,
    /// Metals, funds' units and test codes: ISO 4217 gives them no minor unit.
    NoMinorUnits,
    /// ISO 4217 has withdrawn the code.
    Withdrawn,
}

impl fmt::Display for CurrencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "must be an ISO 4217 alphabetic code of three upper-case letters, such as EUR"
            }
            Self::NoMinorUnits => {
                "has no minor units in ISO 4217, so amounts in it cannot be exact; use the code \
                 of a currency, such as EUR"
            }
            Self::Withdrawn => {
                "was withdrawn from ISO 4217; use the code of the currency that replaced it"
            }
        })
    }
}

impl std::error::Error for CurrencyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_those_of_the_published_table() {
        // ISO 4217, list one, published 2026-01-01: every code whose minor unit is not 2.
        let table: [(&str, u8); 26] = [
            ("BHD", 3),
            ("BIF", 0),
            ("CLF", 4),
            ("CLP", 0),
            ("DJF", 0),
            ("GNF", 0),
            ("IQD", 3),
            ("ISK", 0),
            ("JOD", 3),
            ("JPY", 0),
            ("KMF", 0),
            ("KRW", 0),
            ("KWD", 3),
            ("LYD", 3),
            ("OMR", 3),
            ("PYG", 0),
            ("RWF", 0),
            ("TND", 3),
            ("UGX", 0),
            ("UYI", 0),
            ("UYW", 4),
            ("VND", 0),
            ("VUV", 0),
            ("XAF", 0),
            ("XOF", 0),
            ("XPF", 0),
        ];
        let letters = || b'A'..=b'Z';
        let mut taken = String::new();
        for (a, b, c) in
            letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| (a, b, c))))
        {
            let code = String::from_utf8(vec![a, b, c]).unwrap();
            if let Ok(currency) = Currency::parse(&code) {
                let other = table.iter().find(|(listed, _)| *listed == code);
                assert_eq!(currency.exponent(), other.map_or(2, |row| row.1), "{code}");
                assert_eq!(currency.code(), code);
                assert_eq!(Currency::from_code(&code), Some(currency));
                taken.push_str(&code);
                taken.push('\n');
            }
        }
        // 178 codes in list one, 13 of them without a minor unit.
        assert_eq!(taken.lines().count(), 165);
        // The chart takes the same ones for a default.
        assert_eq!(taken, include_str!("../../chart/currencies.txt"));
    }

    #[test]
    fn codes_without_minor_units_and_withdrawn_ones_are_refused_with_a_reason() {
        for (code, expected) in [
            ("XAU", CurrencyError::NoMinorUnits),
            ("XDR", CurrencyError::NoMinorUnits),
            ("XTS", CurrencyError::NoMinorUnits),
            ("HRK", CurrencyError::Withdrawn),
            ("BGN", CurrencyError::Withdrawn),
            ("eur", CurrencyError::Unknown),
            ("Eur", CurrencyError::Unknown),
            ("", CurrencyError::Unknown),
            ("EU", CurrencyError::Unknown),
            ("EURO", CurrencyError::Unknown),
            ("EUR ", CurrencyError::Unknown),
            ("ZZZ", CurrencyError::Unknown),
            ("€€€", CurrencyError::Unknown),
        ] {
            assert_eq!(Currency::parse(code), Err(expected), "{code}");
        }
    }

    #[test]
    fn stored_payments_in_a_withdrawn_currency_stay_readable() {
        for code in WITHDRAWN {
            let iso = iso_currency::Currency::from_code(code).unwrap();
            assert!(iso.is_superseded().is_some(), "{code} is not withdrawn");
            assert_eq!(Currency::from_code(code).unwrap().code(), code);
        }
        assert_eq!(Currency::from_code("XAU"), None);
    }

    #[test]
    fn the_constants_agree_with_the_table() {
        assert_eq!(Currency::parse("EUR"), Ok(Currency::EUR));
        assert_eq!(Currency::parse("MXN"), Ok(Currency::MXN));
    }
}
