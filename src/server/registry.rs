//! All connections of callers: how many, what each waits for, and since when.
//!
//! Every phase with a time limit has a list in the order of entry. The limit is the same for the
//! whole phase, so the first of a list is always the next one whose time is over, and the first
//! parked one is the oldest: the heads of the lists are enough to find what is overdue.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::limits::{
    BODY_TIMEOUT_MS, HEAD_TIMEOUT_MS, KEEP_ALIVE_MS, LINGER_MS, PARK_AFTER_MS, SLOW_AFTER_MS,
    WRITE_TIMEOUT_MS,
};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of a request, after a while of idling or after connecting.
    Parked,
    /// The first byte of the next request.
    Idle,
    /// The rest of a request head.
    Head,
    /// The rest of a request body.
    Body,
    /// Room for its answer.
    Write,
    /// The caller's close.
    Linger,
    /// Its next turn: its request, of which something was read, follows another one of its own.
    Turn,
    /// The same with nothing read, so without a buffer: it may also ask again too soon after a 503.
    Unread,
    /// Its own handler, which has limits of its own.
    Busy,
}

/// The phases that end from outside, and when. A turn comes by itself.
const LIMITS_MS: [(Phase, u64); 8] = [
    (Phase::Parked, KEEP_ALIVE_MS),
    (Phase::Idle, PARK_AFTER_MS),
    (Phase::Head, HEAD_TIMEOUT_MS),
    (Phase::Body, BODY_TIMEOUT_MS),
    (Phase::Write, WRITE_TIMEOUT_MS),
    (Phase::Linger, LINGER_MS),
    (Phase::Turn, u64::MAX),
    (Phase::Unread, u64::MAX),
];

/// Why a connection is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The time of its phase is over.
    TimedOut,
    /// It is idle, slow or greedy, or nothing of its request is read, and its place is needed.
    Evicted,
    /// The service ends.
    Drained,
}

const NONE: usize = usize::MAX;

struct Entry {
    phase: Phase,
    since_ms: u64,
    before: usize,
    behind: usize,
    ending: Option<Ending>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy)]
struct List {
    first: usize,
    last: usize,
}

struct State {
    entries: Vec<Entry>,
    free: Vec<usize>,
    lists: [List; LIMITS_MS.len()],
    now_ms: u64,
    /// Woken when the last connection has ended.
    empty: Option<Waker>,
}

pub(super) struct Registry(RefCell<State>);

/// A connection's place in the registry; given up on drop.
pub(super) struct Place {
    registry: Rc<Registry>,
    index: usize,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self(RefCell::new(State {
            entries: Vec::new(),
            free: Vec::new(),
            lists: [List {
                first: NONE,
                last: NONE,
            }; LIMITS_MS.len()],
            now_ms: 0,
            empty: None,
        }))
    }

    /// Open connections.
    pub(super) fn len(&self) -> usize {
        let state = self.0.borrow();
        state.entries.len() - state.free.len()
    }

    /// Registers one more connection, parked.
    pub(super) fn enter(self: &Rc<Self>) -> Place {
        let mut state = self.0.borrow_mut();
        let entry = Entry {
            phase: Phase::Busy,
            since_ms: 0,
            before: NONE,
            behind: NONE,
            ending: None,
            waker: None,
        };
        let index = match state.free.pop() {
            Some(index) => {
                if let Some(free) = state.entries.get_mut(index) {
                    *free = entry;
                }
                index
            }
            None => {
                state.entries.push(entry);
                state.entries.len() - 1
            }
        };
        state.change(index, Phase::Parked);
        Place {
            registry: self.clone(),
            index,
        }
    }

    /// Asks the connection that can best be spared to end: the first that has its last answer, else
    /// the one that has been idle for longest, else the slowest if it is slow, else a greedy one,
    /// else one of which nothing is read. False when there is none.
    pub(super) fn evict(&self) -> bool {
        let mut state = self.0.borrow_mut();
        let lingering = state.first(Phase::Linger);
        let unread = state.first(Phase::Unread);
        state.end(lingering, Ending::Evicted)
            || state.end_idle(Ending::Evicted)
            || state.end_slow_or_greedy(Ending::Evicted)
            || state.end(unread, Ending::Evicted)
    }

    /// Ends the caller that has been sending a request or reading an answer for longest, as if its
    /// time were over. If it is not slow yet, a greedy one, if any, is ended instead. Each of them
    /// has a buffer, which others need.
    pub(super) fn end_slowest(&self) {
        let mut state = self.0.borrow_mut();
        if !state.end_slow_or_greedy(Ending::TimedOut) {
            let (slowest, _) = state.slowest();
            state.end(slowest, Ending::TimedOut);
        }
    }

    /// Asks one idle connection to end. False when there is none.
    pub(super) fn drain(&self) -> bool {
        self.0.borrow_mut().end_idle(Ending::Drained)
    }

    /// Sets the registry's clock to `now_ms` and ends one of those that are overdue. False when
    /// there is none.
    pub(super) fn end_overdue(&self, now_ms: u64) -> bool {
        let mut state = self.0.borrow_mut();
        state.now_ms = now_ms;
        LIMITS_MS.iter().any(|(phase, limit_ms)| {
            let first = state.first(*phase);
            let entry = state.entries.get(first);
            let over =
                entry.is_some_and(|entry| now_ms.saturating_sub(entry.since_ms) >= *limit_ms);
            over && state.end(first, Ending::TimedOut)
        })
    }

    /// Ready when no connection is left.
    pub(super) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.len() == 0 {
            return Poll::Ready(());
        }
        self.0.borrow_mut().empty = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Place {
    /// A number that no other open connection has.
    pub(super) fn number(&self) -> usize {
        self.index
    }

    /// Begins another phase; its time starts now.
    pub(super) fn set(&self, phase: Phase) {
        self.registry.0.borrow_mut().change(self.index, phase);
    }

    /// Begins `phase` unless it is the current one, whose time goes on.
    pub(super) fn enter_phase(&self, phase: Phase) {
        if self.phase() != phase {
            self.set(phase);
        }
    }

    pub(super) fn phase(&self) -> Phase {
        let state = self.registry.0.borrow();
        state
            .entries
            .get(self.index)
            .map_or(Phase::Busy, |entry| entry.phase)
    }

    /// Why the connection was asked to end, if it was and has not heard of it yet.
    pub(super) fn ended(&self) -> Option<Ending> {
        let mut state = self.registry.0.borrow_mut();
        state.entries.get_mut(self.index)?.ending.take()
    }

    /// Ready when the connection is asked to end in its current phase.
    pub(super) fn poll_ending(&self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut state = self.registry.0.borrow_mut();
        let Some(entry) = state.entries.get_mut(self.index) else {
            return Poll::Pending;
        };
        if let Some(ending) = entry.ending.take() {
            return Poll::Ready(ending);
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.registry.0.borrow_mut();
        state.change(self.index, Phase::Busy);
        if let Some(entry) = state.entries.get_mut(self.index) {
            entry.waker = None;
        }
        state.free.push(self.index);
        if state.free.len() == state.entries.len()
            && let Some(waker) = state.empty.take()
        {
            waker.wake();
        }
    }
}

impl State {
    fn list(&mut self, phase: Phase) -> Option<&mut List> {
        self.lists.get_mut(phase as usize)
    }

    fn first(&mut self, phase: Phase) -> usize {
        self.list(phase).map_or(NONE, |list| list.first)
    }

    /// Asks one idle connection to end: the one that is parked for the longest time, before those
    /// that are not parked yet.
    fn end_idle(&mut self, ending: Ending) -> bool {
        let (parked, idle) = (self.first(Phase::Parked), self.first(Phase::Idle));
        self.end(parked, ending) || self.end(idle, ending)
    }

    /// The one that has been sending a request or reading an answer for longest, and since when.
    fn slowest(&mut self) -> (usize, u64) {
        let firsts = [Phase::Head, Phase::Body, Phase::Write].map(|phase| self.first(phase));
        let began = |index: usize| Some((index, self.entries.get(index)?.since_ms));
        let slow = firsts.into_iter().filter_map(began);
        slow.min_by_key(|(_, since_ms)| *since_ms)
            .unwrap_or((NONE, self.now_ms))
    }

    /// Ends the slowest, if it is slow; else the one that has been waiting for its turn for
    /// longest.
    fn end_slow_or_greedy(&mut self, ending: Ending) -> bool {
        let (slowest, since_ms) = self.slowest();
        let greedy = self.first(Phase::Turn);
        since_ms + SLOW_AFTER_MS <= self.now_ms && self.end(slowest, ending)
            || self.end(greedy, ending)
    }

    /// Moves an entry to the end of another phase's list.
    fn change(&mut self, index: usize, phase: Phase) {
        let now_ms = self.now_ms;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.ending = None;
        let (old, before, behind) = (entry.phase, entry.before, entry.behind);
        self.link(old, before, behind);
        let last = self.list(phase).map_or(NONE, |list| list.last);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.phase = phase;
            entry.since_ms = now_ms;
            (entry.before, entry.behind) = (NONE, NONE);
        }
        if self.list(phase).is_some() {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.before = last;
            }
            self.link_behind(phase, last, index);
            if let Some(list) = self.list(phase) {
                list.last = index;
            }
        }
    }

    /// Makes `before` and `behind` neighbours.
    fn link(&mut self, phase: Phase, before: usize, behind: usize) {
        if self.list(phase).is_none() {
            return;
        }
        self.link_behind(phase, before, behind);
        match self.entries.get_mut(behind) {
            Some(entry) => entry.before = before,
            None => {
                if let Some(list) = self.list(phase) {
                    list.last = before;
                }
            }
        }
    }

    fn link_behind(&mut self, phase: Phase, before: usize, behind: usize) {
        match self.entries.get_mut(before) {
            Some(entry) => entry.behind = behind,
            None => {
                if let Some(list) = self.list(phase) {
                    list.first = behind;
                }
            }
        }
    }

    fn end(&mut self, index: usize, ending: Ending) -> bool {
        if self.entries.get(index).is_none() {
            return false;
        }
        self.change(index, Phase::Busy);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.ending = Some(ending);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
        true
    }
}

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const _: () = {
    let mut index = 0;
    while index < LIMITS_MS.len() {
        assert!(LIMITS_MS[index].0 as usize == index);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(place: &Place) -> Option<Ending> {
        match place.poll_ending(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ending) => Some(ending),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_connection_that_is_idle_for_the_longest_time_is_evicted_first() {
        let registry = Rc::new(Registry::new());
        let places: Vec<Place> = (0..4).map(|_| registry.enter()).collect();
        places[0].set(Phase::Busy);
        places[1].set(Phase::Head);
        places[0].set(Phase::Idle);
        places[2].set(Phase::Idle);
        for (evicted, expected) in [(true, 3), (true, 0), (true, 2)] {
            assert_eq!(registry.evict(), evicted);
            assert_eq!(
                ending(&places[expected]),
                Some(Ending::Evicted),
                "{expected}"
            );
        }
        assert!(
            !registry.evict(),
            "the one in the middle of a head is not idle"
        );
        assert_eq!(ending(&places[1]), None);
    }

    #[test]
    fn who_is_slow_is_evicted_when_nobody_is_idle_the_slowest_first() {
        let registry = Rc::new(Registry::new());
        let phases = [Phase::Write, Phase::Body, Phase::Head, Phase::Busy];
        let places = phases.map(|_| registry.enter());
        for (place, (phase, now_ms)) in places.iter().zip(phases.into_iter().zip(0..)) {
            registry.end_overdue(now_ms);
            place.set(phase);
        }
        let idle = registry.enter();
        registry.end_overdue(SLOW_AFTER_MS + 1);
        assert!(registry.evict());
        assert_eq!(ending(&idle), Some(Ending::Evicted));
        for place in &places[..2] {
            assert!(registry.evict());
            assert_eq!(ending(place), Some(Ending::Evicted));
        }
        assert!(!registry.evict(), "the third has begun a moment later");
        registry.end_overdue(SLOW_AFTER_MS + 2);
        assert!(registry.evict());
        assert_eq!(ending(&places[2]), Some(Ending::Evicted));
        assert!(!registry.evict(), "a handler has limits of its own");
    }

    #[test]
    fn who_waits_for_a_turn_makes_room_behind_the_slow_and_before_all_others_that_send() {
        let registry = Rc::new(Registry::new());
        let [slow, young, greedy] = [(); 3].map(|()| registry.enter());
        slow.set(Phase::Head);
        greedy.set(Phase::Turn);
        registry.end_overdue(SLOW_AFTER_MS);
        young.set(Phase::Head);
        for (expected, why) in [(&slow, "slow"), (&greedy, "greedy"), (&young, "young")] {
            registry.end_slowest();
            assert_eq!(ending(expected), Some(Ending::TimedOut), "{why}");
        }
        greedy.set(Phase::Turn);
        young.set(Phase::Head);
        assert!(registry.evict());
        assert_eq!(ending(&greedy), Some(Ending::Evicted));
        assert!(!registry.evict(), "the young one has its second");
    }

    #[test]
    fn who_has_no_buffer_is_not_ended_for_one_and_is_evicted_last() {
        let registry = Rc::new(Registry::new());
        let [unread, greedy, young] = [(); 3].map(|()| registry.enter());
        unread.set(Phase::Unread);
        greedy.set(Phase::Turn);
        young.set(Phase::Head);
        for expected in [&greedy, &young] {
            registry.end_slowest();
            assert_eq!(ending(expected), Some(Ending::TimedOut));
        }
        registry.end_slowest();
        assert_eq!(ending(&unread), None);
        greedy.set(Phase::Turn);
        for expected in [&greedy, &unread] {
            assert!(registry.evict());
            assert_eq!(ending(expected), Some(Ending::Evicted));
        }
    }

    #[test]
    fn who_only_has_to_close_is_evicted_before_who_is_idle() {
        let registry = Rc::new(Registry::new());
        let (idle, lingering) = (registry.enter(), registry.enter());
        lingering.set(Phase::Linger);
        assert!(registry.evict());
        assert_eq!(ending(&lingering), Some(Ending::Evicted));
        lingering.set(Phase::Linger);
        while registry.drain() {}
        assert_eq!(ending(&idle), Some(Ending::Drained));
        assert_eq!(ending(&lingering), None, "a drain leaves it its time");
    }

    #[test]
    fn every_phase_ends_at_its_own_limit_and_a_new_phase_begins_anew() {
        for (phase, limit_ms) in LIMITS_MS {
            if limit_ms == u64::MAX {
                continue;
            }
            let registry = Rc::new(Registry::new());
            let (early, late, busy) = (registry.enter(), registry.enter(), registry.enter());
            early.set(phase);
            busy.set(Phase::Busy);
            assert!(!registry.end_overdue(100));
            late.set(phase);
            assert!(!registry.end_overdue(limit_ms - 1));
            assert_eq!(ending(&early), None);
            assert!(registry.end_overdue(limit_ms), "{phase:?}");
            assert_eq!(ending(&early), Some(Ending::TimedOut));
            assert!(!registry.end_overdue(limit_ms));
            assert_eq!(ending(&late), None);
            assert!(registry.end_overdue(limit_ms + 100));
            assert_eq!(ending(&late), Some(Ending::TimedOut));
            assert!(!registry.end_overdue(u64::MAX / 2));
            assert_eq!(ending(&busy), None);
        }
    }

    #[test]
    fn a_phase_that_begins_between_two_that_end_has_its_whole_time() {
        let registry = Rc::new(Registry::new());
        let (first, second) = (registry.enter(), registry.enter());
        assert!(registry.end_overdue(KEEP_ALIVE_MS));
        assert_eq!(ending(&first), Some(Ending::TimedOut));
        first.set(Phase::Linger);
        assert!(registry.end_overdue(KEEP_ALIVE_MS + LINGER_MS - 1));
        assert_eq!(ending(&second), Some(Ending::TimedOut));
        assert_eq!(ending(&first), None);
        second.set(Phase::Linger);
        assert!(registry.end_overdue(KEEP_ALIVE_MS + LINGER_MS));
        assert_eq!(ending(&first), Some(Ending::TimedOut));
        assert!(!registry.end_overdue(KEEP_ALIVE_MS + LINGER_MS));
    }

    #[test]
    fn those_that_are_overdue_end_one_at_a_time() {
        let registry = Rc::new(Registry::new());
        let places: Vec<Place> = (0..3).map(|_| registry.enter()).collect();
        places[1].set(Phase::Head);
        let ended = || {
            places
                .iter()
                .filter(|place| place.ended().is_some())
                .count()
        };
        for _ in 0..3 {
            assert!(registry.end_overdue(u64::MAX / 2));
            assert_eq!(ended(), 1);
        }
    }

    #[test]
    fn places_are_used_again_and_draining_spares_the_busy() {
        let registry = Rc::new(Registry::new());
        let first = registry.enter();
        drop(registry.enter());
        let second = registry.enter();
        second.set(Phase::Busy);
        assert_eq!(registry.len(), 2);
        assert_eq!(registry.0.borrow().entries.len(), 2);
        while registry.drain() {}
        assert_eq!(ending(&first), Some(Ending::Drained));
        assert_eq!(ending(&second), None);
        drop((first, second));
        assert!(
            registry
                .poll_empty(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
    }
}
