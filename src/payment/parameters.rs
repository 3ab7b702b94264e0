//! The query of a payment: `application/x-www-form-urlencoded` pairs, each known, valid and at most
//! once.
//!
//! The valid path allocates nothing; a refusal may.

use arrayvec::ArrayVec;
use ring::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt;

use super::{Amount, AmountError, Currency, CurrencyError, DEFAULT_MAJOR_UNITS, Outcome};
use crate::limits::{AMOUNT_MAX_DIGITS, PARAMETER_MAX_BYTES, PROCESSING_MAX_MS};

const AMOUNT: &str = "amount";
const CURRENCY: &str = "currency";
const OUTCOME: &str = "outcome";
const PROCESSING_MS: &str = "processing_ms";
/// The parameters of a payment.
pub const NAMES: [&str; 4] = [AMOUNT, CURRENCY, OUTCOME, PROCESSING_MS];
/// What is at fault when no parameter's name can be given.
const QUERY: &str = "query";

/// First bytes of every request hash, so that it is the hash of nothing else.
const HASH_CONTEXT: [u8; 19] = *b"payment-parameters\x01";

/// What is hashed: the context, and the fields of fixed widths behind it.
const ENCODED_LENGTH: usize = HASH_CONTEXT.len() + 8 + 1 + 3 + 1 + 2;

type Text = ArrayVec<u8, PARAMETER_MAX_BYTES>;

/// What a caller asks for, with the defaults in place of what was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// What is paid.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// What the simulated acquirer will say.
    pub outcome: Outcome,
    /// How long the simulated acquirer takes, in milliseconds.
    pub processing_ms: u16,
}

impl Parameters {
    /// Reads a query, the part of the target behind `?`; `None` and an empty one leave every default.
    ///
    /// `+` is a space and `%` begins two hexadecimal digits; empty pairs (`a=1&&b=2`) are passed
    /// over, as the WHATWG URL standard's parser does. An unknown, repeated, empty or malformed
    /// parameter is an error: a payment is not made from what might be a misspelling.
    pub fn from_query(
        query: Option<&[u8]>,
        default_currency: Currency,
    ) -> Result<Self, InvalidParameter> {
        let mut values: [Option<Text>; NAMES.len()] = [const { None }; NAMES.len()];
        for pair in query.unwrap_or_default().split(|&byte| byte == b'&') {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = split_pair(pair);
            let index = known_name(name)?;
            let (Some(slot), Some(&name)) = (values.get_mut(index), NAMES.get(index)) else {
                continue;
            };
            if slot.is_some() {
                return Err(InvalidParameter::new(name, "must not be repeated"));
            }
            *slot = Some(read_value(name, value, default_currency)?);
        }
        let [amount, currency, outcome, processing_ms] = &values;
        let currency = match currency {
            Some(text) => read_currency(text)?,
            None => default_currency,
        };
        Ok(Self {
            amount: match amount {
                Some(text) => read_amount(text, currency)?,
                None => Amount::from_major_units(DEFAULT_MAJOR_UNITS, currency),
            },
            currency,
            outcome: match outcome {
                Some(text) => read_outcome(text)?,
                None => Outcome::Approved,
            },
            processing_ms: match processing_ms {
                Some(text) => read_processing_ms(text)?,
                None => 0,
            },
        })
    }

    /// SHA-256 of the effective parameters: equal for two queries that ask for the same payment,
    /// however they are written, and what tells a replay from another request under the same key.
    ///
    /// The encoding is fixed-width, big-endian: context, minor units, exponent, currency's code,
    /// outcome, milliseconds. It must not change: hashes are stored, and a repeated key is compared
    /// with what an older version wrote. A new parameter goes behind these, with a byte of its own
    /// before it, and only where it differs from its default.
    pub fn request_hash(&self) -> [u8; 32] {
        let Self {
            amount,
            currency,
            outcome,
            processing_ms,
        } = self;
        let outcome = match outcome {
            Outcome::Approved => 1,
            Outcome::Declined => 2,
        };
        let mut encoded = ArrayVec::<u8, ENCODED_LENGTH>::new();
        for piece in [
            HASH_CONTEXT.as_slice(),
            &amount.minor_units.to_be_bytes(),
            &[amount.exponent],
            currency.code().as_bytes(),
            &[outcome],
            &processing_ms.to_be_bytes(),
        ] {
            let _ = encoded.try_extend_from_slice(piece);
        }
        debug_assert!(encoded.is_full());
        let mut hash = [0; 32];
        if let Some(digest) = digest(&SHA256, &encoded).as_ref().first_chunk() {
            hash = *digest;
        }
        hash
    }
}

/// Which parameter was refused, and what would have been accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    /// The parameter's name; an unknown one is cut and holds visible ASCII only.
    pub field: Cow<'static, str>,
    /// A sentence's end that follows the field's name, such as `must be approved or declined`.
    pub detail: Cow<'static, str>,
}

impl InvalidParameter {
    fn new(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: Cow::Borrowed(field),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for InvalidParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.detail)
    }
}

impl std::error::Error for InvalidParameter {}

/// A pair without `=` is a name with an empty value.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |&byte| byte == b'=');
    let name = parts.next().unwrap_or_default();
    (name, parts.next().unwrap_or_default())
}

fn known_name(encoded: &[u8]) -> Result<usize, InvalidParameter> {
    let mut name = Text::new();
    let result = decode(encoded, &mut name);
    let found = NAMES
        .iter()
        .position(|known| known.as_bytes() == name.as_slice());
    match (result, found) {
        (Ok(()), Some(index)) => Ok(index),
        (Err(Undecodable::Malformed), _) => Err(malformed(QUERY)),
        (result, _) => Err(unknown(&name, result.is_err())),
    }
}

fn unknown(name: &[u8], cut: bool) -> InvalidParameter {
    if name.is_empty() {
        return InvalidParameter::new(QUERY, "has a value without a name before the `=`");
    }
    let shown = |&byte: &u8| match byte {
        b'"' | b'\\' | b'<' | b'>' | b'&' => '?',
        byte if byte.is_ascii_graphic() => char::from(byte),
        _ => '?',
    };
    let mut field: String = name.iter().map(shown).collect();
    if cut {
        field.push_str("...");
    }
    InvalidParameter {
        field: Cow::Owned(field),
        detail: Cow::Owned(format!(
            "is not a payment parameter; use {}",
            NAMES.join(", ")
        )),
    }
}

fn read_value(
    name: &'static str,
    encoded: &[u8],
    currency: Currency,
) -> Result<Text, InvalidParameter> {
    let mut value = Text::new();
    match decode(encoded, &mut value) {
        Ok(()) if value.is_empty() => Err(InvalidParameter::new(
            name,
            "must have a value; omit the parameter for its default",
        )),
        Ok(()) => Ok(value),
        Err(Undecodable::Malformed) => Err(malformed(name)),
        Err(Undecodable::TooLong) => Err(out_of_form(name, currency)),
    }
}

fn malformed(field: &'static str) -> InvalidParameter {
    InvalidParameter::new(
        field,
        "must be percent-encoded UTF-8: each `%` followed by two hexadecimal digits",
    )
}

/// The refusal of a value that is longer than any valid one.
fn out_of_form(name: &'static str, currency: Currency) -> InvalidParameter {
    match name {
        AMOUNT => InvalidParameter::new(
            AMOUNT,
            format!(
                "{}; it has at most {AMOUNT_MAX_DIGITS} digits",
                AmountError::Malformed(currency)
            ),
        ),
        CURRENCY => InvalidParameter::new(CURRENCY, CurrencyError::Unknown.to_string()),
        OUTCOME => InvalidParameter::new(OUTCOME, OUTCOME_FORM),
        PROCESSING_MS => invalid_processing_ms(),
        _ => InvalidParameter::new(name, "is too long"),
    }
}

const OUTCOME_FORM: &str = "must be approved or declined";

fn text<'a>(name: &'static str, value: &'a Text) -> Result<&'a str, InvalidParameter> {
    std::str::from_utf8(value).map_err(|_| malformed(name))
}

fn read_amount(value: &Text, currency: Currency) -> Result<Amount, InvalidParameter> {
    Amount::parse(text(AMOUNT, value)?, currency)
        .map_err(|error| InvalidParameter::new(AMOUNT, error.to_string()))
}

fn read_currency(value: &Text) -> Result<Currency, InvalidParameter> {
    Currency::parse(text(CURRENCY, value)?)
        .map_err(|error| InvalidParameter::new(CURRENCY, error.to_string()))
}

fn read_outcome(value: &Text) -> Result<Outcome, InvalidParameter> {
    Outcome::from_name(text(OUTCOME, value)?)
        .ok_or_else(|| InvalidParameter::new(OUTCOME, OUTCOME_FORM))
}

fn read_processing_ms(value: &Text) -> Result<u16, InvalidParameter> {
    let digits = text(PROCESSING_MS, value)?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits
        .parse::<u16>()
        .ok()
        .filter(|&milliseconds| canonical && u64::from(milliseconds) <= PROCESSING_MAX_MS)
        .ok_or_else(invalid_processing_ms)
}

fn invalid_processing_ms() -> InvalidParameter {
    InvalidParameter::new(
        PROCESSING_MS,
        format!(
            "must be a whole number of milliseconds from 0 to {PROCESSING_MAX_MS}, digits only, \
             without leading zeros"
        ),
    )
}

enum Undecodable {
    Malformed,
    TooLong,
}

/// Undoes the encoding of one name or value. When it is too long, `out` holds its beginning.
fn decode(encoded: &[u8], out: &mut Text) -> Result<(), Undecodable> {
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(nibble), bytes.next().and_then(nibble)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Undecodable::Malformed),
            },
            byte => byte,
        };
        out.try_push(decoded).map_err(|_| Undecodable::TooLong)?;
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, InvalidParameter> {
        Parameters::from_query(Some(query.as_bytes()), Currency::EUR)
    }

    fn refused(query: &[u8]) -> (String, String) {
        let error = Parameters::from_query(Some(query), Currency::EUR).unwrap_err();
        (error.field.into_owned(), error.detail.into_owned())
    }

    fn shown(parameters: &Parameters) -> String {
        format!(
            "{} {} {} {}",
            parameters.amount,
            parameters.currency,
            parameters.outcome.as_str(),
            parameters.processing_ms
        )
    }

    #[test]
    fn valid_queries_give_the_effective_parameters() {
        for (query, expected) in [
            ("", "100.00 EUR approved 0"),
            ("&&", "100.00 EUR approved 0"),
            ("amount=12", "12.00 EUR approved 0"),
            ("amount=12.3&", "12.30 EUR approved 0"),
            ("currency=JPY", "100 JPY approved 0"),
            ("amount=5&currency=JPY", "5 JPY approved 0"),
            ("currency=KWD&amount=1.234", "1.234 KWD approved 0"),
            ("outcome=declined", "100.00 EUR declined 0"),
            (
                "outcome=approved&processing_ms=2000",
                "100.00 EUR approved 2000",
            ),
            ("processing%5Fms=7", "100.00 EUR approved 7"),
            ("%61mount=%31%32%2e5", "12.50 EUR approved 0"),
            (
                "processing_ms=0&outcome=declined&currency=MXN&amount=1",
                "1.00 MXN declined 0",
            ),
            ("amount=9999999999999.99", "9999999999999.99 EUR approved 0"),
        ] {
            assert_eq!(shown(&read(query).unwrap()), expected, "{query}");
        }
        let absent = Parameters::from_query(None, Currency::MXN).unwrap();
        assert_eq!(shown(&absent), "100.00 MXN approved 0");
    }

    #[test]
    fn invalid_values_name_their_field_and_the_accepted_form() {
        for (query, field, beginning) in [
            ("amount=0", "amount", "must be more than 0"),
            (
                "amount=-1",
                "amount",
                "must be a plain decimal such as 12.00",
            ),
            ("amount=+1", "amount", "must be a plain decimal"),
            ("amount=%2B1", "amount", "must be a plain decimal"),
            ("amount=1e3", "amount", "must be a plain decimal"),
            (
                "amount=1.005",
                "amount",
                "must have at most 2 decimals in EUR",
            ),
            ("amount=1.5&currency=JPY", "amount", "must have no decimals"),
            ("amount=1=2", "amount", "must be a plain decimal"),
            ("amount=%00", "amount", "must be a plain decimal"),
            ("amount=%F0%9F%92%B6", "amount", "must be a plain decimal"),
            ("currency=eur", "currency", "must be an ISO 4217"),
            ("currency=XAU", "currency", "has no minor units"),
            ("currency=HRK", "currency", "was withdrawn"),
            (
                "outcome=Approved",
                "outcome",
                "must be approved or declined",
            ),
            ("outcome=maybe", "outcome", "must be approved or declined"),
            (
                "processing_ms=2001",
                "processing_ms",
                "must be a whole number of milliseconds from 0 to 2000",
            ),
            (
                "processing_ms=65536",
                "processing_ms",
                "must be a whole number",
            ),
            (
                "processing_ms=-1",
                "processing_ms",
                "must be a whole number",
            ),
            (
                "processing_ms=%2B1",
                "processing_ms",
                "must be a whole number",
            ),
            (
                "processing_ms=1.5",
                "processing_ms",
                "must be a whole number",
            ),
            (
                "processing_ms=007",
                "processing_ms",
                "must be a whole number",
            ),
            (
                "processing_ms=00",
                "processing_ms",
                "must be a whole number",
            ),
        ] {
            let (at, detail) = refused(query.as_bytes());
            assert_eq!(at, field, "{query}");
            assert!(detail.starts_with(beginning), "{query}: {detail}");
        }
    }

    #[test]
    fn values_longer_than_any_valid_one_name_their_field() {
        for field in NAMES {
            let query = format!("{field}={}", "1".repeat(10_000));
            let (at, detail) = refused(query.as_bytes());
            assert_eq!(at, field);
            assert!(
                detail.starts_with("must be ") && detail.len() < 300,
                "{detail}"
            );
        }
    }

    #[test]
    fn empty_and_repeated_parameters_are_refused() {
        for field in NAMES {
            for query in [field.to_owned(), format!("{field}=")] {
                let (at, detail) = refused(query.as_bytes());
                assert_eq!(at, field);
                assert!(detail.starts_with("must have a value"), "{detail}");
            }
        }
        for query in ["amount=1&amount=1", "amount=1&currency=EUR&%61mount=2"] {
            let expected = ("amount".to_owned(), "must not be repeated".to_owned());
            assert_eq!(refused(query.as_bytes()), expected);
        }
    }

    #[test]
    fn malformed_encodings_are_refused() {
        for (query, field) in [
            (b"amount=%".as_slice(), "amount"),
            (b"amount=%1", "amount"),
            (b"amount=%zz", "amount"),
            (b"amount=1%2", "amount"),
            (b"currency=%ff%fe%fd", "currency"),
            (b"outcome=\xff", "outcome"),
            (b"processing_ms=%C3%28", "processing_ms"),
            (b"%=1", "query"),
            (b"am%ount=1", "query"),
        ] {
            let (at, detail) = refused(query);
            assert_eq!(at, field, "{query:?}");
            assert!(
                detail.starts_with("must be percent-encoded UTF-8"),
                "{detail}"
            );
        }
    }

    #[test]
    fn unknown_parameters_are_named_safely() {
        let long = format!("{}=1", "n".repeat(9_000));
        let cut = format!("{}...", "n".repeat(PARAMETER_MAX_BYTES));
        for (query, field) in [
            (b"amuont=1".as_slice(), "amuont"),
            (b"Amount=1", "Amount"),
            (b"amount+=1", "amount?"),
            (b"%22%3Cscript%3E=1", "??script?"),
            (b"a%0d%0ab=1", "a??b"),
            ("ñ=1".as_bytes(), "??"),
            (b"\xff\x1b[2J", "??[2J"),
            (long.as_bytes(), &cut),
        ] {
            let (at, detail) = refused(query);
            assert_eq!(at, field);
            assert!(detail.starts_with("is not a payment parameter"), "{detail}");
        }
        assert_eq!(refused(b"=5").0, "query");
    }

    #[test]
    fn the_request_hash_is_of_the_effective_parameters() {
        let hash = |query| read(query).unwrap().request_hash();
        for same in [
            "",
            "amount=100",
            "amount=100.00&currency=EUR",
            "processing_ms=0&outcome=approved",
        ] {
            assert_eq!(hash(same), hash("amount=100.0"), "{same}");
        }
        let queries = [
            "",
            "amount=101",
            "amount=1",
            "currency=MXN",
            "currency=JPY",
            "currency=JPY&amount=10000",
            "outcome=declined",
            "processing_ms=1",
            "processing_ms=256",
        ];
        for (index, one) in queries.iter().enumerate() {
            for other in queries.iter().skip(index + 1) {
                assert_ne!(hash(one), hash(other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn the_request_hash_never_changes_between_versions() {
        // sha256 of "payment-parameters" 01 0000000000002710 02 "EUR" 01 0000
        let hash = read("").unwrap().request_hash();
        let shown: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            shown,
            "b219b597e970073da04dcc236ea07decd341942bffe1c57d5ba6379d62d34777"
        );
    }
}
