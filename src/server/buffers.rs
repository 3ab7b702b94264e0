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

/// Room in the budget. Memory comes with the first access for writing. It goes back on drop, or
/// earlier: see [`Buffer::lend_memory`].
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
        self.count(0, BUFFER_BYTES);
        Some(Buffer {
            bytes: Vec::new(),
            counted_bytes: BUFFER_BYTES,
            home: self.clone(),
        })
    }

    /// Memory for a buffer: the spare one that came back last, which the processor may still have
    /// in its cache.
    fn memory(&self) -> Vec<u8> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    fn keep(&self, mut memory: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if memory.capacity() == BUFFER_BYTES && spare.len() < SPARE_BUFFERS_MAX_COUNT {
            memory.clear();
            spare.push(memory);
        }
    }

    /// Whether so much is in use that slow callers have to be ended.
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
        if self.len() < self.capacity() {
            return true;
        }
        let more = self.capacity();
        if self.home.used_bytes.get() + more > BUFFERED_MAX_BYTES {
            return false;
        }
        self.bytes.reserve_exact(more);
        self.recount();
        true
    }

    /// How many bytes it may hold, with its memory or before it has any.
    pub(super) fn capacity(&self) -> usize {
        self.counted_bytes
    }

    /// Gives back what a large request took, as far as the remaining content allows. False when it
    /// stays larger than the usual size.
    pub(super) fn shrink(&mut self) -> bool {
        if self.capacity() > BUFFER_BYTES {
            self.bytes.shrink_to(BUFFER_BYTES);
            self.recount();
        }
        self.capacity() <= BUFFER_BYTES
    }

    /// Lends the memory of an empty buffer to others; its room stays its own.
    pub(super) fn lend_memory(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() == BUFFER_BYTES {
            self.home.keep(std::mem::take(&mut self.bytes));
        }
    }

    /// Counts what writing into the buffer made it grow by.
    pub(super) fn recount(&mut self) {
        let now = self.bytes.capacity().max(BUFFER_BYTES);
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
        if self.bytes.capacity() == 0 {
            self.bytes = self.home.memory();
        }
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.count(self.counted_bytes, 0);
        self.home.keep(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Build;

    fn buffers() -> (Rc<Buffers>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new(Build::default()));
        (Rc::new(Buffers::new(metrics.clone())), metrics)
    }

    fn fill(buffer: &mut Buffer) {
        let room = buffer.capacity() - buffer.len();
        buffer.extend(std::iter::repeat_n(0, room));
    }

    #[test]
    fn the_budget_holds_and_comes_back() {
        let (buffers, metrics) = buffers();
        let mut taken: Vec<Buffer> = std::iter::from_fn(|| buffers.take()).collect();
        assert_eq!(taken.len(), BUFFERED_MAX_BYTES / BUFFER_BYTES);
        taken.iter_mut().for_each(fill);
        assert!(!taken[0].make_room(), "one more byte is over the budget");
        taken.truncate(1);
        assert!(taken[0].make_room(), "others have given theirs back");
        assert_eq!(taken[0].capacity(), 2 * BUFFER_BYTES);
        assert_eq!(metrics.http.buffered_bytes.get(), 2 * BUFFER_BYTES as i64);
        taken.clear();
        assert_eq!(metrics.http.buffered_bytes.get(), 0);
        assert_eq!(buffers.spare.borrow().len(), SPARE_BUFFERS_MAX_COUNT);
    }

    #[test]
    fn who_waits_keeps_room_and_not_memory() {
        let (buffers, metrics) = buffers();
        let mut waiting: Vec<Buffer> = std::iter::from_fn(|| buffers.take()).take(3).collect();
        for buffer in &mut waiting {
            buffer.extend_from_slice(b"answer");
            buffer.clear();
            buffer.lend_memory();
        }
        assert_eq!(buffers.spare.borrow().len(), 1, "one after the other");
        assert_eq!(metrics.http.buffered_bytes.get(), 3 * BUFFER_BYTES as i64);
        waiting[1].extend_from_slice(b"sent ahead");
        waiting[1].lend_memory();
        assert_eq!(*waiting[1], b"sent ahead");
        fill(&mut waiting[1]);
        assert!(waiting[1].make_room());
        waiting[1].truncate(1);
        assert!(waiting[1].shrink());
        assert_eq!(*waiting[1], [b's']);
        drop(waiting);
        assert_eq!(metrics.http.buffered_bytes.get(), 0);
    }
}
