//! One run: a pool, the simulated server, callers, trouble, and what must always hold.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use payment_latency_api::config::PoolSettings;
use payment_latency_api::limits::LIFETIME_JITTER_PERCENT;
use payment_latency_api::metrics::{Build, Metrics};
use payment_latency_api::payment::{Amount, Currency, IdempotencyKey, Outcome, transaction_id};
use payment_latency_api::pg::payments::{Insert, Row as Found};
use payment_latency_api::pool::{Failure, Pool, Unavailable, Written};

use crate::dice::Dice;
use crate::postgres::{Connector, pick_mode};
use crate::stream::{Client, Count};
use crate::table::{Row, Table};

pub(crate) const REGION: &str = "eu-south-2";

/// The table refuses a payment of this amount, whoever writes it and whenever.
pub(crate) const POISON_MINOR: i64 = 1_313;

/// How long after its deadline a payment may end: twice the timer's granularity.
const LATE: Duration = Duration::from_millis(3);

/// The pool is whole again this long after the last trouble: the longest pause between connection
/// attempts, the time-outs of an exchange and of a connection, and the longest stall.
const RECOVERY: Duration = Duration::from_secs(8);

pub(crate) type Ended = Option<Result<Written, Failure>>;

/// The conditions that a seed chooses, all in permille, milliseconds or counts.
pub(crate) struct Profile {
    pub(crate) pool: PoolSettings,
    /// Nothing fails: then every payment must end well.
    pub(crate) calm: bool,
    pub(crate) exchange_trouble: u64,
    pub(crate) idle_trouble: u64,
    pub(crate) connect_trouble: u64,
    pub(crate) noise: u64,
    /// Rows that are slow, while those before them hold their index entries.
    pub(crate) slow_rows: u64,
    pub(crate) connect_ms: u64,
    pub(crate) commit_ms: (u64, u64),
    events: bool,
    callers: usize,
    keyed: u64,
    keys: usize,
    /// Time within which the callers arrive.
    rush_ms: u64,
    deadline_ms: (u64, u64),
    impatience: u64,
    /// Payments that the table refuses, whatever happens.
    poison: u64,
    closes_early: bool,
}

impl Profile {
    /// Nothing fails and nothing takes time.
    pub(crate) fn quiet() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            pool: PoolSettings {
                size: 3,
                waiters_max: 8,
                batch_max: 32,
                checkout_timeout: SECOND,
                exchange_timeout: SECOND,
                connect_timeout: SECOND,
                connection_lifetime: 3_600 * SECOND,
                idle_probe_interval: 290 * SECOND,
                statement_mode: pick_mode(true),
            },
            calm: true,
            exchange_trouble: 0,
            idle_trouble: 0,
            connect_trouble: 0,
            noise: 0,
            slow_rows: 0,
            connect_ms: 0,
            commit_ms: (0, 0),
            events: false,
            callers: 0,
            keyed: 0,
            keys: 0,
            rush_ms: 0,
            deadline_ms: (0, 0),
            impatience: 0,
            poison: 0,
            closes_early: false,
        }
    }

    fn draw(dice: &Dice) -> Self {
        let calm = dice.permille(150);
        let trouble = |choices: &[u64]| if calm { 0 } else { dice.pick(choices) };
        let longest = if calm {
            60_000
        } else {
            dice.between(20, 1_000)
        };
        // Full batches on several connections at once, which share few keys and are slow.
        let contended = dice.permille(100);
        let callers = if contended { 60 } else { dice.below(60) + 1 };
        let [size, batch_max] = match contended {
            true => [3, 32],
            false => [dice.below(4) + 1, dice.pick(&[1, 2, 5, 32])],
        };
        Self {
            pool: PoolSettings {
                size,
                waiters_max: if calm {
                    callers + 1
                } else {
                    dice.pick(&[0, 1, 4, 16, 64])
                },
                batch_max,
                checkout_timeout: Duration::from_millis(longest),
                exchange_timeout: match calm {
                    true => Duration::from_secs(10),
                    false => dice.millis(150, 1_000),
                },
                connect_timeout: dice.millis(100, 1_000),
                connection_lifetime: dice.millis(1_000, 20_000),
                idle_probe_interval: dice.millis(100, 3_000),
                statement_mode: pick_mode(dice.permille(500)),
            },
            calm,
            exchange_trouble: trouble(&[0, 10, 100, 300, 600]),
            idle_trouble: trouble(&[0, 50, 300]),
            connect_trouble: trouble(&[0, 50, 300]),
            noise: dice.pick(&[0, 50, 300]),
            slow_rows: if contended {
                500
            } else {
                dice.pick(&[0, 0, 300])
            },
            connect_ms: dice.pick(&[0, 5, 100]),
            commit_ms: dice.pick(&[(0, 0), (0, 3), (1, 20), (20, 60)]),
            events: trouble(&[0, 1]) == 1,
            callers,
            keyed: if contended {
                900
            } else {
                dice.pick(&[100, 400, 900])
            },
            keys: dice.pick(&[1, 3, 20]),
            rush_ms: dice.pick(&[1, 200, 3_000]),
            deadline_ms: if calm {
                (60_000, 60_000)
            } else {
                (1, dice.between(20, 4_000))
            },
            impatience: dice.pick(&[0, 50, 300]),
            poison: if contended {
                0
            } else {
                dice.pick(&[0, 0, 10, 150])
            },
            closes_early: !calm && dice.permille(100),
        }
    }
}

/// What a caller may conclude from its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Written,
    SurelyNot,
    Nothing,
}

pub(crate) struct World {
    pub(crate) dice: Rc<Dice>,
    pub(crate) profile: Profile,
    pub(crate) table: Rc<Table>,
    pub(crate) count: Rc<Count>,
    /// Validation queries that the database received.
    pub(crate) validations: Cell<u64>,
    pub(crate) crash: Notify,
    pub(crate) healed: Cell<bool>,
    closing: Cell<bool>,
    pub(crate) down_until: Cell<Instant>,
    pub(crate) frozen_until: Cell<Instant>,
    pub(crate) read_only_until: Cell<Instant>,
    pub(crate) unauthorised_until: Cell<Instant>,
    pool: RefCell<Option<Pool<Client>>>,
    metrics: Arc<Metrics>,
    ledger: RefCell<Vec<(Insert, Told)>>,
    began: Instant,
    /// How far the wall clocks of the service's host and of the database were stepped.
    steps_s: [Cell<i64>; 2],
    stamps: Cell<i64>,
}

thread_local! {
    /// What happened in this thread's run, if it will be printed.
    pub(crate) static TRACE: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs one seed, and panics if something does not hold.
pub(crate) async fn run(seed: u64) {
    let dice = Dice::new(seed);
    let profile = Profile::draw(&dice);
    let (world, pool) = World::start(dice, profile);
    let trouble = tokio::task::spawn_local(trouble(world.clone()));
    let health = tokio::task::spawn_local(health(world.clone()));
    let callers = (0..world.profile.callers).map(|_| tokio::task::spawn_local(call(world.clone())));
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller came to its end");
    }
    health.await.expect("health was asked to the end");
    trouble.abort();
    world.heal();
    if !world.profile.closes_early {
        world.recover(&pool).await;
    }
    world.end(&pool).await;
}

impl World {
    pub(crate) fn start(dice: Dice, profile: Profile) -> (Rc<Self>, Pool<Client>) {
        let world = Self::new(dice, profile);
        let connector = Box::new(Connector(world.clone()));
        let pool = Pool::start(world.profile.pool, connector, world.metrics.clone());
        *world.pool.borrow_mut() = Some(pool.clone());
        (world, pool)
    }

    fn new(dice: Dice, profile: Profile) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            profile,
            dice: Rc::new(dice),
            table: Rc::default(),
            count: Rc::default(),
            validations: Cell::new(0),
            crash: Notify::new(),
            healed: Cell::new(false),
            closing: Cell::new(false),
            down_until: Cell::new(now),
            frozen_until: Cell::new(now),
            read_only_until: Cell::new(now),
            unauthorised_until: Cell::new(now),
            pool: RefCell::new(None),
            metrics: Arc::new(Metrics::new(Build::default())),
            ledger: RefCell::default(),
            began: now,
            steps_s: Default::default(),
            stamps: Cell::new(0),
        })
    }

    /// Records what happened.
    pub(crate) fn trace(&self, text: impl FnOnce() -> String) {
        TRACE.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                let at = self.began.elapsed().as_secs_f64() * 1_000.0;
                lines.push(format!("{at:>10.3} ms  {}", text()));
            }
        });
    }

    /// Milliseconds since 1970 by one of the two wall clocks.
    fn wall_ms(&self, which: usize) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        1_767_323_045_000 + elapsed + self.steps_s[which].get() * 1_000
    }

    /// A `created_at` that no other row has.
    pub(crate) fn stamp(&self) -> i64 {
        self.stamps.set(self.stamps.get() + 1);
        (self.wall_ms(1) - 946_684_800_000) * 1_000_000 + self.stamps.get()
    }

    /// Checks what must hold whenever no task is in the middle of something.
    pub(crate) fn check(&self) {
        let pool = self.pool.borrow();
        let Some(pool) = &*pool else { return };
        let figures = pool.figures();
        let settings = &self.profile.pool;
        let (open, connecting) = (self.count.open.get(), self.count.connecting.get());
        assert!(
            open + connecting <= settings.size + 1,
            "more connections than size and one: {open} open, {connecting} on their way"
        );
        assert_eq!(figures.open, open, "the pool miscounts its connections");
        assert!(
            figures.idle <= open,
            "more are idle than are open: {figures:?}"
        );
        assert!(
            figures.waiting <= settings.waiters_max,
            "more wait than allowed: {figures:?}"
        );
        let forgotten = figures.idle > 0 && figures.waiting > 0;
        assert!(
            !forgotten,
            "somebody waits beside an idle connection: {figures:?}"
        );
    }

    /// Checks the age of a connection that is closed without another reason.
    pub(crate) fn check_goodbye(&self, age: Duration) {
        let lifetime = self.profile.pool.connection_lifetime;
        let least = lifetime * (100 - u32::try_from(LIFETIME_JITTER_PERCENT).unwrap()) / 100;
        assert!(
            self.closing.get() || age >= least,
            "a connection is retired at {age:?} of {lifetime:?}"
        );
    }

    pub(crate) fn heal(&self) {
        self.trace(|| "all trouble ends".to_owned());
        self.healed.set(true);
        let now = Instant::now();
        for until in [
            &self.down_until,
            &self.frozen_until,
            &self.read_only_until,
            &self.unauthorised_until,
        ] {
            until.set(until.get().min(now));
        }
    }

    /// After the last trouble the pool is whole again, and serves.
    pub(crate) async fn recover(self: &Rc<Self>, pool: &Pool<Client>) {
        let size = self.profile.pool.size;
        let limit = Instant::now() + RECOVERY;
        loop {
            self.check();
            let figures = pool.figures();
            if figures.open >= size && figures.idle == figures.open && figures.waiting == 0 {
                break;
            }
            assert!(
                Instant::now() < limit,
                "the pool does not recover: {figures:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
        assert!(pool.is_ready(), "a whole pool is not ready");
        let payment = self.payment(None, 0);
        let ended = self.attempt(&payment, Duration::from_secs(30), 0).await;
        assert!(
            matches!(ended, Some(Ok(_))),
            "a whole pool does not serve: {ended:?}"
        );
    }

    fn close(&self, pool: &Pool<Client>) {
        self.closing.set(true);
        pool.close();
    }

    /// Checks that a closed pool releases everything, and that nobody was told anything untrue.
    pub(crate) async fn end(&self, pool: &Pool<Client>) {
        self.trace(|| "the pool closes".to_owned());
        self.close(pool);
        sleep(RECOVERY).await;
        self.check();
        let figures = pool.figures();
        assert_eq!(
            (figures.open, figures.idle, figures.waiting),
            (0, 0, 0),
            "a closed pool has connections or waiters"
        );
        assert_eq!(
            (self.count.open.get(), self.count.connecting.get()),
            (0, 0),
            "a closed pool leaves connections behind"
        );
        let mut text = Vec::new();
        self.metrics.write_text(&mut text);
        let text = String::from_utf8(text).unwrap();
        for gauge in [
            "pool_waiters 0",
            "pool_connections{state=\"open\"} 0",
            "pool_connections{state=\"idle\"} 0",
        ] {
            assert!(
                text.lines().any(|line| line == gauge),
                "a gauge of a closed pool is not 0: {gauge}"
            );
        }
        self.audit();
        // The pool and the world refer to each other.
        self.pool.borrow_mut().take();
    }

    /// Compares what callers were told with the table.
    fn audit(&self) {
        let ledger = self.ledger.borrow();
        for (payment, told) in ledger.iter() {
            let row = self.table.by_id(&payment.transaction_id);
            match told {
                Told::Written => assert!(row.is_some(), "an acknowledged payment is lost"),
                Told::SurelyNot => assert_eq!(row, None, "\"surely not written\" is written"),
                Told::Nothing => {}
            }
        }
        for row in self.table.rows() {
            let payment = ledger
                .iter()
                .find(|(payment, _)| payment.transaction_id == row.transaction_id);
            let (payment, _) = payment.expect("a row belongs to no caller");
            assert_eq!(
                row,
                row_of(payment, row.created_at),
                "a row has other content than its caller's"
            );
        }
    }

    /// A payment of one of two kinds: under the same key, the second kind is another request.
    pub(crate) fn payment(&self, key: Option<usize>, variant: i64) -> Insert {
        let key = key.map(|number| format!("key-{number}"));
        Insert {
            transaction_id: transaction_id(self.wall_ms(0) * 1_000, &self.dice.bytes()),
            idempotency_key: key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap()),
            request_hash: [u8::try_from(variant).unwrap(); 32],
            amount: Amount {
                minor_units: if variant == 2 {
                    POISON_MINOR
                } else {
                    100 + variant
                },
                exponent: 2,
            },
            currency: if variant == 0 {
                Currency::EUR
            } else {
                Currency::MXN
            },
            outcome: if variant == 0 {
                Outcome::Approved
            } else {
                Outcome::Declined
            },
            processing_ms: u16::try_from(7 * variant).unwrap(),
        }
    }

    /// One attempt of a caller, who may lose patience at some time or between two steps.
    pub(crate) async fn attempt(
        self: &Rc<Self>,
        payment: &Insert,
        limit: Duration,
        impatience: u64,
    ) -> Ended {
        let pool = self.pool.borrow().clone().expect("the pool is there");
        let began = Instant::now();
        let dice = &self.dice;
        let hangs_up = dice.permille(impatience).then(|| dice.millis(0, 200));
        let drops_after = dice.permille(impatience).then(|| dice.millis(0, 200));
        let polls = dice.permille(impatience).then(|| dice.below(12));
        let abandoned = async {
            match hangs_up {
                Some(after) => sleep(after).await,
                None => pending().await,
            }
        };
        let attempt = Attempt {
            write: Some(Box::pin(pool.write(payment, began + limit, abandoned))),
            polls: polls.unwrap_or(usize::MAX),
            world: self,
        };
        let ended = match drops_after {
            Some(after) => tokio::select! {
                biased;
                () = sleep(after) => None,
                ended = attempt => ended,
            },
            None => attempt.await,
        };
        self.check();
        assert!(
            began.elapsed() <= limit + LATE,
            "an answer is late: {:?} after the deadline",
            began.elapsed() - limit
        );
        self.trace(|| format!("{:02x?}: {ended:?}", &payment.transaction_id[6..]));
        let told = self.judge(payment, &ended, began);
        self.ledger.borrow_mut().push((payment.clone(), told));
        ended
    }

    /// Checks an answer against the table as it is now, and says what its caller may rely on.
    fn judge(&self, payment: &Insert, ended: &Ended, began: Instant) -> Told {
        let own = self.table.by_id(&payment.transaction_id);
        let Some(result) = ended else {
            return Told::Nothing;
        };
        let is_poison = payment.amount.minor_units == POISON_MINOR;
        if self.profile.calm {
            let good = match result {
                Ok(_) => !is_poison,
                Err(Failure::KeyReused | Failure::Abandoned) => true,
                // Unknown if an earlier attempt was lost together with the caller whose exchange
                // carried it.
                Err(Failure::Refused(_) | Failure::Deadline { sent: true }) => is_poison,
                Err(_) => false,
            };
            assert!(good, "a bad end though nothing was in the way: {result:?}");
        }
        match result {
            Ok(written) => {
                assert!(
                    written.database_time <= began.elapsed(),
                    "more time in the database than in total: {written:?}"
                );
                match &written.replayed {
                    None => {
                        let own = own.expect("acknowledged before it was committed");
                        let told = row_of(payment, written.created_at);
                        assert_eq!(own, told, "the row is not the answer's");
                        return Told::Written;
                    }
                    Some(found) => self.judge_replay(payment, written, found),
                }
            }
            Err(Failure::KeyReused) => {
                let key = payment
                    .idempotency_key
                    .as_ref()
                    .expect("a key is reported as used, but there is none");
                let row = self
                    .table
                    .by_key(key.as_str())
                    .expect("a key is reported as used that nobody used");
                assert_ne!(
                    row.request_hash, payment.request_hash,
                    "a replay is reported as another request"
                );
            }
            Err(Failure::Refused(error)) => {
                assert!(
                    is_poison,
                    "refused though nothing is wrong with it: {error}"
                );
            }
            Err(Failure::Unavailable(why)) => self.judge_unavailable(*why, began),
            Err(Failure::Deadline { sent: true }) => return Told::Nothing,
            Err(Failure::Deadline { sent: false } | Failure::Abandoned) => {}
        }
        Told::SurelyNot
    }

    fn judge_replay(&self, payment: &Insert, written: &Written, found: &Found) {
        let row = self.table.by_id(&found.transaction_id);
        let row = row.expect("the replayed row is not there");
        assert_eq!(
            row.created_at, written.created_at,
            "the replay has another time"
        );
        assert_is_row(found, &row);
        let key = payment.idempotency_key.as_ref().map(IdempotencyKey::as_str);
        assert!(
            key.is_some() && row.idempotency_key.as_deref() == key,
            "the replay is of another key: {row:?}"
        );
        assert_eq!(
            found.request_hash, payment.request_hash,
            "the replay is of another request"
        );
    }

    fn judge_unavailable(&self, why: Unavailable, began: Instant) {
        let figures = self.pool.borrow().as_ref().map(Pool::figures).unwrap();
        let settings = &self.profile.pool;
        match why {
            Unavailable::WaitersFull => assert!(
                figures.waiting == settings.waiters_max && figures.open > 0,
                "503 for a full queue that is not full, or with no connection open"
            ),
            Unavailable::CheckoutTimeout => assert!(
                began.elapsed() >= settings.checkout_timeout && figures.open > 0,
                "503 before the checkout's time is over, or with nothing to check out"
            ),
            Unavailable::Disconnected => assert_eq!(
                figures.open, 0,
                "503 for lack of a connection though one is open"
            ),
        }
    }
}

fn row_of(payment: &Insert, created_at: i64) -> Row {
    Row {
        transaction_id: payment.transaction_id,
        idempotency_key: payment.idempotency_key.map(|key| key.as_str().to_owned()),
        request_hash: payment.request_hash,
        amount_minor: payment.amount.minor_units,
        amount_exponent: payment.amount.exponent.into(),
        currency: payment.currency.code().to_owned(),
        region: REGION.to_owned(),
        status: payment.outcome.as_str().to_owned(),
        processing_ms: payment.processing_ms.into(),
        created_at,
    }
}

fn assert_is_row(found: &Found, row: &Row) {
    let Found {
        amount,
        currency,
        outcome,
        ..
    } = found;
    assert_eq!(
        (
            found.transaction_id,
            found.request_hash,
            amount.minor_units,
            currency.code(),
            outcome.as_str()
        ),
        (
            row.transaction_id,
            row.request_hash,
            row.amount_minor,
            &*row.currency,
            &*row.status
        ),
        "the replay is not the row that it names"
    );
}

type Write<'a> = dyn Future<Output = Result<Written, Failure>> + 'a;

/// A write that is checked after each of its steps, and dropped after a number of them.
struct Attempt<'a> {
    write: Option<Pin<Box<Write<'a>>>>,
    polls: usize,
    world: &'a World,
}

impl Future for Attempt<'_> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        // Dropped before it sees why it was woken.
        if this.polls == 0 {
            this.write = None;
        }
        this.polls = this.polls.saturating_sub(1);
        let polled = match &mut this.write {
            Some(write) => write.as_mut().poll(cx).map(Some),
            None => Poll::Ready(None),
        };
        this.world.check();
        polled
    }
}

/// A caller: makes a payment and, while its outcome is unknown, another with the same key.
async fn call(world: Rc<World>) {
    let dice = world.dice.clone();
    let profile = &world.profile;
    sleep(dice.millis(0, profile.rush_ms)).await;
    let key = dice
        .permille(profile.keyed)
        .then(|| dice.below(profile.keys));
    let variant = match dice.permille(profile.poison) {
        true => 2,
        false => dice.pick(&[0, 0, 1]),
    };
    for _ in 0..3 {
        let payment = world.payment(key, variant);
        let limit = dice.millis(profile.deadline_ms.0, profile.deadline_ms.1);
        let ended = world.attempt(&payment, limit, profile.impatience).await;
        let unknown = matches!(ended, None | Some(Err(Failure::Deadline { sent: true })));
        if !unknown || key.is_none() {
            return;
        }
        sleep(dice.millis(1, 300)).await;
    }
}

/// Health checks during the payments, each within its time limit.
async fn health(world: Rc<World>) {
    let pool = world.pool.borrow().clone().expect("the pool is there");
    for _ in 0..world.dice.below(4) {
        sleep(world.dice.millis(0, 800)).await;
        let (began, limit) = (Instant::now(), world.dice.millis(1, 500));
        let fresh = world.dice.millis(0, 300);
        let answer = pool.check(fresh, began + limit).await;
        world.trace(|| {
            format!(
                "health after {:?} of {limit:?}: {answer:?}",
                began.elapsed()
            )
        });
        assert!(
            began.elapsed() <= limit + LATE,
            "a health check is late: {:?}",
            began.elapsed()
        );
        assert!(
            answer || !world.profile.calm || limit < LATE + Duration::from_millis(400),
            "disconnected though nothing was in the way"
        );
        world.check();
    }
}

/// What happens to the whole server, to its clocks, and to the pool.
async fn trouble(world: Rc<World>) {
    let dice = &world.dice;
    loop {
        sleep(dice.millis(20, 900)).await;
        let now = Instant::now();
        // Clocks are stepped in calm runs as well: they must not matter.
        let event = if world.profile.events {
            dice.below(7)
        } else {
            6
        };
        world.trace(|| format!("event {event}"));
        match event {
            0 => {
                world.down_until.set(now + dice.millis(0, 1_200));
                world.crash.notify_waiters();
            }
            1 => world.frozen_until.set(now + dice.millis(10, 2_500)),
            2 => world.read_only_until.set(now + dice.millis(10, 1_500)),
            3 => world.unauthorised_until.set(now + dice.millis(10, 2_000)),
            4 => world.pool.borrow().as_ref().unwrap().credentials_changed(),
            5 if world.profile.closes_early => world.close(world.pool.borrow().as_ref().unwrap()),
            _ => {
                // Up to a day, or to before 1970.
                let day = i64::try_from(dice.below(172_800)).unwrap() - 86_400;
                let step = if dice.permille(100) {
                    -2_000_000_000
                } else {
                    day
                };
                world.steps_s[dice.below(2)].set(step);
            }
        }
        world.check();
    }
}
