//! A fixed number of connections to PostgreSQL, and the order in which payments get them.
//!
//! An idle connection is taken at once, the one used last first. When all are busy, payments wait in
//! a bounded FIFO, and the next connection that frees up may carry all of them in one exchange and
//! one commit. The pool hands out work to connections; it knows nothing of HTTP and never sees
//! PostgreSQL's wire.
//!
//! Reading order: `write` (one payment, its attempts and its deadline), `exchange` (one round
//! trip), `waiters`, `opener` (new connections), `maintenance` (idle and ageing ones), `connector`
//! (the threads that handshakes run on).

mod connector;
mod exchange;
mod maintenance;
mod opener;
mod waiters;
mod write;

use arrayvec::ArrayVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use connector::{Connect, Connecting, Credentials, TcpConnector};
pub use write::{Failure, Unavailable, Written};

use self::exchange::{Exchange, Lease};
use self::opener::Backoff;
use self::waiters::Waiters;
use crate::config::PoolSettings;
use crate::labels::labels;
use crate::limits::{RECONNECT_BACKOFF_MAX_MS, REFUSALS_APART_COUNT};
use crate::log;
use crate::metrics::Metrics;
use crate::pg::connection::{Broken, Connection};
use crate::pg::error::{ConnectStep, ServerError, SqlState};

/// What connections go over: TCP, or the simulation's stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// The pool, as handlers hold it; a clone is another handle to the same one.
pub struct Pool<S: Stream>(Rc<Inner<S>>);

impl<S: Stream> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Figures for `/health`.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Connections it keeps when all is well.
    pub size: usize,
    /// Connections that are logged in.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Payments that wait for one.
    pub waiting: usize,
}

/// An open connection, its age and when it was last asked.
struct Member<S> {
    connection: Connection<S>,
    /// To be replaced after this, once its replacement is there.
    expires: Instant,
    /// To be closed after this, replacement or not.
    ends: Instant,
    /// Of which era it is: see [`Inner::era`].
    era: u32,
    /// When its last validation ended.
    validated: Instant,
    /// An exchange on it has been answered.
    served: bool,
    /// An exchange with payments on it has been answered.
    paid: bool,
}

struct Inner<S: Stream> {
    settings: PoolSettings,
    metrics: Arc<Metrics>,
    connector: Box<dyn Connect<S>>,
    /// The one used last is at the end.
    idle: RefCell<Vec<Box<Member<S>>>>,
    waiters: RefCell<Waiters<Box<Member<S>>>>,
    /// Connections that exist, idle or not.
    open: Cell<usize>,
    /// A connection is over its age and waits for its replacement.
    ageing: Cell<bool>,
    /// Grows when another database replaces the current one: connections of earlier eras take no
    /// more payments.
    era: Cell<u32>,
    ready: Cell<bool>,
    closing: Cell<bool>,
    backoff: RefCell<Backoff>,
    /// Set when a payment's exchange timed out on a connection that had completed none. Until one
    /// is answered, or for a while, a connection is opened only when none is open: the server goes
    /// on with exchanges left behind, and more connections would leave more of them.
    stalled_until: Cell<Option<Instant>>,
    /// A health check is under way.
    checking: Cell<bool>,
    checked: Notify,
    wanted: Notify,
    readied: Notify,
    /// Woken when an idle connection becomes readable or is closed.
    maintenance: RefCell<Waker>,
    last_success: Cell<Option<(Instant, Duration)>>,
    last_failure: Cell<Option<ConnectStep>>,
    /// SQLSTATEs of refusals, each with the limit on the lines about it.
    refusals: RefCell<ArrayVec<(SqlState, log::Limited), REFUSALS_APART_COUNT>>,
}

impl<S: Stream> Pool<S> {
    /// A pool that opens its connections from now on, in tasks of the current local runtime.
    pub fn start(
        settings: PoolSettings,
        connector: Box<dyn Connect<S>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.pool.size(settings.size);
        let inner = Rc::new(Inner {
            metrics,
            connector,
            idle: RefCell::new(Vec::with_capacity(settings.size + 1)),
            waiters: RefCell::new(Waiters::new(settings.waiters_max)),
            open: Cell::new(0),
            ageing: Cell::new(false),
            era: Cell::new(0),
            ready: Cell::new(false),
            closing: Cell::new(false),
            backoff: RefCell::default(),
            stalled_until: Cell::new(None),
            checking: Cell::new(false),
            checked: Notify::new(),
            wanted: Notify::new(),
            readied: Notify::new(),
            maintenance: RefCell::new(Waker::noop().clone()),
            last_success: Cell::new(None),
            last_failure: Cell::new(None),
            refusals: RefCell::default(),
            settings,
        });
        tokio::task::spawn_local(opener::run(inner.clone()));
        tokio::task::spawn_local(maintenance::run(inner.clone()));
        Self(inner)
    }

    /// Whether all connections have been open at the same time once.
    pub fn is_ready(&self) -> bool {
        self.0.ready.get()
    }

    /// Waits until [`is_ready`](Self::is_ready).
    pub async fn ready(&self) {
        while !self.0.ready.get() {
            self.0.readied.notified().await;
        }
    }

    /// Where the last attempt to connect failed, if the last one did.
    pub fn last_failure(&self) -> Option<ConnectStep> {
        self.0.last_failure.get()
    }

    /// The pool's state now.
    pub fn figures(&self) -> Figures {
        Figures {
            size: self.0.settings.size,
            open: self.0.open.get(),
            idle: self.0.idle.borrow().len(),
            waiting: self.0.waiters.borrow().len(),
        }
    }

    /// Duration of the last round trip that PostgreSQL answered.
    pub fn last_round_trip(&self) -> Option<Duration> {
        self.0.last_success.get().map(|(_, elapsed)| elapsed)
    }

    /// Whether the database has answered less than `fresh` ago.
    pub fn has_answered_within(&self, fresh: Duration) -> bool {
        let last = self.0.last_success.get();
        last.is_some_and(|(at, _)| at.elapsed() < fresh)
    }

    /// Asks the database, unless it answered less than `fresh` ago: false when no answer came before `deadline`.
    pub async fn check(&self, fresh: Duration, deadline: Instant) -> bool {
        if self.has_answered_within(fresh) {
            return true;
        }
        let asked = Instant::now();
        loop {
            // One check at a time, whose result all of them share: payments need the connections.
            let again = if self.0.checking.replace(true) {
                let _ = timeout_at(deadline, self.0.checked.notified()).await;
                // The other one may have had less time than is left here.
                true
            } else {
                let _checking = Checking(&self.0);
                self.0.validate_one(deadline).await
            };
            match self.0.last_success.get() {
                Some((at, _)) if at >= asked => return true,
                _ if again && Instant::now() < deadline => {}
                _ => return false,
            }
        }
    }

    /// Tries to connect at once, without the rest of a pause: the credentials have changed.
    pub fn credentials_changed(&self) {
        self.0.backoff.borrow_mut().reset();
        self.0.stalled_until.set(None);
        self.0.wanted.notify_one();
    }

    /// The credentials now lead to another database: closes idle connections, and the others as
    /// they become idle, so that payments of the same moment do not go to both databases.
    pub fn database_changed(&self) {
        self.0.renew();
        self.credentials_changed();
    }

    /// Closes idle connections, and the others as they become idle; opens no more.
    pub fn close(&self) {
        self.0.closing.set(true);
        self.0.wanted.notify_one();
        let idle = std::mem::take(&mut *self.0.idle.borrow_mut());
        for member in idle {
            self.0.retire(member, Closed::Shutdown);
        }
    }
}

/// A health check under way; the others are told when it is dropped.
struct Checking<'a, S: Stream>(&'a Inner<S>);

impl<S: Stream> Drop for Checking<'_, S> {
    fn drop(&mut self) {
        self.0.checking.set(false);
        self.0.checked.notify_waiters();
    }
}

labels! {
    /// Why a connection was closed; a label of the metrics.
    pub enum Closed {
        /// It was replaced for its age.
        Expired = "expired",
        /// An exchange failed on it.
        Broken = "broken",
        /// It was lost while idle.
        IdleLost = "idle_lost",
        /// An exchange took too long.
        Timeout = "timeout",
        /// The server said that it ends, or that it takes no payments here.
        Server = "server",
        /// The service ends.
        Shutdown = "shutdown",
    }
}

impl<S: Stream> Inner<S> {
    /// An idle connection. There is none while somebody waits: `release` serves waiters first.
    fn idle_lease(self: &Rc<Self>) -> Option<Lease<S>> {
        let member = self.idle.borrow_mut().pop()?;
        self.gauges();
        Some(Lease::new(self.clone(), member))
    }

    /// A round trip on one connection, if one is free in time: true when the connection was lost,
    /// since another one may be healthy.
    async fn validate_one(self: &Rc<Self>, deadline: Instant) -> bool {
        match self.lease(deadline).await {
            Some(lease) => match Exchange::validate(lease) {
                Some(exchange) => exchange
                    .run(deadline)
                    .await
                    .is_some_and(|over| over.is_lost()),
                None => true,
            },
            // The queue is full, or the time is over. An answer to somebody else is a sign of life
            // as well.
            None => {
                sleep_until(deadline).await;
                false
            }
        }
    }

    /// Takes a connection in: a new one, or one whose exchange is over.
    fn release(self: &Rc<Self>, member: Box<Member<S>>) {
        let now = Instant::now();
        if self.closing.get() {
            return self.retire(member, Closed::Shutdown);
        }
        if member.era != self.era.get() {
            return self.retire(member, Closed::Expired);
        }
        if now >= member.ends || (now >= member.expires && self.open.get() > self.settings.size) {
            self.ageing.set(false);
            return self.retire(member, Closed::Expired);
        }
        if now >= member.expires && !self.ageing.replace(true) {
            self.wanted.notify_one();
        }
        if self.must_validate(&member, now) {
            return self.validate(member);
        }
        let Some(mut member) = self.waiters.borrow_mut().grant(member, now) else {
            return self.gauges();
        };
        // Registers the waker of maintenance with the socket, so that the end of an idle connection
        // is noticed.
        let maintenance = self.maintenance.borrow();
        let mut cx = Context::from_waker(&maintenance);
        if let Poll::Ready(broken) = member.connection.poll_idle(&mut cx) {
            return self.lose_idle(member, &broken);
        }
        self.idle.borrow_mut().push(member);
        self.gauges();
    }

    fn lose_idle(&self, member: Box<Member<S>>, broken: &Broken) {
        self.note_broken(broken, member.connection.refusal().as_deref());
        self.discard(member, Closed::IdleLost);
    }

    /// Closes a connection that is of no use, and asks for another: after a pause if it never
    /// served, or what the server said put an end to it, since the next one may be no better.
    fn discard(&self, member: Box<Member<S>>, why: Closed) {
        let served = member.served;
        if Instant::now() >= member.expires {
            // It is gone before its replacement came; maintenance looks for others.
            self.ageing.set(false);
        }
        drop(member);
        if why == Closed::Server || !served {
            self.backoff.borrow_mut().failed(self.connector.draw());
        }
        self.forget(why);
    }

    /// Closes a healthy connection with a goodbye.
    #[allow(clippy::boxed_local)] // it lives in a box everywhere
    fn retire(&self, member: Box<Member<S>>, why: Closed) {
        member.connection.terminate();
        self.forget(why);
    }

    fn forget(&self, why: Closed) {
        self.open.set(self.open.get() - 1);
        self.metrics.pool.closed(why);
        self.wanted.notify_one();
        self.gauges();
    }

    /// Has every idle connection validated before its next use.
    fn suspect_idle(self: &Rc<Self>) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for member in idle {
            self.validate(member);
        }
    }

    fn validate(self: &Rc<Self>, member: Box<Member<S>>) {
        // An exchange that fails to begin closes the connection on drop.
        if let Some(exchange) = Exchange::validate(Lease::new(self.clone(), member)) {
            tokio::task::spawn_local(exchange.run_to_limit());
        }
        self.gauges();
    }

    /// An answered payment shows that a connection lives, and not that its commits still wait for the
    /// disk: so one that is never idle has its validation, too.
    fn must_validate(&self, member: &Member<S>, now: Instant) -> bool {
        now >= member.validated + self.settings.idle_probe_interval
    }

    /// Closes idle connections, and the others as they become idle.
    fn renew(&self) {
        self.era.set(self.era.get() + 1);
        self.ageing.set(false);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for member in idle {
            self.retire(member, Closed::Expired);
        }
    }

    fn note_answer(&self, elapsed: Duration, refused: Option<&ServerError>) {
        self.metrics.pool.exchange(elapsed);
        match refused {
            None => {
                self.last_success.set(Some((Instant::now(), elapsed)));
                self.metrics.pool.success();
                // While connecting fails, answers on open connections do not end the back-off.
                if self.last_failure.get().is_none() {
                    self.backoff.borrow_mut().reset();
                }
            }
            // A payment that fails by this logs a line of its own.
            Some(error) => {
                if let Some(line) = self.refusal_line(error.state) {
                    line.field("sqlstate", error.state.as_str())
                        .field("message", error.message.as_str())
                        .emit();
                }
            }
        }
    }

    /// A line, unless there was one about the same SQLSTATE a moment ago. The last of the slots is
    /// for all further ones.
    fn refusal_line(&self, state: SqlState) -> Option<log::Line> {
        let mut refusals = self.refusals.borrow_mut();
        let known = refusals.iter().position(|(known, _)| *known == state);
        if known.is_none() && !refusals.is_full() {
            refusals.push((state, log::Limited::default()));
        }
        let last = refusals.len().checked_sub(1)?;
        let (_, lines) = refusals.get_mut(known.unwrap_or(last))?;
        lines.warn("database_refused")
    }

    /// A payment's exchange timed out on a connection that had completed none.
    fn stall(&self) {
        let pause = Duration::from_millis(RECONNECT_BACKOFF_MAX_MS);
        let end = Instant::now() + 2 * self.settings.exchange_timeout + pause;
        self.stalled_until.set(Some(end));
    }

    /// A payment's exchange was answered.
    fn go_on(&self) {
        if self.stalled_until.take().is_some() {
            self.wanted.notify_one();
        }
    }

    /// `told` is what PostgreSQL said last, which may be why it ended the session.
    fn note_broken(&self, broken: &Broken, told: Option<&ServerError>) {
        let line = log::warn("database_connection_lost").field("reason", &broken.to_string());
        match told {
            Some(error) => line
                .field("sqlstate", error.state.as_str())
                .field("message", error.message.as_str())
                .emit(),
            None => line.emit(),
        }
    }

    fn gauges(&self) {
        self.metrics
            .pool
            .connections(self.open.get(), self.idle.borrow().len());
        self.metrics.pool.waiters(self.waiters.borrow().len());
    }
}
