//! Memory for connections, out of one process-wide budget.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use crate::limits::{
    BUFFER_BYTES, BUFFERED_AMPLE_BYTES, BUFFERED_MAX_BYTES, BUFFERED_TIGHT_BYTES,
    SPARE_BUFFERS_MAX_COUNT,
};
use crate::metrics::Metrics;

/// Buffers in use count against the budget; a few unused ones are kept for the next connection.
pub(super) struct Buffers {
    spare: RefCell<Vec<Vec<u8>>>,
    used_bytes: Cell<usize>,
    metrics: Arc<Metrics>,
}

/// A buffer that goes back when it is dropped.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    counted_bytes: usize,
    home: Rc<Buffers>,
}

impl Buffers {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            spare: RefCell::new(Vec::with_capacity(SPARE_BUFFERS_MAX_COUNT)),
            used_bytes: Cell::new(0),
            metrics,
        }
    }

    /// An empty buffer, or `None` when the budget is used up.
    pub(super) fn take(self: &Rc<Self>) -> Option<Buffer> {
        if self.used_bytes.get() + BUFFER_BYTES > BUFFERED_MAX_BYTES {
            return None;
        }
        let spare = self.spare.borrow_mut().pop();
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        let mut buffer = Buffer {
            bytes,
            counted_bytes: 0,
            home: self.clone(),
        };
        buffer.recount();
        Some(buffer)
    }

    /// Whether so much is in use that slow requests have to give theirs up.
    pub(super) fn are_tight(&self) -> bool {
        self.used_bytes.get() > BUFFERED_TIGHT_BYTES
    }

    /// Whether so little is in use that a payment may wait with more than a buffer of the usual size.
    pub(super) fn are_ample(&self) -> bool {
        self.used_bytes.get() <= BUFFERED_AMPLE_BYTES
    }

    fn count(&self, before: usize, now: usize) {
        self.used_bytes.set(self.used_bytes.get() - before + now);
        self.metrics.http.buffered_bytes.set(self.used_bytes.get());
    }
}

impl Buffer {
    /// Makes room for at least one more byte; false when the budget does not allow it.
    pub(super) fn make_room(&mut self) -> bool {
        if self.bytes.len() < self.bytes.capacity() {
            return true;
        }
        let more = self.bytes.capacity().max(BUFFER_BYTES);
        if self.home.used_bytes.get() + more > BUFFERED_MAX_BYTES {
            return false;
        }
        self.bytes.reserve_exact(more);
        self.recount();
        true
    }

    /// Gives back what a large request took, as far as the rest of the content allows. False when more than the usual
    /// size stays.
    pub(super) fn shrink(&mut self) -> bool {
        if self.bytes.capacity() > BUFFER_BYTES {
            self.bytes.shrink_to(BUFFER_BYTES);
            self.recount();
        }
        self.bytes.capacity() <= BUFFER_BYTES
    }

    /// Counts what writing into the buffer made it grow by.
    pub(super) fn recount(&mut self) {
        let now = self.bytes.capacity();
        self.home.count(self.counted_bytes, now);
        self.counted_bytes = now;
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.count(self.counted_bytes, 0);
        let mut spare = self.home.spare.borrow_mut();
        if self.bytes.capacity() == BUFFER_BYTES && spare.len() < SPARE_BUFFERS_MAX_COUNT {
            self.bytes.clear();
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Build;

    #[test]
    fn the_budget_holds_and_comes_back() {
        let metrics = Arc::new(Metrics::new(Build {
            version: "",
            revision: "",
            timestamp: "",
            region: String::new(),
            environment: String::new(),
        }));
        let buffers = Rc::new(Buffers::new(metrics.clone()));
        let mut taken: Vec<Buffer> = std::iter::from_fn(|| buffers.take()).collect();
        assert_eq!(taken.len(), BUFFERED_MAX_BYTES / BUFFER_BYTES);
        let full = |buffer: &mut Buffer| {
            let spare = buffer.capacity() - buffer.len();
            buffer.extend(std::iter::repeat_n(0, spare));
            !buffer.make_room()
        };
        assert!(full(&mut taken[0]), "one more byte is over the budget");
        taken.truncate(1);
        assert!(taken[0].make_room(), "others have given theirs back");
        assert_eq!(taken[0].capacity(), 2 * BUFFER_BYTES);
        assert_eq!(metrics.http.buffered_bytes.get(), 2 * BUFFER_BYTES as i64);
        taken.clear();
        assert_eq!(metrics.http.buffered_bytes.get(), 0);
        assert_eq!(buffers.spare.borrow().len(), SPARE_BUFFERS_MAX_COUNT);
    }
}
