//! Payments at a steady rate, what callers were told about each, and whether the table agrees.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::postgres::Cluster;
use crate::support::{Caller, KEY, PATIENCE, Response};

/// How payments are made.
#[derive(Clone)]
pub struct Plan {
    pub rate: f64,
    /// Keep-alive connections, each with its own thread.
    pub callers: usize,
    /// One in this many payments is the last on its connection; 0 keeps all connections.
    pub churn: u64,
    /// The first payment's number.
    pub first: u64,
    /// The addresses that callers connect to: the instances that a load balancer would choose from.
    pub endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    pub key: Arc<Mutex<&'static str>>,
}

impl Plan {
    pub fn new(rate: f64, callers: usize, address: SocketAddr) -> Self {
        Self {
            rate,
            callers,
            churn: 0,
            first: 1,
            endpoints: Arc::new(Mutex::new(vec![address])),
            key: Arc::new(Mutex::new(KEY)),
        }
    }

    pub fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }
}

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Paid(u128),
    /// Surely not written: 503, or 504 with `not_sent`.
    Refused,
    /// 504 with `unknown`.
    Unknown,
    /// The connection ended without an answer.
    Nothing,
    Wrong(String),
}

/// One line of the ledger. The number is the amount in cents: each payment has its own.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub told: Told,
    pub took: Duration,
    /// Measured by the service, if the answer says so.
    pub in_the_service: Duration,
}

/// Every second payment has an idempotency key, and may be requested again.
fn key_of(number: u64) -> Option<String> {
    number.is_multiple_of(2).then(|| format!("ledger-{number}"))
}

/// Shorter than the drain of any service that is replaced here.
const IDLE_MAX: Duration = Duration::from_secs(1);

pub struct Traffic {
    plan: Plan,
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Entry>>>,
}

struct Shared {
    begun: Instant,
    stop: AtomicBool,
    next: AtomicU64,
    paid: AtomicU64,
    /// Connections that were reset between two payments, and those that were refused.
    resets: AtomicU64,
    turned_away: AtomicU64,
    /// Payments without an answer yet, and the highest number of them at one time.
    under_way: AtomicU64,
    most_under_way: AtomicU64,
    /// When the latest payment with a good answer was sent, in nanoseconds from the start.
    sent_and_paid: AtomicU64,
}

impl Traffic {
    pub fn start(plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            next: AtomicU64::new(plan.first),
            paid: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            most_under_way: AtomicU64::new(0),
            sent_and_paid: AtomicU64::new(0),
        });
        let callers = (0..plan.callers)
            .map(|index| {
                let (plan, shared) = (plan.clone(), shared.clone());
                std::thread::spawn(move || shared.call(&plan, index))
            })
            .collect();
        Self {
            plan,
            shared,
            callers,
        }
    }

    /// Payments with a good answer so far.
    pub fn paid(&self) -> u64 {
        self.shared.paid.load(Ordering::Relaxed)
    }

    /// Waits until a payment sent after `since` has a good answer, and returns how long that took.
    pub fn recovered(&self, since: Instant) -> Duration {
        let mark = u64::try_from((since - self.shared.begun).as_nanos()).unwrap();
        while self.shared.sent_and_paid.load(Ordering::Relaxed) < mark {
            assert!(since.elapsed() < PATIENCE, "payments do not succeed again");
            std::thread::sleep(Duration::from_millis(1));
        }
        since.elapsed()
    }

    /// Stops, and requests every payment with a key and an unknown outcome again.
    pub fn stop(self) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut entries: Vec<Entry> = self
            .callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect();
        entries.sort_by_key(|entry| entry.number);
        let seconds = self.shared.begun.elapsed().as_secs_f64();
        let address = self.plan.endpoints.lock().unwrap()[0];
        let mut caller = Caller::connect(address);
        let mut resolved = Vec::new();
        for entry in &entries {
            if let (Told::Unknown | Told::Nothing, Some(key)) = (&entry.told, key_of(entry.number))
            {
                let query = format!("amount={}", amount(entry.number));
                let api_key = *self.plan.key.lock().unwrap();
                let headers = [("X-API-Key", api_key), ("Idempotency-Key", &key)];
                let target = format!("{}?{query}", crate::support::PAYMENT);
                resolved.push((entry.number, id_of(&caller.get(&target, &headers))));
            }
        }
        Ledger {
            entries,
            resolved,
            resets: self.shared.resets.load(Ordering::Relaxed),
            turned_away: self.shared.turned_away.load(Ordering::Relaxed),
            most_under_way: self.shared.most_under_way.load(Ordering::Relaxed),
            seconds,
        }
    }
}

fn amount(number: u64) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

fn id_of(answer: &Response) -> u128 {
    let id = answer.id();
    u128::from_str_radix(&id.replace('-', ""), 16).expect("a UUID")
}

impl Shared {
    fn call(&self, plan: &Plan, index: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut connection: Option<Caller> = None;
        let mut used = Instant::now();
        let mut due = self.begun + Duration::from_secs_f64(index as f64 / plan.rate);
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += Duration::from_secs_f64(plan.callers as f64 / plan.rate);
            if connection.is_none() {
                let address = {
                    let endpoints = plan.endpoints.lock().unwrap();
                    endpoints[index % endpoints.len()]
                };
                // If nobody is listening, nothing has been sent.
                connection = Caller::try_connect(address);
                used = Instant::now();
            }
            let Some(caller) = &mut connection else {
                self.turned_away.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            // Between two requests a server may close. Like any client, a caller checks before it sends, and
            // does not use a connection that was idle for so long that the close may be on its way.
            let open = caller.is_open();
            self.resets
                .fetch_add(u64::from(open.is_err()), Ordering::Relaxed);
            if !open.unwrap_or(false) || used.elapsed() > IDLE_MAX {
                connection = None;
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let sent = Instant::now();
            // Not inside the call, which would hold the lock for as long as the payment takes.
            let key = *plan.key.lock().unwrap();
            let most = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_under_way.fetch_max(most, Ordering::Relaxed);
            let (told, keeps, in_the_service) = pay(caller, number, key);
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            let took = sent.elapsed();
            used = Instant::now();
            if matches!(told, Told::Paid(_)) {
                let since = u64::try_from((sent - self.begun).as_nanos()).unwrap();
                self.sent_and_paid.fetch_max(since, Ordering::Relaxed);
                self.paid.fetch_add(1, Ordering::Relaxed);
            }
            entries.push(Entry {
                number,
                told,
                took,
                in_the_service,
            });
            if !keeps || (plan.churn > 0 && number.is_multiple_of(plan.churn)) {
                connection = None;
            }
        }
        entries
    }
}

/// The service's own time for an answer (`Server-Timing`).
fn own_time(answer: &Response) -> Duration {
    let timing = answer.header("server-timing");
    let total = timing.split_once("total;dur=");
    let total = total.and_then(|(_, milliseconds)| milliseconds.parse::<f64>().ok());
    Duration::from_secs_f64(total.unwrap_or_default() / 1e3)
}

/// Makes one payment; returns whether its connection may be reused, and the time in the service.
fn pay(caller: &mut Caller, number: u64, api_key: &str) -> (Told, bool, Duration) {
    let target = format!("{}?amount={}", crate::support::PAYMENT, amount(number));
    let key = key_of(number);
    let mut headers = vec![("X-API-Key", api_key)];
    headers.extend(key.as_deref().map(|key| ("Idempotency-Key", key)));
    caller.try_send(&crate::support::request("GET", &target, &headers));
    let began = Instant::now();
    let Some(answer) = caller.try_receive("GET") else {
        let told = match began.elapsed() >= PATIENCE {
            true => Told::Wrong("no answer, and no end".to_owned()),
            false => Told::Nothing,
        };
        return (told, false, Duration::ZERO);
    };
    let keeps = answer.header("connection") != "close";
    let told = match answer.status {
        200 => Told::Paid(id_of(&answer)),
        503 if answer.headers.contains_key("retry-after") => Told::Refused,
        504 if answer.json()["outcome"] == "not_sent" => Told::Refused,
        504 if answer.json()["outcome"] == "unknown" => Told::Unknown,
        status => Told::Wrong(format!("{status} {}", answer.text())),
    };
    (told, keeps, own_time(&answer))
}

/// Everything that callers were told.
pub struct Ledger {
    entries: Vec<Entry>,
    /// What callers were told when they requested a payment again.
    resolved: Vec<(u64, u128)>,
    resets: u64,
    turned_away: u64,
    most_under_way: u64,
    pub seconds: f64,
}

/// How many callers were told what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: usize,
    pub paid: usize,
    pub refused: usize,
    pub unknown: usize,
    pub nothing: usize,
    /// Of the unknown and unanswered ones, those that were requested again by their key.
    pub resolved: usize,
    /// Connections that were reset between two payments.
    pub resets: u64,
    /// Attempts to connect when nobody was listening.
    pub turned_away: u64,
    /// The highest number of payments without an answer at one time.
    pub most_under_way: u64,
}

impl Ledger {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            sent: self.entries.len(),
            resolved: self.resolved.len(),
            resets: self.resets,
            turned_away: self.turned_away,
            most_under_way: self.most_under_way,
            ..Counts::default()
        };
        for entry in &self.entries {
            match entry.told {
                Told::Paid(_) => counts.paid += 1,
                Told::Refused => counts.refused += 1,
                Told::Unknown => counts.unknown += 1,
                Told::Nothing => counts.nothing += 1,
                Told::Wrong(_) => {}
            }
        }
        counts
    }

    /// The latency that `share` of the good answers stayed below, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.quantile_of(share, |entry| entry.took)
    }

    /// The same for the time in the service.
    pub fn own_quantile_ms(&self, share: f64) -> f64 {
        self.quantile_of(share, |entry| entry.in_the_service)
    }

    fn quantile_of(&self, share: f64, time: fn(&Entry) -> Duration) -> f64 {
        let paid = |entry: &&Entry| matches!(entry.told, Told::Paid(_));
        let mut took: Vec<f64> = self
            .entries
            .iter()
            .filter(paid)
            .map(|entry| time(entry).as_secs_f64() * 1e3)
            .collect();
        took.sort_by(f64::total_cmp);
        let last = took.len().saturating_sub(1);
        took.get((share * last as f64) as usize)
            .copied()
            .unwrap_or(0.0)
    }

    /// The longest time that any caller waited for any answer, in milliseconds.
    pub fn slowest_ms(&self) -> f64 {
        let slowest = self.entries.iter().map(|entry| entry.took).max();
        slowest.unwrap_or_default().as_secs_f64() * 1e3
    }

    /// Compares with the table: no acknowledged payment is missing or has other content, none is there
    /// twice, no refused payment is there, and there was no other kind of answer.
    pub fn assert_agrees_with(&self, cluster: &Cluster) {
        let found = self.disagreements(cluster);
        assert!(
            found.is_empty(),
            "{} of them: {:#?}",
            found.len(),
            &found[..found.len().min(20)]
        );
    }

    fn disagreements(&self, cluster: &Cluster) -> Vec<String> {
        let table = cluster.psql(
            "SELECT amount_minor, transaction_id, amount_exponent, currency, status, idempotency_key FROM payments",
        );
        let mut rows = HashMap::new();
        let mut faults = Vec::new();
        for line in table.lines() {
            let (number, row) = line.split_once('|').expect("columns");
            if rows.insert(number.parse::<u64>().unwrap(), row).is_some() {
                faults.push(format!("{number} was written twice"));
            }
        }
        let content =
            |number: u64| format!("|2|EUR|approved|{}", key_of(number).unwrap_or_default());
        let row =
            |number: u64, id: u128| format!("{}{}", uuid::Uuid::from_u128(id), content(number));
        // Includes rows that no caller was told about.
        for (number, found) in &rows {
            if !found.ends_with(&content(*number)) {
                faults.push(format!("{number} was written as {found}"));
            }
        }
        for Entry { number, told, .. } in &self.entries {
            let found = rows.get(number).copied();
            match told {
                Told::Paid(id) if found != Some(&row(*number, *id)) => {
                    faults.push(format!(
                        "{number} was acknowledged as {id:x}, but the table has {found:?}"
                    ));
                }
                Told::Refused if found.is_some() => {
                    faults.push(format!("{number} was refused, and there is {found:?}"));
                }
                Told::Wrong(text) => faults.push(format!("{number} was answered with {text}")),
                _ => {}
            }
        }
        for (number, id) in &self.resolved {
            let found = rows.get(number).copied();
            if found != Some(&row(*number, *id)) {
                faults.push(format!(
                    "{number} was resolved as {id:x}, but the table has {found:?}"
                ));
            }
        }
        faults
    }
}

#[test]
fn a_ledger_notices_what_is_lost_changed_written_twice_or_written_though_refused() {
    let cluster = crate::support::database();
    let service = crate::support::Service::start(&cluster, &[]);
    let traffic = Traffic::start(Plan::new(200.0, 4, service.address));
    crate::support::eventually("payments are made", || traffic.paid() >= 20);
    let mut ledger = traffic.stop();
    ledger.assert_agrees_with(&cluster);
    let copy = "INSERT INTO payments SELECT gen_random_uuid(), NULL, request_hash, amount_minor, amount_exponent, \
         currency, region, status, processing_ms FROM payments WHERE amount_minor = 7";
    for (step, sql) in [
        "DELETE FROM payments WHERE amount_minor = 5",
        "UPDATE payments SET currency = 'USD' WHERE amount_minor = 6",
        copy,
        "UPDATE payments SET idempotency_key = 'another' WHERE amount_minor = 8",
    ]
    .iter()
    .enumerate()
    {
        cluster.psql(sql);
        let found = ledger.disagreements(&cluster);
        let about = |number: usize| {
            found
                .iter()
                .any(|text| text.starts_with(&format!("{number} was")))
        };
        assert!((5..=5 + step).all(about), "{sql}: {found:?}");
    }
    cluster.psql("UPDATE payments SET currency = 'USD' WHERE amount_minor = 11");
    for (number, told) in [
        (9, Told::Refused),
        (10, Told::Wrong("418".to_owned())),
        (11, Told::Unknown),
    ] {
        ledger.entries[number - 1].told = told;
        let found = ledger.disagreements(&cluster);
        assert!(
            found
                .iter()
                .any(|text| text.starts_with(&format!("{number} was"))),
            "{found:?}"
        );
    }
}
