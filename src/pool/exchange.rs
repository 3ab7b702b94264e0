//! One exchange on one connection, for one payment or for several at once.

use arrayvec::ArrayVec;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::waiters::{Answer, Seat, Verdict};
use super::{Closed, Inner, Member, Stream};
use crate::limits::BATCH_MAX_COUNT;
use crate::pg::connection::{Broken, Connection};
use crate::pg::payments::{Insert, Row};

/// A connection that is in use. Dropped before its exchange ended, it is closed: what it would
/// read next is somebody else's answer.
pub(super) struct Lease<S: Stream> {
    pool: Rc<Inner<S>>,
    member: Option<Box<Member<S>>>,
}

impl<S: Stream> Lease<S> {
    pub(super) fn new(pool: Rc<Inner<S>>, member: Box<Member<S>>) -> Self {
        Self {
            pool,
            member: Some(member),
        }
    }

    pub(super) fn give_back(mut self) {
        if let Some(member) = self.member.take() {
            self.pool.release(member);
        }
    }

    fn close(mut self, why: Closed) {
        if let Some(member) = self.member.take() {
            self.pool.discard(member, why);
        }
    }
}

impl<S: Stream> Drop for Lease<S> {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            self.pool.discard(member, Closed::Broken);
        }
    }
}

/// Payments of other waiters in an exchange. Dropped before the answer is there, it tells them that
/// their outcome is unknown.
struct Coalesced<S: Stream> {
    pool: Rc<Inner<S>>,
    /// In the order of the exchange's inserts.
    seats: ArrayVec<Seat, { BATCH_MAX_COUNT - 1 }>,
    /// The place of the initiator's own insert in the exchange.
    own: usize,
    started: Instant,
}

impl<S: Stream> Coalesced<S> {
    fn deliver(&mut self, verdict: impl Fn(usize) -> Verdict) {
        let elapsed = self.started.elapsed();
        let own = self.own;
        let places = (0..).filter(|&place| place != own);
        for (seat, place) in self.seats.drain(..).zip(places) {
            let verdict = verdict(place);
            let answer = Answer { verdict, elapsed };
            let mut waiters = self.pool.waiters.borrow_mut();
            waiters.deliver(seat, answer, self.started);
        }
    }
}

impl<S: Stream> Drop for Coalesced<S> {
    fn drop(&mut self) {
        self.deliver(|_| Verdict::Lost);
    }
}

/// An exchange under way. It holds everything it needs, so another task than the one that began it
/// may finish it.
pub(super) struct Exchange<S: Stream> {
    lease: Lease<S>,
    coalesced: Coalesced<S>,
    /// How many it carries.
    payments: usize,
    validates: bool,
    /// When the exchange counts as failed.
    limit: Instant,
}

impl<S: Stream> Exchange<S> {
    /// Begins a write of `payment`; if `coalesce`, also of those that wait and may be coalesced.
    ///
    /// The inserts go out ordered by key and id, the same order in every exchange: two transactions
    /// that meet in several keys then wait for each other in one direction only.
    ///
    /// `None`, here and below, when the exchange could not begin: its connection is closed then.
    pub(super) fn write(lease: Lease<S>, payment: &Insert, coalesce: bool) -> Option<Self> {
        let mut exchange = Self::new(lease);
        let pool = exchange.coalesced.pool.clone();
        let mut others: ArrayVec<Seat, { BATCH_MAX_COUNT - 1 }> = ArrayVec::new();
        let most = pool.settings.batch_max - 1;
        while coalesce && others.len() < most && !others.is_full() {
            let Some(seat) = pool.waiters.borrow_mut().take(exchange.coalesced.started) else {
                break;
            };
            others.push(seat);
        }
        pool.gauges();
        // The end of an exchange is told to the waiters, so none may end while they are borrowed.
        let (payments, queued) = {
            let waiters = pool.waiters.borrow();
            let mut batch: ArrayVec<(Option<Seat>, &Insert), BATCH_MAX_COUNT> = ArrayVec::new();
            batch.push((None, payment));
            let joined = others.iter().map(|&seat| (seat, waiters.payment(seat)));
            batch.extend(joined.filter_map(|(seat, payment)| Some((Some(seat), payment?))));
            debug_assert_eq!(batch.len(), others.len() + 1);
            batch.sort_unstable_by(|(_, a), (_, b)| order(a).cmp(&order(b)));
            for (place, (seat, _)) in batch.iter().enumerate() {
                match seat {
                    Some(seat) => exchange.coalesced.seats.push(*seat),
                    None => exchange.coalesced.own = place,
                }
            }
            let inserts: ArrayVec<&Insert, BATCH_MAX_COUNT> =
                batch.iter().map(|(_, insert)| *insert).collect();
            let connection = exchange.connection();
            let queued = connection.and_then(|connection| connection.queue_inserts(&inserts));
            (batch.len(), queued)
        };
        exchange.begin(payments, queued)
    }

    /// Begins a lookup of the row that `payment` conflicts with.
    pub(super) fn lookup(lease: Lease<S>, payment: &Insert) -> Option<Self> {
        Self::single(lease, |connection| connection.queue_lookup(payment))
    }

    /// Begins a round trip that changes nothing and shows that the session is alive.
    pub(super) fn validate(lease: Lease<S>) -> Option<Self> {
        let exchange = Self::single(lease, Connection::queue_validation)?;
        Some(Self {
            validates: true,
            ..exchange
        })
    }

    fn single(
        lease: Lease<S>,
        queue: impl FnOnce(&mut Connection<S>) -> Result<(), Broken>,
    ) -> Option<Self> {
        let mut exchange = Self::new(lease);
        let queued = exchange.connection().and_then(queue);
        exchange.begin(0, queued)
    }

    fn new(lease: Lease<S>) -> Self {
        let started = Instant::now();
        Self {
            payments: 0,
            validates: false,
            limit: started + lease.pool.settings.exchange_timeout,
            coalesced: Coalesced {
                pool: lease.pool.clone(),
                seats: ArrayVec::new(),
                own: 0,
                started,
            },
            lease,
        }
    }

    fn begin(mut self, payments: usize, queued: Result<(), Broken>) -> Option<Self> {
        let begun = queued.and_then(|()| self.connection()?.begin());
        if let Err(broken) = begun {
            self.coalesced.pool.note_broken(&broken, None);
            return None;
        }
        self.payments = payments;
        if payments > 0 {
            self.coalesced.pool.metrics.pool.batch_size(payments);
        }
        Some(self)
    }

    fn connection(&mut self) -> Result<&mut Connection<S>, Broken> {
        match &mut self.lease.member {
            Some(member) => Ok(&mut member.connection),
            None => Err(Broken::Closed),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.connection()?.poll_exchange(cx)
    }

    /// Runs the exchange to its end, but not past `deadline`: then it continues without its
    /// initiator, and the connection is kept. `None` means that the deadline came first.
    ///
    /// Dropped at its await, the exchange closes the connection and tells those it carries.
    // No `async fn`, here and below: that would hold the exchange twice, as its argument and as what it is moved to.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(mut self, deadline: Instant) -> impl Future<Output = Option<Finished>> {
        async move {
            let limit = self.limit.min(deadline);
            match timeout_at(limit, poll_fn(|cx| self.poll(cx))).await {
                Ok(result) => Some(self.end(result)),
                Err(_) if self.limit <= deadline => Some(self.time_out()),
                Err(_) => {
                    tokio::task::spawn_local(self.run_to_limit());
                    None
                }
            }
        }
    }

    /// Runs the exchange to its end or its own limit.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run_to_limit(mut self) -> impl Future<Output = Finished> {
        async move {
            match timeout_at(self.limit, poll_fn(|cx| self.poll(cx))).await {
                Ok(result) => self.end(result),
                Err(_) => self.time_out(),
            }
        }
    }

    fn end(mut self, result: Result<(), Broken>) -> Finished {
        let elapsed = self.coalesced.started.elapsed();
        let pool = self.coalesced.pool.clone();
        let Some(member) = self.lease.member.as_deref_mut() else {
            return Finished::lost(elapsed);
        };
        if let Err(broken) = result {
            pool.note_broken(&broken, member.connection.refusal().as_deref());
            self.lease.close(Closed::Broken);
            if matches!(broken, Broken::NotDurable) {
                pool.renew();
            }
            return Finished::lost(elapsed);
        }
        member.served = true;
        if self.validates {
            member.validated = Instant::now();
        }
        if self.payments > 0 {
            member.paid = true;
            pool.go_on();
        }
        let said_more = member.connection.said_more();
        let shared = !self.coalesced.seats.is_empty();
        let connection = &member.connection;
        let refused = connection.refusal();
        let verdict = |place| match (&refused, connection.created_at(place)) {
            (Some(error), _) => Verdict::Refused {
                error: error.clone(),
                shared,
            },
            (None, Some(created_at)) => Verdict::Created(created_at),
            (None, None) => Verdict::Conflict,
        };
        let finished = Finished {
            answer: Answer {
                verdict: verdict(self.coalesced.own),
                elapsed,
            },
            row: connection.row(),
        };
        self.coalesced.deliver(verdict);
        pool.note_answer(elapsed, refused.as_deref());
        match refused {
            Some(error) if error.state.ends_connection() => self.lease.close(Closed::Server),
            _ if said_more => self.lease.close(Closed::Server),
            _ => self.lease.give_back(),
        }
        finished
    }

    fn time_out(self) -> Finished {
        let elapsed = self.coalesced.started.elapsed();
        let pool = self.coalesced.pool.clone();
        pool.note_broken(&Broken::Timeout, None);
        let carried_before = self.lease.member.as_ref().is_some_and(|member| member.paid);
        if self.payments > 0 && !carried_before {
            pool.stall();
        }
        self.lease.close(Closed::Timeout);
        pool.suspect_idle();
        Finished::lost(elapsed)
    }
}

/// What the initiator of an exchange gets to see.
pub(super) struct Finished {
    pub(super) answer: Answer,
    /// The row that a lookup found.
    pub(super) row: Option<Row>,
}

impl Finished {
    /// Whether it had no answer.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.answer.verdict, Verdict::Lost)
    }

    fn lost(elapsed: Duration) -> Self {
        Self {
            answer: Answer {
                verdict: Verdict::Lost,
                elapsed,
            },
            row: None,
        }
    }
}

fn order(payment: &Insert) -> (Option<&str>, &[u8; 16]) {
    let key = payment.idempotency_key.as_ref();
    (key.map(|key| key.as_str()), &payment.transaction_id)
}
