//! The caller's own name for one payment.

use arrayvec::ArrayString;
use std::fmt;

use crate::limits::IDEMPOTENCY_KEY_MAX_BYTES;

/// 1 to 255 visible ASCII characters, kept as they came: two keys are the same when their bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(ArrayString<IDEMPOTENCY_KEY_MAX_BYTES>);

impl IdempotencyKey {
    /// Takes a header's value. Quotes are part of the key, as they came.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidIdempotencyKey> {
        let visible = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(value).map_err(|_| InvalidIdempotencyKey)?;
        match ArrayString::from(text) {
            Ok(key) if visible => Ok(Self(key)),
            _ => Err(InvalidIdempotencyKey),
        }
    }

    /// The key as it came.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The value is not a key. Displays as the rest of a sentence that begins with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIdempotencyKey;

impl fmt::Display for InvalidIdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "must be 1 to {IDEMPOTENCY_KEY_MAX_BYTES} visible ASCII characters without spaces, \
             such as a UUID"
        )
    }
}

impl std::error::Error for InvalidIdempotencyKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_ascii_up_to_the_bound_is_a_key() {
        let longest = "k".repeat(IDEMPOTENCY_KEY_MAX_BYTES);
        for key in [
            "a",
            "!",
            "~",
            "\"quoted\"",
            "order-42_x.y:z/1",
            "a,b",
            &longest,
        ] {
            assert_eq!(IdempotencyKey::parse(key.as_bytes()).unwrap().as_str(), key);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = "k".repeat(IDEMPOTENCY_KEY_MAX_BYTES + 1);
        for key in [
            b"".as_slice(),
            b" ",
            b"a b",
            b" a",
            b"a\t",
            b"a\0",
            b"a\x7f",
            b"\xff",
            "ñ".as_bytes(),
            too_long.as_bytes(),
        ] {
            assert_eq!(
                IdempotencyKey::parse(key),
                Err(InvalidIdempotencyKey),
                "{key:?}"
            );
        }
    }
}
