//! The low-priority lane: what can wait is done one piece at a time, and all sockets are polled in
//! between, so that a crowd of slow or greedy callers never delays a payment.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::registry::{Ending, Place};

/// The one lane; first come, first served.
pub(super) struct Lane(Semaphore);

impl Lane {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(1))
    }

    /// Ends when those ahead have had their turn, and every task that became ready meanwhile was
    /// woken. With nobody ahead, that is one poll of the sockets.
    pub(super) async fn turn(&self) {
        let _first = self.0.acquire().await;
        yield_now().await;
    }

    /// As `turn`, for a connection whose time limit keeps running: an error when it was asked to
    /// end.
    pub(super) async fn turn_of(&self, place: &Place) -> Result<(), Ending> {
        self.turn().await;
        place.ended().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{Phase, Registry};
    use super::*;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::{Context, Waker};

    #[test]
    fn whose_time_is_over_in_the_lane_learns_of_it() {
        let (lane, registry) = (Lane::new(), Rc::new(Registry::new()));
        let place = registry.enter();
        place.set(Phase::Head);
        let somebody = lane.0.try_acquire().unwrap();
        let mut turn = pin!(lane.turn_of(&place));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(turn.as_mut().poll(&mut cx).is_pending());
        assert!(registry.end_overdue(u64::MAX / 2));
        drop(somebody);
        let ended = loop {
            if let std::task::Poll::Ready(ended) = turn.as_mut().poll(&mut cx) {
                break ended;
            }
        };
        assert_eq!(ended, Err(Ending::TimedOut));
        assert_eq!(place.ended(), None, "it is told once");
    }
}
