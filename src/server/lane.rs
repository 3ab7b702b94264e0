//! The back lane: what can wait is done one piece at a time, with a look at all sockets in between, so
//! that a crowd of slow or greedy callers never stands before a payment.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// The one lane; first come, first served.
pub(super) struct Lane(Semaphore);

impl Lane {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Ends when those that came before have had their turn, and whoever became ready meanwhile was
    /// woken. With nobody before, that is one look at the sockets.
    pub(super) async fn turn(&self) {
        let _first = self.0.acquire().await;
        yield_now().await;
    }
}
