//! Sets of bytes, for grammars that allow some and not others.

/// A table with a place for every byte: a look-up is one load.
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    /// ASCII letters, digits and `others`.
    #[allow(clippy::indexing_slicing)] // the compiler evaluates it
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < others.len() {
            table[others[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|&member| member)
    }
}
