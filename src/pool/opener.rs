//! Opens connections until there are as many as there should be: a few at a time, with a jittered
//! pause after a failure. One that is slow to open holds up no other.

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

use super::{Inner, Member, Stream};
use crate::limits::{
    CONNECTION_LIFETIME_MAX_S, LIFETIME_JITTER_PERCENT, OPENING_MAX_COUNT,
    RECONNECT_BACKOFF_MAX_MS, RECONNECT_BACKOFF_MIN_MS,
};
use crate::log;
use crate::pg::connection::Connection;
use crate::pg::error::ConnectError;

/// The pause before the next attempt to connect. It grows with failures, and with servers that take
/// a connection and then do not take payments; an answered exchange ends it.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pause: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// Counts a failure. Failures during a pause are one failure: connections break together.
    pub(super) fn failed(&mut self, draw: u16) {
        let now = Instant::now();
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let least = Duration::from_millis(RECONNECT_BACKOFF_MIN_MS);
        let most = Duration::from_millis(RECONNECT_BACKOFF_MAX_MS);
        self.pause = (self.pause * 2).clamp(least, most);
        self.until = Some(now + jittered(self.pause, 50, draw));
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Runs until the pool closes.
pub(super) async fn run<S: Stream>(pool: Rc<Inner<S>>) {
    let warnings = RefCell::new(log::Limited::default());
    let mut opening = FuturesUnordered::new();
    while !pool.closing.get() {
        let still = |until: &Instant| Instant::now() < *until;
        let stalled = pool.stalled_until.get().filter(still);
        let target = match stalled {
            Some(_) => 1,
            None => pool.settings.size + usize::from(pool.ageing.get()),
        };
        let pause = pool.backoff.borrow().until.filter(still);
        let again = pause.or(stalled);
        let missing = target.saturating_sub(pool.open.get());
        while pause.is_none() && opening.len() < missing.min(OPENING_MAX_COUNT) {
            opening.push(pool.open_one(&warnings));
        }
        tokio::select! {
            biased;
            Some(()) = opening.next() => {}
            () = pool.wanted.notified() => {}
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
        }
    }
    while opening.next().await.is_some() {}
}

impl<S: Stream> Inner<S> {
    async fn open_one(self: &Rc<Self>, warnings: &RefCell<log::Limited>) {
        let (began, era) = (Instant::now(), self.era.get());
        match self.connector.connect().await {
            Ok(connection) => self.take_in(connection, began, era),
            Err(error) => self.note_failure(&error, &mut warnings.borrow_mut()),
        }
    }

    fn take_in(self: &Rc<Self>, connection: Connection<S>, began: Instant, era: u32) {
        let now = Instant::now();
        let lifetime = jittered(
            self.settings.connection_lifetime,
            LIFETIME_JITTER_PERCENT,
            self.connector.draw(),
        );
        self.open.set(self.open.get() + 1);
        self.last_failure.set(None);
        self.metrics.pool.opened(now - began);
        self.release(Box::new(Member {
            connection,
            expires: now + lifetime,
            ends: now + Duration::from_secs(CONNECTION_LIFETIME_MAX_S),
            era,
            validated: now,
            served: false,
            paid: false,
        }));
        if self.open.get() >= self.settings.size && !self.ready.replace(true) {
            self.metrics.pool.ready.set(1);
            self.readied.notify_waiters();
        }
    }

    fn note_failure(&self, error: &ConnectError, warnings: &mut log::Limited) {
        self.backoff.borrow_mut().failed(self.connector.draw());
        self.last_failure.set(Some(error.step));
        self.metrics.pool.connect_failed(error.step);
        if let Some(line) = warnings.warn("database_connect_failed") {
            line.field("step", error.step.as_str())
                .field("reason", &error.message)
                .emit();
        }
    }
}

/// `duration` less a part of up to `percent` of it, by a random `draw`.
fn jittered(duration: Duration, percent: u64, draw: u16) -> Duration {
    let share = u32::from(draw);
    let most = duration * u32::try_from(percent).unwrap_or(0) / 100;
    duration - most * share / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_takes_up_to_its_part_of_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 50, 0), second);
        assert_eq!(jittered(second, 50, 1 << 15), second * 3 / 4);
        let least = jittered(second, 50, u16::MAX);
        assert!(least > second / 2 && least < second * 51 / 100, "{least:?}");
        assert_eq!(jittered(second, 10, 1 << 15), second * 95 / 100);
    }
}
