//! An exhausted pool, and the limits on callers and connections.

use crate::postgres::Cluster;
use crate::support::{
    Caller, KEY, PATIENCE, PAYMENT, Service, TableLock, database, eventually, request, rows, shared,
};
use payment_latency_api::limits::{
    BUFFER_BYTES, BUFFERED_AMPLE_BYTES, BUFFERED_MAX_BYTES, BUFFERED_TIGHT_BYTES, HEAD_TIMEOUT_MS,
    HEALTH_FRESH_MS, HEALTH_TIMEOUT_MS, HEALTH_WAITING_MAX_COUNT, IN_FLIGHT_MAX_COUNT,
    LOG_REPEAT_INTERVAL_MS, PROCESSING_MAX_MS,
};
use std::time::{Duration, Instant};

/// Deadlines longer than the test: the tests are about what happens before them.
const PATIENT: [(&str, &str); 2] = [
    ("EXCHANGE_TIMEOUT_MS", "25000"),
    ("PAYMENT_DEADLINE_MS", "29000"),
];

/// The same, with room for all callers.
const CROWDED: [(&str, &str); 4] = [
    PATIENT[0],
    PATIENT[1],
    ("WAITERS_MAX", "65536"),
    ("CHECKOUT_TIMEOUT_MS", "28000"),
];

fn send_payment(service: &Service) -> Caller {
    send_payment_with(service, &[])
}

fn send_payment_with(service: &Service, headers: &[(&str, &str)]) -> Caller {
    let mut caller = Caller::connect(service.address);
    let headers = [&[("X-API-Key", KEY)], headers].concat();
    caller.send(&request("GET", PAYMENT, &headers));
    caller
}

/// How many waits ended without a connection, each reason by itself.
fn rejected(service: &Service) -> [f64; 5] {
    let metrics = service.get("/metrics", &[]);
    let reasons = [
        "waiters_full",
        "checkout_timeout",
        "disconnected",
        "deadline",
        "abandoned",
    ];
    reasons.map(|reason| metrics.sample(&format!("pool_rejected_total{{reason=\"{reason}\"}}")))
}

#[test]
fn a_full_queue_is_refused_at_once_and_everything_recovers() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "2"),
        ("WAITERS_MAX", "3"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let mut callers: Vec<Caller> = (0..2).map(|_| send_payment(&service)).collect();
    eventually("both connections are busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 2.0
    });
    callers.extend((0..3).map(|_| send_payment(&service)));
    eventually("three wait", || service.metric("pool_waiters") == 3.0);
    let refused = service.pay("");
    refused.assert_problem(503, "pool_exhausted", "");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(rejected(&service), [1.0, 0.0, 0.0, 0.0, 0.0]);
    drop(lock);
    for mut caller in callers {
        assert_eq!(rows(&cluster, &caller.receive().id()), "1");
    }
    assert_eq!(service.pay("").status, 200);
    assert_eq!(
        cluster.psql("SELECT count(*) FROM payments"),
        "6",
        "nothing was written for the refused payments"
    );
}

#[test]
fn with_no_connection_open_it_is_the_database_that_is_missing_also_where_the_queue_is_full() {
    let cluster = database();
    let settings = [
        ("WAITERS_MAX", "1"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
        ("PAYMENT_DEADLINE_MS", "25000"),
    ];
    let service = Service::start(&cluster, &settings);
    cluster.stop();
    eventually("no connection is open", || {
        service.metric("pool_connections{state=\"open\"}") == 0.0
    });
    let _waits = send_payment(&service);
    eventually("one waits", || service.metric("pool_waiters") == 1.0);
    let refused = service.pay("");
    refused.assert_problem(503, "database_unavailable", "");
    assert_eq!(rejected(&service), [0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_crowd_that_is_refused_is_counted_in_the_log_and_not_listed() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("WAITERS_MAX", "1"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let _lock = TableLock::take(&cluster);
    let _busy = send_payment(&service);
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    let _waits = send_payment(&service);
    eventually("one waits", || service.metric("pool_waiters") == 1.0);
    let (began, mut refused) = (Instant::now(), 0);
    let mut caller = Caller::connect(service.address);
    let lines = loop {
        let answer = caller.pay("", &[("X-Request-Id", &format!("refused-{refused}"))]);
        answer.assert_problem(503, "pool_exhausted", "");
        refused += 1;
        let lines = service.logs("payment_refused");
        if lines.len() >= 2 {
            break lines;
        }
        assert!(began.elapsed() < PATIENCE, "{lines:#?}");
    };
    assert!(began.elapsed() >= Duration::from_millis(LOG_REPEAT_INTERVAL_MS));
    assert_eq!(lines[0]["request_id"], "refused-0");
    assert_eq!(
        (&lines[0]["status"], &lines[0]["code"]),
        (&503.into(), &"pool_exhausted".into())
    );
    assert!(lines[0].get("left_out").is_none());
    // The log line may come a moment after the answer.
    let left_out = lines[1]["left_out"].as_u64().unwrap();
    assert!(
        (1..=refused - 2).contains(&left_out),
        "{left_out} of {refused}"
    );
    assert!(service.logs("payment_failed").is_empty());
}

#[test]
fn a_wait_past_the_checkout_limit_is_surely_not_written() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("CHECKOUT_TIMEOUT_MS", "100"),
    ];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let mut busy = send_payment(&service);
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    service.pay("").assert_problem(503, "pool_exhausted", "");
    assert_eq!(rejected(&service), [0.0, 1.0, 0.0, 0.0, 0.0]);
    drop(lock);
    busy.receive().id();
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "1");
}

#[test]
fn the_deadline_tells_whether_anything_was_sent() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let unknown = service.pay_with(
        "",
        &[("X-Request-Timeout-Ms", "150"), ("Idempotency-Key", "late")],
    );
    unknown.assert_problem(504, "deadline_exceeded", "");
    assert_eq!(unknown.json()["outcome"], "unknown");
    let id = unknown.json()["transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    // The first exchange continues without its caller and keeps the only connection.
    let not_sent = service.pay_with("", &[("X-Request-Timeout-Ms", "150")]);
    not_sent.assert_problem(504, "deadline_exceeded", "");
    assert_eq!(not_sent.json()["outcome"], "not_sent");
    assert_eq!(rejected(&service), [0.0, 0.0, 0.0, 1.0, 0.0]);
    let unsent = not_sent.json()["transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(lock);
    let resolved = service.pay_with("", &[("Idempotency-Key", "late")]);
    assert_eq!(resolved.id(), id, "the same key resolves it");
    assert_eq!(resolved.header("idempotency-replayed"), "true");
    assert_eq!(rows(&cluster, &unsent), "0");
    assert_eq!(
        service.metric("pool_connections_opened_total"),
        1.0,
        "the connection was kept"
    );
}

#[test]
fn a_caller_that_hangs_up_leaves_the_queue_and_nothing_is_written_for_it() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let mut busy = send_payment(&service);
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    let leaver = send_payment(&service);
    eventually("it waits", || service.metric("pool_waiters") == 1.0);
    drop(leaver);
    eventually("it has left", || service.metric("pool_waiters") == 0.0);
    assert_eq!(rejected(&service), [0.0, 0.0, 0.0, 0.0, 1.0]);
    let mut sleeper = Caller::connect(service.address);
    let slow = format!("{PAYMENT}?processing_ms=2000");
    sleeper.send(&request("GET", &slow, &[("X-API-Key", KEY)]));
    eventually("it is being processed", || {
        service.metric("payments_in_flight") == 2.0
    });
    drop(sleeper);
    eventually("its processing has ended", || {
        service.metric("payments_in_flight") == 1.0
    });
    drop(lock);
    busy.receive().id();
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "1");
}

#[test]
fn what_is_sent_when_its_caller_hangs_up_goes_on_as_if_it_had_stayed() {
    let cluster = database();
    let settings = [PATIENT[0], PATIENT[1], ("POOL_SIZE", "1")];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let leaver = send_payment_with(&service, &[("Idempotency-Key", "left")]);
    eventually("it is being written", || {
        cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1"
    });
    drop(leaver);
    // The service sees connections end in order.
    service.get("/livez", &[]);
    drop(lock);
    eventually("it is written, and counted", || {
        service.metric("payments_total{outcome=\"approved\"}") == 1.0
    });
    let key = [("Idempotency-Key", "left")];
    let again = service.pay_with("", &key);
    assert_eq!(rows(&cluster, &again.id()), "1");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        service.metric("pool_connections_opened_total"),
        1.0,
        "the connection was kept"
    );
}

#[test]
fn a_caller_does_not_lengthen_the_deadline() {
    let cluster = database();
    let service = Service::start(&cluster, &[("PAYMENT_DEADLINE_MS", "500")]);
    let _lock = TableLock::take(&cluster);
    let began = Instant::now();
    let answer = service.pay_with("", &[("X-Request-Timeout-Ms", "60000")]);
    answer.assert_problem(504, "deadline_exceeded", "");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn simulated_processing_holds_no_connection_and_is_outside_the_deadline() {
    const PROCESSING: Duration = Duration::from_millis(PROCESSING_MAX_MS);
    let service = Service::start(
        shared(),
        &[
            ("POOL_SIZE", "1"),
            ("PAYMENT_DEADLINE_MS", "1900"),
            ("EXCHANGE_TIMEOUT_MS", "1900"),
            ("CHECKOUT_TIMEOUT_MS", "1900"),
        ],
    );
    eventually("another one pays while all are being processed", || {
        let began = Instant::now();
        let mut slow: Vec<Caller> = (0..8)
            .map(|_| {
                let mut caller = Caller::connect(service.address);
                let target = format!("{PAYMENT}?processing_ms={PROCESSING_MAX_MS}");
                caller.send(&request("GET", &target, &[("X-API-Key", KEY)]));
                caller
            })
            .collect();
        eventually("all are being processed", || {
            service.metric("payments_in_flight") == 8.0 || began.elapsed() >= PROCESSING
        });
        let idle = service.metric("pool_connections{state=\"idle\"}");
        let status = service.pay("").status;
        let meanwhile = began.elapsed() < PROCESSING;
        assert!(
            !meanwhile || (idle, status) == (1.0, 200),
            "{idle} {status}"
        );
        for caller in &mut slow {
            let took = &caller.receive().json()["processing_time_ms"];
            assert_eq!(*took, PROCESSING_MAX_MS);
        }
        meanwhile
    });
}

#[test]
fn a_newcomer_takes_the_place_of_the_oldest_idle_connection() {
    let service = Service::start(shared(), &[("MAX_CONNECTIONS", "3")]);
    let mut callers: Vec<Caller> = (0..3).map(|_| Caller::connect(service.address)).collect();
    for caller in &mut callers {
        assert_eq!(caller.get("/livez", &[]).status, 200);
    }
    let mut newcomer = Caller::connect(service.address);
    assert_eq!(newcomer.get("/livez", &[]).status, 200);
    assert!(callers.remove(0).is_closed());
    for caller in &mut callers {
        assert_eq!(caller.get("/livez", &[]).status, 200);
    }
}

#[test]
fn callers_that_send_slowly_do_not_keep_others_out() {
    let service = Service::start(shared(), &[("MAX_CONNECTIONS", "3")]);
    let mut slow: Vec<Caller> = (0..3).map(|_| Caller::connect(service.address)).collect();
    for caller in &mut slow {
        caller.send(b"GET /livez HTTP/1.1\r\nHost:");
    }
    eventually("a newcomer is served", || {
        let mut newcomer = Caller::connect(service.address);
        newcomer.get("/livez", &[]).status == 200
    });
    assert!(slow.remove(0).is_closed(), "the slowest made room");
}

/// An incomplete head, for which a buffer must grow to eight times its initial size.
fn large_head() -> Vec<u8> {
    let target = format!("/{}", "a".repeat(7_000));
    format!("GET {target} HTTP/1.1\r\nX-Fill: {}", "b".repeat(10_000)).into_bytes()
}

/// How many large heads take up `bytes`.
fn large_heads_in(bytes: usize) -> usize {
    bytes / (8 * BUFFER_BYTES)
}

/// `count` callers that have sent `bytes` each: all of it is read, unless the time of their heads
/// is over.
fn crowd(service: &Service, count: usize, bytes: &[u8]) -> Vec<Caller> {
    let mut crowd: Vec<Caller> = (0..count)
        .map(|_| Caller::connect(service.address))
        .collect();
    crowd.iter_mut().for_each(|caller| caller.try_send(bytes));
    let mut before = 0.0;
    let over = Instant::now() + Duration::from_millis(HEAD_TIMEOUT_MS);
    eventually("what they have sent is read", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = service.metric("http_buffered_bytes");
        let change = now - std::mem::replace(&mut before, now);
        // Each scrape takes two buffers, and so the place of two callers when they are tight.
        let is_read =
            change.abs() <= 2.0 * BUFFER_BYTES as f64 && now >= (count * BUFFER_BYTES) as f64;
        is_read || Instant::now() >= over
    });
    crowd
}

#[test]
fn large_heads_that_are_never_complete_leave_room_for_payments() {
    let service = Service::start(shared(), &[]);
    let count = large_heads_in(BUFFERED_MAX_BYTES) * 3 / 2;
    eventually("payments are made while the crowd sends", || {
        let began = Instant::now();
        let _crowd = crowd(&service, count, &large_head());
        for _ in 0..20 {
            assert_eq!(service.pay("").status, 200);
        }
        began.elapsed() < Duration::from_millis(HEAD_TIMEOUT_MS)
    });
    assert_eq!(
        service.metric("http_refused_total{reason=\"buffers_exhausted\"}"),
        0.0
    );
}

#[test]
fn while_buffers_are_tight_who_sends_nothing_takes_none_from_others() {
    let service = Service::start(shared(), &[]);
    let ended = || service.metric("http_refused_total{reason=\"head_timeout\"}");
    eventually("a crowd whose time is not over meanwhile", || {
        let began = Instant::now();
        // Those that came first are ended first, which frees little: the buffers stay tight.
        let count = 600;
        let _small = crowd(&service, count, b"GET");
        let rest = BUFFERED_TIGHT_BYTES - count * BUFFER_BYTES;
        let _large = crowd(&service, large_heads_in(rest) + 40, &large_head());
        let before = ended();
        let silent: Vec<Caller> = (0..100).map(|_| Caller::connect(service.address)).collect();
        let with_silent = ended();
        drop(silent);
        let after = ended();
        let in_time = began.elapsed() < Duration::from_millis(HEAD_TIMEOUT_MS);
        let most = (with_silent - before).max(after - with_silent);
        let is_tight = service.metric("http_buffered_bytes") > BUFFERED_TIGHT_BYTES as f64;
        assert!(
            !in_time || is_tight && most <= 10.0,
            "{before} {with_silent} {after}"
        );
        in_time
    });
}

#[test]
fn beyond_all_connections_the_newcomer_is_told() {
    let cluster = database();
    let service = Service::start(
        &cluster,
        &[("MAX_CONNECTIONS", "2"), PATIENT[0], PATIENT[1]],
    );
    let lock = TableLock::take(&cluster);
    let mut busy: Vec<Caller> = (0..2).map(|_| send_payment(&service)).collect();
    eventually("both are being written", || {
        cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "2"
    });
    for request in [Vec::new(), request("GET", "/livez", &[])] {
        let mut newcomer = Caller::connect(service.address);
        newcomer.send(&request);
        newcomer
            .receive()
            .assert_problem(503, "too_many_connections", "");
        assert!(newcomer.is_closed());
    }
    drop(lock);
    for caller in &mut busy {
        caller.receive().id();
    }
}

#[test]
fn payments_in_flight_leave_room_for_the_requests_of_others() {
    in_flight_with(&[], IN_FLIGHT_MAX_COUNT, &[]);
}

#[test]
fn of_few_connections_payments_in_flight_leave_some_to_others() {
    in_flight_with(&[("MAX_CONNECTIONS", "8")], 7, &[]);
}

#[test]
fn payments_in_flight_do_not_keep_the_room_that_their_large_heads_took() {
    let padding = [("X-Padding", &*"x".repeat(15_000))];
    in_flight_with(&[], IN_FLIGHT_MAX_COUNT, &padding);
}

#[test]
fn what_is_sent_ahead_of_a_large_head_is_answered_as_long_as_there_is_room() {
    let cluster = database();
    let service = Service::start(&cluster, &PATIENT);
    let mut caller = Caller::connect(service.address);
    let lock = TableLock::take(&cluster);
    caller.send(&large_payment().repeat(3));
    eventually("one is in flight", || {
        service.metric("payments_in_flight") == 1.0
    });
    drop(lock);
    for _ in 0..3 {
        caller.receive().id();
    }
}

#[test]
fn what_is_sent_ahead_of_a_large_head_is_refused_when_many_payments_wait() {
    let cluster = database();
    let service = Service::start(&cluster, &CROWDED);
    let lock = TableLock::take(&cluster);
    let usual = BUFFERED_AMPLE_BYTES / (2 * BUFFER_BYTES) + 1;
    let mut waiting: Vec<Caller> = (0..usual).map(|_| send_payment(&service)).collect();
    eventually("all of them are in flight", || {
        service.metric("payments_in_flight") == usual as f64
    });
    let mut caller = Caller::connect(service.address);
    caller.send(&large_payment().repeat(3));
    caller
        .receive()
        .assert_problem(503, "buffers_exhausted", "");
    assert!(caller.is_closed());
    let mut caller = Caller::connect(service.address);
    caller.send(&large("HEAD", "/health").repeat(3));
    assert_eq!(caller.receive_for("HEAD").status, 503);
    assert!(caller.is_closed(), "and there is no body");
    drop(lock);
    for caller in &mut waiting {
        caller.receive().id();
    }
    let written = cluster.psql("SELECT count(*) FROM payments");
    assert_eq!(
        written,
        usual.to_string(),
        "nothing of the refused one was written"
    );
}

fn large_payment() -> Vec<u8> {
    large("GET", PAYMENT)
}

/// A request whose head, with the bytes received after it when its end is found, exceeds a buffer of the usual size.
fn large(method: &str, path: &str) -> Vec<u8> {
    let padding = "x".repeat(11_500);
    let headers = [("X-API-Key", KEY), ("X-Padding", &padding)];
    request(method, path, &headers)
}

/// As many payments as may be in flight (`most` with these settings), each with these header fields, beside others.
fn in_flight_with(settings: &[(&str, &str)], most: usize, headers: &[(&str, &str)]) {
    let cluster = database();
    let service = Service::start(&cluster, &[&CROWDED[..], settings].concat());
    let lock = TableLock::take(&cluster);
    let mut waiting: Vec<Caller> = (0..most)
        .map(|_| send_payment_with(&service, headers))
        .collect();
    eventually("all of them are in flight", || {
        service.metric("payments_in_flight") == most as f64
    });
    send_payment(&service)
        .receive()
        .assert_problem(503, "too_many_in_flight", "");
    assert_eq!(service.get("/livez", &[]).status, 200);
    drop(lock);
    for caller in &mut waiting {
        caller.receive().id();
    }
}

#[test]
fn while_no_exchange_is_answered_connections_are_opened_one_at_a_time() {
    let cluster = database();
    let settings = [
        ("POOL_SIZE", "4"),
        ("EXCHANGE_TIMEOUT_MS", "500"),
        ("PAYMENT_DEADLINE_MS", "29000"),
        ("CHECKOUT_TIMEOUT_MS", "28000"),
    ];
    let service = Service::start(&cluster, &settings);
    let standby = |names: &str| {
        cluster.psql(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{names}'"
        ));
        cluster.psql("SELECT pg_reload_conf()");
    };
    std::thread::scope(|scope| {
        // From now on commits wait for its confirmation; this first one shows when.
        standby("lost");
        scope.spawn(|| cluster.psql("CREATE TABLE waits ()"));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("commits wait", || cluster.psql(waiting) == "1");
        let mut callers: Vec<Caller> = (0..8).map(|_| send_payment(&service)).collect();
        eventually("more were opened", || {
            // Queries the database, which still answers everything except commits.
            service.get("/health", &[]);
            let metrics = service.get("/metrics", &[]);
            let opened = metrics.sample("pool_connections_opened_total");
            let open = metrics.sample("pool_connections{state=\"open\"}");
            assert!(opened <= 4.0 || open <= 1.0, "{open} of {opened}");
            opened >= 8.0
        });
        standby("");
        for caller in &mut callers {
            caller.receive().id();
        }
    });
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "8");
    eventually("the pool is whole again", || {
        service.metric("pool_connections{state=\"open\"}") == 4.0
    });
}

#[test]
fn a_health_check_has_its_own_time_beside_an_earlier_one() {
    let cluster = database();
    let service = Service::start(&cluster, &[PATIENT[0], PATIENT[1], ("POOL_SIZE", "1")]);
    let ask = || {
        let mut caller = Caller::connect(service.address);
        caller.send(&request("GET", "/health", &[]));
        caller
    };
    eventually("the second had time left when the first had none", || {
        let lock = TableLock::take(&cluster);
        let mut busy = send_payment(&service);
        std::thread::sleep(Duration::from_millis(HEALTH_FRESH_MS));
        let mut first = ask();
        std::thread::sleep(Duration::from_millis(HEALTH_TIMEOUT_MS * 3 / 4));
        let (began, mut second) = (Instant::now(), ask());
        assert_eq!(first.receive().status, 503);
        drop(lock);
        busy.receive().id();
        let status = second.receive().status;
        // On a busy machine, its time may also have run out.
        assert!(status == 200 || began.elapsed() >= Duration::from_millis(HEALTH_TIMEOUT_MS));
        status == 200
    });
}

#[test]
fn health_checks_that_wait_are_bounded() {
    let cluster = database();
    let settings = [PATIENT[0], PATIENT[1], ("POOL_SIZE", "1")];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let mut busy = send_payment(&service);
    std::thread::sleep(Duration::from_millis(HEALTH_FRESH_MS));
    let (of_one, bound) = ((2 * BUFFER_BYTES) as f64, HEALTH_WAITING_MAX_COUNT as f64);
    eventually("as many wait as may", || {
        let mut callers: Vec<Caller> = (0..HEALTH_WAITING_MAX_COUNT + 100)
            .map(|_| Caller::connect(service.address))
            .collect();
        for caller in &mut callers {
            caller.send(&request("GET", "/health", &[]));
        }
        let most = (0..100)
            .map(|_| service.metric("http_buffered_bytes") / of_one)
            .fold(0.0, f64::max);
        for caller in &mut callers {
            assert_eq!(caller.receive().status, 503);
        }
        assert!(most <= bound + 10.0, "{most}");
        most >= bound
    });
    drop(lock);
    busy.receive().id();
}

#[test]
fn connections_are_replaced_for_their_age_without_a_gap() {
    let service = Service::start(
        shared(),
        &[("POOL_SIZE", "2"), ("CONNECTION_LIFETIME_S", "1")],
    );
    eventually("each was replaced twice", || {
        assert_eq!(service.pay("").status, 200);
        assert!(
            service.metric("pool_connections{state=\"open\"}") >= 2.0,
            "opened before the old one closes"
        );
        std::thread::sleep(Duration::from_millis(20));
        service.metric("pool_connections_closed_total{reason=\"expired\"}") >= 4.0
    });
    assert_eq!(
        service.metric("pool_connections_closed_total{reason=\"broken\"}"),
        0.0
    );
}

#[test]
fn one_payment_after_another_goes_over_the_same_connection() {
    let cluster = database();
    let settings = [
        ("POOL_SIZE", "3"),
        ("IDLE_PROBE_INTERVAL_MS", "300000"),
        // A slow disk must not cause a switch to another connection.
        ("PAYMENT_DEADLINE_MS", "30000"),
        ("EXCHANGE_TIMEOUT_MS", "29000"),
    ];
    let service = Service::start(&cluster, &settings);
    let mut caller = Caller::connect(service.address);
    assert_eq!(caller.pay("", &[]).status, 200);
    let began = cluster.psql("SELECT clock_timestamp()");
    for _ in 0..10 {
        assert_eq!(caller.pay("", &[]).status, 200);
    }
    let used = cluster.psql(&format!(
        "SELECT count(*) FILTER (WHERE state_change > '{began}'), count(*) FROM pg_stat_activity
         WHERE usename = 'payments_api'"
    ));
    assert_eq!(used, "1|3");
}

#[test]
fn idle_connections_are_kept_alive_and_validated() {
    let cluster = database();
    let service = Service::start(
        &cluster,
        &[("POOL_SIZE", "2"), ("IDLE_PROBE_INTERVAL_MS", "100")],
    );
    let used = || {
        let rows = cluster.psql(
            "SELECT pid, state_change FROM pg_stat_activity WHERE usename = 'payments_api' ORDER BY pid",
        );
        rows.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = used();
    assert_eq!(before.len(), 2, "{before:?}");
    eventually("both were validated", || {
        let now = used();
        now.len() == 2 && now.iter().all(|line| !before.contains(line))
    });
    assert_eq!(service.metric("pool_connections{state=\"open\"}"), 2.0);
}

#[test]
fn health_checks_take_one_place_in_the_queue_however_many_there_are() {
    let cluster = database();
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("WAITERS_MAX", "2"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let lock = TableLock::take(&cluster);
    let mut busy = send_payment(&service);
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    // An answer from the database is valid for a second.
    std::thread::sleep(Duration::from_millis(1_100));
    let mut checks: Vec<Caller> = Vec::new();
    eventually("one of them waits", || {
        // New ones each time, since a check waits only for a moment.
        checks.extend((0..6).map(|_| Caller::connect(service.address)));
        for caller in checks.iter_mut().rev().take(6) {
            caller.send(&request("GET", "/health", &[]));
        }
        service.metric("pool_waiters") == 1.0
    });
    let mut waiting = send_payment(&service);
    for caller in &mut checks {
        assert_eq!(caller.receive().status, 503);
    }
    drop(lock);
    busy.receive().id();
    waiting.receive().id();
}

/// A service with one connection, which is busy with the first payment. The second payment and the
/// third, which has these headers, are sent together once the first lock is released, and are written
/// once the second lock is. The time is from before both.
fn second_and_third_together(
    cluster: &Cluster,
    third: &[(&str, &str)],
) -> (Service, [TableLock; 2], [Caller; 3], Instant) {
    let settings = [
        PATIENT[0],
        PATIENT[1],
        ("POOL_SIZE", "1"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
    ];
    let service = Service::start(cluster, &settings);
    let locks = ["first", "second"].map(|key| TableLock::key(cluster, key));
    let keyed = |key| send_payment_with(&service, &[("Idempotency-Key", key)]);
    let first = keyed("first");
    eventually("the connection is in use", || {
        service.metric("pool_connections{state=\"idle\"}") == 0.0
    });
    let began = Instant::now();
    let second = keyed("second");
    eventually("one waits", || service.metric("pool_waiters") == 1.0);
    let third = send_payment_with(&service, third);
    eventually("two wait", || service.metric("pool_waiters") == 2.0);
    (service, locks, [first, second, third], began)
}

#[test]
fn a_wait_counts_also_when_the_exchange_outlasts_the_deadline() {
    let cluster = database();
    let limit = [("X-Request-Timeout-Ms", "3000")];
    let (service, [first, second], callers, _) = second_and_third_together(&cluster, &limit);
    let [mut one, mut two, mut three] = callers;
    drop(first);
    let late = three.receive();
    late.assert_problem(504, "deadline_exceeded", "");
    assert_eq!(late.json()["outcome"], "unknown");
    let waits = service.metric("pool_checkout_duration_seconds_count");
    assert_eq!(waits, 2.0, "one got the connection, one a place");
    drop(second);
    one.receive().id();
    two.receive().id();
}

#[test]
fn a_wait_ends_where_the_exchange_begins_also_when_coalesced() {
    let cluster = database();
    let (service, [first, second], mut callers, began) = second_and_third_together(&cluster, &[]);
    std::thread::sleep(Duration::from_millis(500));
    drop(first);
    eventually("both are under way", || {
        service.metric("pool_waiters") == 0.0
    });
    let most = 2.0 * began.elapsed().as_secs_f64();
    // The exchange that carries both takes much longer than the one that they waited for.
    std::thread::sleep(Duration::from_secs(2));
    drop(second);
    for caller in &mut callers {
        caller.receive().id();
    }
    assert_eq!(
        service.metric("pool_checkout_duration_seconds_count"),
        2.0,
        "one got the connection, one a place"
    );
    let waits = service.metric("pool_checkout_duration_seconds_sum");
    assert!(
        (1.0..most).contains(&waits),
        "{waits} s for two that waited half a second each, at most {most} s"
    );
}

#[test]
fn a_payment_whose_answer_is_not_taken_is_no_longer_in_flight() {
    const REFUSED: usize = 1_000;
    let cluster = database();
    let settings = [("POOL_SIZE", "1"), ("WAITERS_MAX", "0")];
    let service = Service::start(&cluster, &[&PATIENT[..], &settings].concat());
    let lock = TableLock::take(&cluster);
    let mut busy = send_payment(&service);
    eventually("the connection is busy", || {
        service.metric("payments_in_flight") == 1.0
    });
    // A caller that reads nothing.
    let mut greedy = Caller::connect(service.address);
    greedy.send(&request("GET", PAYMENT, &[("X-API-Key", KEY)]).repeat(REFUSED));
    let mut before = 0.0;
    eventually("no answer is taken any more", || {
        std::thread::sleep(Duration::from_millis(200));
        let refused = rejected(&service)[0];
        let stands = refused == before && refused > 0.0;
        before = refused;
        stands
    });
    assert!(before < REFUSED as f64, "{before}");
    assert_eq!(service.metric("payments_in_flight"), 1.0);
    drop(lock);
    busy.receive().id();
}
