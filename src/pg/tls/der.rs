//! Just enough DER (X.690) to find a field of a certificate: one element at a time, without copying.

/// A tag that certificates are made of.
pub(super) const SEQUENCE: u8 = 0x30;
/// An object identifier.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// The first explicitly tagged field of a structure.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Splits off the first element of `bytes`, which must be a `tag`: its content, and what follows.
pub(super) fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, bytes) = bytes.split_first()?;
    let (length, bytes) = length(bytes)?;
    if found == tag {
        bytes.split_at_checked(length)
    } else {
        None
    }
}

/// X.690 section 8.1.3: short form, or long form of up to three bytes (no certificate has 16 MiB).
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let count = match first {
        0..=0x7f => return Some((usize::from(first), rest)),
        0x81..=0x83 => usize::from(first - 0x80),
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(count)?;
    let value = digits
        .iter()
        .fold(0, |value, &digit| value << 8 | usize::from(digit));
    Some((value, rest))
}
