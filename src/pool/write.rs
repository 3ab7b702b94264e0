//! One payment: its attempts, its deadline, and what its caller may be told.
//!
//! The payment's id is made before anything is sent, so an attempt whose answer was lost can be
//! repeated: the second one runs into the row of the first and finds that it had arrived.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::exchange::{Exchange, Finished, Lease};
use super::waiters::{Answer, Seat, Turn, Verdict};
use super::{Inner, Pool, Stream};
use crate::limits::{RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MIN_MS};
use crate::metrics::Rejected;
use crate::pg::error::ServerError;
use crate::pg::payments::{Insert, Row};

/// A payment that stands in the table.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Microseconds since PostgreSQL's epoch.
    pub created_at: i64,
    /// The payment that had the key before, when this one repeats it.
    pub replayed: Option<Row>,
    /// Time in exchanges with PostgreSQL, all attempts together.
    pub database_time: Duration,
}

/// Why a payment has no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Nothing was sent, hence nothing was written.
    Unavailable(Unavailable),
    /// The deadline passed. If `sent`, the outcome is unknown.
    Deadline {
        /// Whether a statement left for PostgreSQL.
        sent: bool,
    },
    /// PostgreSQL refused for good; nothing was written.
    Refused(Rc<ServerError>),
    /// The idempotency key belongs to a payment with other parameters.
    KeyReused,
    /// The caller hung up while the payment waited; nothing was written.
    Abandoned,
}

/// Why no connection was to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The queue of waiting payments is full.
    WaitersFull,
    /// All connections stayed busy for the whole checkout time.
    CheckoutTimeout,
    /// There is no connection to the database.
    Disconnected,
}

impl<S: Stream> Pool<S> {
    /// Writes `payment`; when this returns `Ok`, it is durable.
    ///
    /// `abandoned` is ready when the caller has hung up; it is polled only while nothing was sent.
    /// Dropped while it waits, this future leaves the queue; dropped during an exchange, it closes
    /// the connection, and the outcome is unknown.
    pub async fn write(
        &self,
        payment: &Insert,
        deadline: Instant,
        abandoned: impl Future<Output = ()>,
    ) -> Result<Written, Failure> {
        let mut abandoned = pin!(abandoned);
        let mut progress = Progress::default();
        loop {
            let attempt = self
                .attempt(payment, deadline, &progress, abandoned.as_mut())
                .await;
            if let Some(end) = progress.take(attempt) {
                return end;
            }
            if progress.conflicted {
                if let Some(end) = self.resolve(payment, deadline, &mut progress).await {
                    return end;
                }
                progress.grow_pause();
            }
            if !progress.pause(deadline).await {
                return Err(Failure::Deadline { sent: true });
            }
            self.0.metrics.pool.retry();
        }
    }

    async fn attempt(
        &self,
        payment: &Insert,
        deadline: Instant,
        progress: &Progress,
        abandoned: impl Future<Output = ()> + Unpin,
    ) -> Result<Answer, Failure> {
        let lease = match self.0.idle_lease() {
            Some(lease) => lease,
            None => {
                let coalesced = (!progress.alone).then_some(payment);
                let sent = progress.sent;
                match self.0.wait(coalesced, deadline, sent, abandoned).await? {
                    Turn::Granted(lease) => lease,
                    Turn::Carried(answer, _) => return Ok(answer),
                }
            }
        };
        let Some(exchange) = Exchange::write(lease, payment, !progress.alone) else {
            return Ok(Answer::LOST);
        };
        match exchange.run(deadline).await {
            Some(Finished { answer, .. }) => Ok(answer),
            None => Err(Failure::Deadline { sent: true }),
        }
    }

    /// Finds the row that an insert conflicted with. `None` means that the row is gone again, or
    /// that the lookup failed and may be repeated.
    async fn resolve(
        &self,
        payment: &Insert,
        deadline: Instant,
        progress: &mut Progress,
    ) -> Option<Result<Written, Failure>> {
        let lease = self.0.lease(deadline).await?;
        let exchange = Exchange::lookup(lease, payment)?;
        let Some(finished) = exchange.run(deadline).await else {
            return Some(Err(Failure::Deadline { sent: true }));
        };
        progress.database_time += finished.answer.elapsed;
        if let Verdict::Refused { error, .. } = &finished.answer.verdict
            && !error.state.is_transient()
        {
            return Some(Err(Failure::Deadline { sent: true }));
        }
        let row = finished.row?;
        let own = row.transaction_id == payment.transaction_id;
        if !own && row.request_hash != payment.request_hash {
            return Some(Err(Failure::KeyReused));
        }
        Some(Ok(Written {
            created_at: row.created_at,
            replayed: (!own).then_some(row),
            database_time: progress.database_time,
        }))
    }
}

impl<S: Stream> Inner<S> {
    /// A connection before `deadline`, for something that is not coalesced.
    pub(super) async fn lease(self: &Rc<Self>, deadline: Instant) -> Option<Lease<S>> {
        if let Some(lease) = self.idle_lease() {
            return Some(lease);
        }
        match self
            .wait(None, deadline, true, std::future::pending())
            .await
        {
            Ok(Turn::Granted(lease)) => Some(lease),
            _ => None,
        }
    }

    /// Waits for a turn: up to the checkout limit or, once something was `sent`, up to the
    /// deadline.
    async fn wait(
        self: &Rc<Self>,
        payment: Option<&Insert>,
        deadline: Instant,
        sent: bool,
        mut abandoned: impl Future<Output = ()> + Unpin,
    ) -> Result<Turn<Lease<S>>, Failure> {
        let joined = Instant::now();
        let Some(seat) = self.waiters.borrow_mut().join(payment, deadline) else {
            return Err(self.reject(self.unavailable(Unavailable::WaitersFull)));
        };
        self.gauges();
        let mut waiting = Waiting {
            pool: self.clone(),
            seat: Some(seat),
        };
        let checkout_limit = joined + self.settings.checkout_timeout;
        let limit = if sent {
            deadline
        } else {
            deadline.min(checkout_limit)
        };
        let turn = poll_fn(|cx| {
            if let Poll::Ready(turn) = waiting.poll_turn(cx) {
                return Poll::Ready(Some(turn));
            }
            let revocable = !sent && waiting.carried_since().is_none();
            if revocable && Pin::new(&mut abandoned).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        let outcome = timeout_at(limit, turn).await;
        if outcome.is_err()
            && let Some(began) = waiting.carried_since()
        {
            let rest = timeout_at(deadline, poll_fn(|cx| waiting.poll_turn(cx))).await;
            self.note_turn(joined, began);
            return rest.map_err(|_| Failure::Deadline { sent: true });
        }
        let failure = match outcome {
            // The turn came, but the deadline passed before this task ran.
            Ok(Some(Turn::Granted(lease))) if Instant::now() >= deadline => {
                lease.give_back();
                Failure::Deadline { sent }
            }
            Ok(Some(turn)) => {
                let end = match &turn {
                    Turn::Granted(_) => Instant::now(),
                    Turn::Carried(_, began) => *began,
                };
                self.note_turn(joined, end);
                return Ok(turn);
            }
            Ok(None) => Failure::Abandoned,
            Err(_) if limit == deadline => Failure::Deadline { sent },
            Err(_) => self.unavailable(Unavailable::CheckoutTimeout),
        };
        Err(self.reject(failure))
    }

    /// Why a payment gets no connection: `busy` as given, or that none is open.
    fn unavailable(&self, busy: Unavailable) -> Failure {
        Failure::Unavailable(match self.open.get() {
            0 => Unavailable::Disconnected,
            _ => busy,
        })
    }

    /// Counts a wait that ends without a turn.
    fn reject(&self, failure: Failure) -> Failure {
        self.metrics.pool.rejected(match failure {
            Failure::Unavailable(Unavailable::WaitersFull) => Rejected::WaitersFull,
            Failure::Unavailable(Unavailable::Disconnected) => Rejected::Disconnected,
            Failure::Abandoned => Rejected::Abandoned,
            Failure::Deadline { .. } => Rejected::Deadline,
            _ => Rejected::CheckoutTimeout,
        });
        failure
    }

    /// Observes a wait that ended with a connection, or when the exchange that carries the payment
    /// began.
    fn note_turn(&self, joined: Instant, end: Instant) {
        self.metrics
            .pool
            .checkout(end.saturating_duration_since(joined));
    }
}

/// A place in the queue, given up on drop.
struct Waiting<S: Stream> {
    pool: Rc<Inner<S>>,
    seat: Option<Seat>,
}

impl<S: Stream> Waiting<S> {
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn<Lease<S>>> {
        let Some(seat) = self.seat else {
            return Poll::Pending;
        };
        let turn = ready!(self.pool.waiters.borrow_mut().poll_turn(seat, cx));
        self.seat = None;
        Poll::Ready(match turn {
            Turn::Granted(member) => Turn::Granted(Lease::new(self.pool.clone(), member)),
            Turn::Carried(answer, began) => Turn::Carried(answer, began),
        })
    }

    fn carried_since(&self) -> Option<Instant> {
        self.pool.waiters.borrow().carried_since(self.seat?)
    }
}

impl<S: Stream> Drop for Waiting<S> {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else {
            return;
        };
        let granted = self.pool.waiters.borrow_mut().leave(seat);
        match granted {
            Some(member) => self.pool.release(member),
            None => self.pool.gauges(),
        }
    }
}

/// What the attempts of one payment came to so far.
#[derive(Default)]
struct Progress {
    /// A statement was sent to PostgreSQL: running out of time or of connections no longer means
    /// that nothing was written.
    sent: bool,
    /// An attempt's answer was lost.
    unknown: bool,
    /// From now on it is not coalesced, so that a refusal or a lost answer is its own.
    alone: bool,
    /// The last attempt ran into a row.
    conflicted: bool,
    pause: Duration,
    database_time: Duration,
}

impl Progress {
    /// Records an attempt; `Some` when the payment has come to its end.
    fn take(&mut self, attempt: Result<Answer, Failure>) -> Option<Result<Written, Failure>> {
        match attempt {
            Ok(answer) => self.answered(answer),
            Err(Failure::Deadline { sent }) => {
                let sent = sent || self.sent;
                Some(Err(Failure::Deadline { sent }))
            }
            Err(Failure::Unavailable(_)) if self.sent => {
                self.grow_pause();
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }

    fn answered(&mut self, answer: Answer) -> Option<Result<Written, Failure>> {
        self.sent = true;
        self.database_time += answer.elapsed;
        self.conflicted = matches!(answer.verdict, Verdict::Conflict);
        match answer.verdict {
            Verdict::Created(created_at) => Some(Ok(Written {
                created_at,
                replayed: None,
                database_time: self.database_time,
            })),
            Verdict::Conflict => None,
            Verdict::Refused { error, shared } => {
                let transient = error.state.is_transient();
                self.unknown |= error.state.leaves_outcome_open();
                if !shared && !transient {
                    return Some(Err(match self.unknown {
                        true => Failure::Deadline { sent: true },
                        false => Failure::Refused(error),
                    }));
                }
                self.alone = true;
                if transient {
                    self.grow_pause();
                }
                None
            }
            // The first retry is immediate: another connection may be healthy.
            Verdict::Lost => {
                // Lost again: the next one goes alone, since the cause may be its own key, which
                // another session has locked.
                if self.unknown {
                    self.alone = true;
                    self.grow_pause();
                }
                self.unknown = true;
                None
            }
        }
    }

    fn grow_pause(&mut self) {
        let least = Duration::from_millis(RETRY_PAUSE_MIN_MS);
        let most = Duration::from_millis(RETRY_PAUSE_MAX_MS);
        self.pause = (self.pause * 2).clamp(least, most);
    }

    /// Waits before the next attempt; false when it would come after `deadline`.
    async fn pause(&self, deadline: Instant) -> bool {
        let next = Instant::now() + self.pause;
        if next >= deadline {
            return false;
        }
        if !self.pause.is_zero() {
            sleep_until(next).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::error::SqlState;
    use arrayvec::ArrayString;

    fn refused(state: [u8; 5]) -> Result<Answer, Failure> {
        let error = Rc::new(ServerError {
            state: SqlState(state),
            message: ArrayString::new(),
        });
        Ok(Answer {
            verdict: Verdict::Refused {
                error,
                shared: false,
            },
            elapsed: Duration::ZERO,
        })
    }

    #[test]
    fn a_refusal_behind_one_that_leaves_the_outcome_open_does_not_say_that_nothing_was_written() {
        for (first, open) in [(*b"08007", true), (*b"40003", true), (*b"40001", false)] {
            let mut progress = Progress::default();
            assert!(progress.take(refused(first)).is_none());
            match progress.take(refused(*b"42501")) {
                Some(Err(Failure::Deadline { sent: true })) => assert!(open),
                Some(Err(Failure::Refused(_))) => assert!(!open),
                other => panic!("{other:?}"),
            }
        }
    }
}
