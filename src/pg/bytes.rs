//! A byte queue with a bounded size: filled at the end, consumed at the front, never reallocated
//! once it has the size that the traffic needs.

/// Bytes between two ends: a socket writes into [`spare`](Self::spare), a parser takes from
/// [`filled`](Self::filled).
#[derive(Debug)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    max: usize,
}

/// The queue would have grown past its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl ByteQueue {
    /// A queue of `initial` bytes that may grow to `max` bytes.
    pub(super) fn new(initial: usize, max: usize) -> Self {
        Self {
            bytes: vec![0; initial],
            start: 0,
            end: 0,
            max,
        }
    }

    /// What was received and not yet consumed.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Like [`filled`](Self::filled), for decryption in place.
    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Room behind the filled part, at least `wanted` bytes of it; moves or grows only when it must.
    pub(super) fn spare(&mut self, wanted: usize) -> Result<&mut [u8], Full> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() - self.end < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let needed = self.end + wanted;
        if self.bytes.len() < needed {
            if needed > self.max {
                return Err(Full);
            }
            let len = needed.next_power_of_two().min(self.max);
            self.bytes.resize(len, 0);
        }
        Ok(self.bytes.get_mut(self.end..).unwrap_or_default())
    }

    /// Counts `count` bytes of the spare part as filled.
    pub(super) fn fill(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Removes `count` bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Appends a copy of `source`.
    pub(super) fn push(&mut self, source: &[u8]) -> Result<(), Full> {
        let spare = self.spare(source.len())?;
        if let Some(room) = spare.get_mut(..source.len()) {
            room.copy_from_slice(source);
        }
        self.fill(source.len());
        Ok(())
    }
}
