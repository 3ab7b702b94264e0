//! Bytes as lower-case hexadecimal digits.

/// Writes the two digits of each of `bytes`, four bytes at a time, into a place twice as long.
pub fn put(bytes: &[u8], place: &mut [u8]) {
    debug_assert!(bytes.len().is_multiple_of(4) && place.len() == 2 * bytes.len());
    let (places, _) = place.as_chunks_mut();
    for (place, &four) in places.iter_mut().zip(bytes.as_chunks().0) {
        *place = eight_digits(four);
    }
}

/// The text of a UUID (RFC 9562 section 4).
pub fn uuid(id: &[u8; 16]) -> [u8; 36] {
    let mut digits = [0; 32];
    put(id, &mut digits);
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    text
}

/// All at once: each half of a byte gets a byte of a word, and the same few steps make every one of
/// them a digit.
fn eight_digits(bytes: [u8; 4]) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut halves = u64::from(u32::from_be_bytes(bytes));
    halves = (halves | halves << 16) & 0x0000_ffff_0000_ffff;
    halves = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    halves = (halves | halves << 4) & (EACH * 0x0f);
    // Ten plus six is the first sum that has a fifth bit.
    let letters = ((halves + EACH * 6) >> 4) & EACH;
    (halves + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_two_digits_in_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..16 {
                let mut bytes =
                    *b"\x09\x9a\xa0\xff\x00\x10\x0f\xf0\x99\xaa\x19\x91\x7f\x80\xab\xcd";
                bytes[place] = byte;
                let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut digits = [0; 32];
                put(&bytes, &mut digits);
                assert_eq!(digits, expected.as_bytes());
            }
        }
    }

    #[test]
    fn a_uuid_has_its_four_dashes() {
        let id = 0x0189_0a5d_ac96_774b_bcce_b302_099a_8057_u128;
        let text = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(uuid(&id.to_be_bytes()), text.as_bytes());
    }
}
