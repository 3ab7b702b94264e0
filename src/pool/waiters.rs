//! The bounded FIFO of payments that wait for a connection, and of those that travel in somebody
//! else's exchange.
//!
//! A waiter holds a [`Seat`]. Seats are made when they are first needed and used again; from then on
//! joining, leaving and being served allocates nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

use crate::pg::error::ServerError;
use crate::pg::payments::Insert;

/// The number of a seat.
pub(super) type Seat = usize;

/// What an exchange brought for one payment.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// From the write's first byte to ReadyForQuery.
    pub(super) elapsed: Duration,
}

impl Answer {
    /// The answer of an exchange that could not even begin.
    pub(super) const LOST: Self = Self {
        verdict: Verdict::Lost,
        elapsed: Duration::ZERO,
    };
}

/// How an exchange ended for one payment.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Committed, with `created_at` in microseconds since PostgreSQL's epoch.
    Created(i64),
    /// Nothing was written: a row with this id or this key is there.
    Conflict,
    /// Nothing was written: PostgreSQL refused. `shared` tells that another payment of the same
    /// exchange may have been the reason.
    Refused {
        error: Rc<ServerError>,
        shared: bool,
    },
    /// The answer never came; the outcome is unknown.
    Lost,
}

/// What a waiter finds when it looks.
pub(super) enum Turn<M> {
    /// A connection of its own.
    Granted(M),
    /// Its payment was carried by another waiter's exchange, which began then.
    Carried(Answer, Instant),
}

enum State<M> {
    Free,
    /// It is passed over after this deadline; its owner finds out by itself.
    Queued(Instant),
    Granted(M),
    /// In another waiter's exchange, which began then; `left` if its own waiter has given up.
    Taken {
        left: bool,
        began: Instant,
    },
    Done(Answer, Instant),
}

struct Slot<M> {
    state: State<M>,
    /// `None` is not coalesced: a lookup, a validation or a retry alone. The payment stays here
    /// while another exchange carries it, since it is large.
    payment: Option<Insert>,
    waker: Option<Waker>,
}

/// All seats, and the order of those who still wait.
pub(super) struct Waiters<M> {
    slots: Vec<Slot<M>>,
    free: Vec<Seat>,
    queue: VecDeque<Seat>,
    max: usize,
}

impl<M> Waiters<M> {
    /// Room for `max` waiters. Those that travel in other waiters' exchanges come on top; there are
    /// never more of them than a batch holds for each connection.
    pub(super) fn new(max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            max,
        }
    }

    /// How many wait for a connection.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Queues one more behind the others; `None` when the queue is full.
    pub(super) fn join(&mut self, payment: Option<&Insert>, deadline: Instant) -> Option<Seat> {
        if self.queue.len() >= self.max {
            return None;
        }
        let seat = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                state: State::Free,
                payment: None,
                waker: None,
            });
            self.slots.len() - 1
        });
        let slot = self.slots.get_mut(seat)?;
        slot.state = State::Queued(deadline);
        slot.payment = payment.cloned();
        self.queue.push_back(seat);
        Some(seat)
    }

    /// Gives `member` to the first in the queue, or back when nobody waits.
    pub(super) fn grant(&mut self, member: M, now: Instant) -> Option<M> {
        let Some(slot) = self.next(now) else {
            return Some(member);
        };
        slot.state = State::Granted(member);
        wake(slot);
        self.queue.pop_front();
        None
    }

    /// Moves the next in the queue into the caller's exchange, if it may be coalesced.
    pub(super) fn take(&mut self, now: Instant) -> Option<Seat> {
        let slot = self.next(now)?;
        slot.payment.as_ref()?;
        slot.state = State::Taken {
            left: false,
            began: now,
        };
        self.queue.pop_front()
    }

    /// The payment of a seat that was taken.
    pub(super) fn payment(&self, seat: Seat) -> Option<&Insert> {
        self.slots.get(seat)?.payment.as_ref()
    }

    /// The first in the queue whose deadline has not passed.
    fn next(&mut self, now: Instant) -> Option<&mut Slot<M>> {
        let late = |slot: &Slot<M>| match &slot.state {
            State::Queued(deadline) => *deadline <= now,
            _ => true,
        };
        while self.slots.get(*self.queue.front()?).is_none_or(late) {
            self.queue.pop_front();
        }
        self.slots.get_mut(*self.queue.front()?)
    }

    /// Tells a carried payment's waiter how the exchange that `began` then has ended.
    pub(super) fn deliver(&mut self, seat: Seat, answer: Answer, began: Instant) {
        let Some(slot) = self.slots.get_mut(seat) else {
            return;
        };
        match slot.state {
            State::Taken { left: true, .. } => self.vacate(seat),
            State::Taken { left: false, .. } => {
                slot.state = State::Done(answer, began);
                wake(slot);
            }
            _ => {}
        }
    }

    /// Since when another waiter's exchange carries the payment of `seat`, if one does.
    pub(super) fn carried_since(&self, seat: Seat) -> Option<Instant> {
        match &self.slots.get(seat)?.state {
            State::Taken { began, .. } | State::Done(_, began) => Some(*began),
            _ => None,
        }
    }

    /// Ready when it is this waiter's turn; the seat is free from then on.
    pub(super) fn poll_turn(&mut self, seat: Seat, cx: &mut Context<'_>) -> Poll<Turn<M>> {
        let Some(slot) = self.slots.get_mut(seat) else {
            return Poll::Pending;
        };
        let turn = match std::mem::replace(&mut slot.state, State::Free) {
            State::Granted(member) => Turn::Granted(member),
            State::Done(answer, began) => Turn::Carried(answer, began),
            waiting => {
                slot.state = waiting;
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
        };
        self.vacate(seat);
        Poll::Ready(turn)
    }

    /// Gives up a seat; a connection that was already granted comes back.
    pub(super) fn leave(&mut self, seat: Seat) -> Option<M> {
        let slot = self.slots.get_mut(seat)?;
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Queued(_) => {
                if let Some(place) = self.queue.iter().position(|&s| s == seat) {
                    self.queue.remove(place);
                }
                self.vacate(seat);
                None
            }
            State::Granted(member) => {
                self.vacate(seat);
                Some(member)
            }
            State::Taken { began, .. } => {
                slot.state = State::Taken { left: true, began };
                None
            }
            State::Done(..) => {
                self.vacate(seat);
                None
            }
            State::Free => None,
        }
    }

    fn vacate(&mut self, seat: Seat) {
        if let Some(slot) = self.slots.get_mut(seat) {
            slot.state = State::Free;
            slot.payment = None;
            slot.waker = None;
            self.free.push(seat);
        }
    }
}

fn wake<M>(slot: &mut Slot<M>) {
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}
