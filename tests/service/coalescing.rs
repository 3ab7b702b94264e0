//! Payments that share one exchange: each still gets its own answer.

use crate::postgres::Cluster;
use crate::support::{
    Caller, KEY, PAYMENT, Service, TableLock, database, eventually, request, rows,
};
use std::time::Duration;

/// One connection, whose exchanges take their usual time, and payments that outlast the test.
const ONE_CONNECTION: [(&str, &str); 3] = [
    ("POOL_SIZE", "1"),
    ("CHECKOUT_TIMEOUT_MS", "20000"),
    ("PAYMENT_DEADLINE_MS", "29000"),
];

/// A service with one connection, which is busy until the lock is dropped.
fn blocked(cluster: &Cluster, lock: fn(&Cluster) -> TableLock) -> (Service, TableLock, Caller) {
    blocked_with(cluster, lock, "32")
}

fn blocked_with(
    cluster: &Cluster,
    lock: fn(&Cluster) -> TableLock,
    batch_max: &str,
) -> (Service, TableLock, Caller) {
    let service = Service::start(
        cluster,
        &[
            ("POOL_SIZE", "1"),
            ("BATCH_MAX", batch_max),
            ("CHECKOUT_TIMEOUT_MS", "20000"),
            ("EXCHANGE_TIMEOUT_MS", "25000"),
            ("PAYMENT_DEADLINE_MS", "29000"),
        ],
    );
    for key in ["known-1", "known-2"] {
        service
            .pay_with("amount=5", &[("Idempotency-Key", key)])
            .id();
    }
    let lock = lock(cluster);
    let busy = send(&service, "amount=1", "held");
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    (service, lock, busy)
}

fn send(service: &Service, query: &str, key: &str) -> Caller {
    let mut caller = Caller::connect(service.address);
    let target = format!("{PAYMENT}?{query}");
    let headers = [("X-API-Key", KEY), ("Idempotency-Key", key)];
    caller.send(&request("GET", &target, &headers));
    caller
}

fn wait_for(service: &Service, waiters: usize) {
    eventually("all wait", || {
        service.metric("pool_waiters") == f64::from(u32::try_from(waiters).unwrap())
    });
}

#[test]
fn a_key_that_another_session_holds_does_not_hold_the_others() {
    let cluster = database();
    // As in the regions (terraform/modules/rds).
    cluster.psql("ALTER SYSTEM SET lock_timeout = '750ms'");
    cluster.psql("SELECT pg_reload_conf()");
    let service = Service::start(&cluster, &ONE_CONNECTION);
    let _locks = ["first", "held"].map(|key| TableLock::key(&cluster, key));
    let _first = send(&service, "", "first");
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    let _held = send(&service, "", "held");
    let mut others: Vec<Caller> = (0..5)
        .map(|number| send(&service, "", &format!("{number}")))
        .collect();
    for caller in &mut others {
        caller.receive().id();
    }
}

#[test]
fn a_key_that_stays_locked_takes_nobody_along() {
    let cluster = database();
    let service = Service::start(&cluster, &ONE_CONNECTION);
    let _lock = TableLock::key(&cluster, "held");
    let _held = send(&service, "", "held");
    eventually("it was lost twice", || {
        service.metric("pool_connections_closed_total{reason=\"timeout\"}") >= 2.0
    });
    let mut others: Vec<Caller> = (0..40)
        .map(|number| {
            std::thread::sleep(Duration::from_millis(100));
            send(&service, "", &format!("{number}"))
        })
        .collect();
    for caller in &mut others {
        caller.receive().id();
    }
}

#[test]
fn replays_and_conflicts_among_new_payments_are_told_apart() {
    let cluster = database();
    let (service, lock, mut busy) = blocked(&cluster, TableLock::take);
    let known = cluster.psql("SELECT idempotency_key, transaction_id FROM payments");
    // New, repeated and conflicting payments alternate, with keys in no order. The first one carries the others; its
    // key sorts between those of the repeated and of the conflicting ones.
    let sent: Vec<(Caller, &str, String)> = (0..25)
        .map(|number| {
            let (kind, query, key) = match number % 4 {
                _ if number == 0 => ("new", "amount=7", "known-1-new".to_owned()),
                0 => ("replayed", "amount=5", "known-1".to_owned()),
                1 => ("new", "amount=7", format!("z-{}", 99 - number)),
                2 => ("conflict", "amount=6", "known-2".to_owned()),
                _ => ("new", "amount=7", format!("a-{number}")),
            };
            (send(&service, query, &key), kind, key)
        })
        .collect();
    wait_for(&service, sent.len());
    drop(lock);
    busy.receive().id();
    for (mut caller, kind, key) in sent {
        let answer = caller.receive();
        match kind {
            "conflict" => {
                answer.assert_problem(422, "idempotency_key_reused", "Idempotency-Key");
            }
            "replayed" => {
                assert_eq!(answer.header("idempotency-replayed"), "true");
                assert!(known.contains(&format!("known-1|{}", answer.id())));
            }
            _ => {
                assert_eq!(answer.header("idempotency-replayed"), "", "{key}");
                let of_key = format!(
                    "SELECT transaction_id, amount_minor FROM payments WHERE idempotency_key = '{key}'"
                );
                assert_eq!(cluster.psql(&of_key), format!("{}|700", answer.id()));
            }
        }
    }
    assert_eq!(
        service.metric("database_batch_size_bucket{le=\"16\"}") + 1.0,
        service.metric("database_batch_size_bucket{le=\"32\"}"),
        "all shared one exchange"
    );
}

#[test]
fn a_payment_that_the_database_refuses_does_not_take_the_others_along() {
    let cluster = database();
    cluster.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '23514'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON payments FOR EACH ROW \
         WHEN (NEW.amount_minor = 66600) EXECUTE FUNCTION refuse()",
    );
    let (service, lock, mut busy) = blocked(&cluster, TableLock::take);
    let sent: Vec<(Caller, bool)> = (0..12)
        .map(|number| {
            let bad = number == 5;
            let query = if bad { "amount=666" } else { "amount=8" };
            (send(&service, query, &format!("others-{number}")), bad)
        })
        .collect();
    wait_for(&service, sent.len());
    drop(lock);
    busy.receive().id();
    for (mut caller, bad) in sent {
        let answer = caller.receive();
        match bad {
            true => answer.assert_problem(500, "database_refused", ""),
            false => assert_eq!(rows(&cluster, &answer.id()), "1"),
        }
    }
    assert_eq!(
        cluster.psql("SELECT count(*) FROM payments WHERE amount_minor = 800"),
        "11"
    );
}

#[test]
fn a_lost_exchange_leaves_none_of_the_others_without_an_answer_or_with_two_rows() {
    let cluster = database();
    let (service, lock, mut busy) = blocked(&cluster, |cluster| TableLock::key(cluster, "held"));
    let sent: Vec<Caller> = (0..20)
        .map(|n| send(&service, "amount=9", &format!("lost-{n}")))
        .collect();
    wait_for(&service, sent.len());
    // The first exchange is lost, and the next connection carries all waiting payments.
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_api'";
    cluster.psql(end);
    eventually("all travel together", || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        service.metric("pool_waiters") == 0.0 && cluster.psql(waiting) == "1"
    });
    cluster.psql(end);
    drop(lock);
    busy.receive().id();
    for mut caller in sent {
        assert_eq!(rows(&cluster, &caller.receive().id()), "1");
    }
    assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "23");
}

#[test]
fn no_more_share_a_commit_than_the_setting_allows() {
    for (batch_max, largest) in [("1", 1.0), ("4", 4.0)] {
        let cluster = database();
        let (service, lock, mut busy) = blocked_with(&cluster, TableLock::take, batch_max);
        let sent: Vec<Caller> = (0..12)
            .map(|n| send(&service, "amount=3", &format!("few-{n}")))
            .collect();
        wait_for(&service, sent.len());
        drop(lock);
        busy.receive().id();
        for mut caller in sent {
            assert_eq!(rows(&cluster, &caller.receive().id()), "1");
        }
        let upto =
            |size: f64| service.metric(&format!("database_batch_size_bucket{{le=\"{size}\"}}"));
        let all = service.metric("database_batch_size_count");
        assert_eq!(upto(largest), all, "BATCH_MAX={batch_max}");
        // Two known keys, the payment that blocked the others, and then the others in full batches.
        assert_eq!(all, 3.0 + 12.0 / largest, "BATCH_MAX={batch_max}");
    }
}

#[test]
fn two_services_with_the_same_keys_in_opposite_order_do_not_deadlock() {
    let cluster = database();
    let settings = [
        ("POOL_SIZE", "2"),
        ("CHECKOUT_TIMEOUT_MS", "20000"),
        ("EXCHANGE_TIMEOUT_MS", "25000"),
        ("PAYMENT_DEADLINE_MS", "29000"),
    ];
    let services = [(); 2].map(|()| Service::start(&cluster, &settings));
    for round in 0..5 {
        let lock = TableLock::take(&cluster);
        let key = |number: usize| format!("both-{round}-{number}");
        let busy: Vec<Caller> = [0, 1, 2, 3]
            .map(|n| send(&services[n % 2], "amount=1", &format!("busy-{round}-{n}")))
            .into();
        eventually("all connections are busy", || {
            services
                .iter()
                .all(|service| service.metric("pool_connections{state=\"busy\"}") == 2.0)
        });
        let sent: Vec<[Caller; 2]> = (0..50)
            .map(|n| {
                [(0, n), (1, 49 - n)]
                    .map(|(service, n)| send(&services[service], "amount=2", &key(n)))
            })
            .collect();
        services.iter().for_each(|service| wait_for(service, 50));
        drop(lock);
        busy.into_iter().for_each(|mut caller| {
            caller.receive().id();
        });
        let mut ids = [const { Vec::new() }; 2];
        for callers in sent {
            for (mut caller, ids) in callers.into_iter().zip(&mut ids) {
                ids.push(caller.receive().id());
            }
        }
        ids[1].reverse();
        assert_eq!(ids[0], ids[1], "each key has one row, whoever wrote it");
    }
    // A deadlock costs a second exchange and nothing else, so only the server's log shows it.
    let log = cluster.log();
    assert!(!log.contains("deadlock detected"), "{log}");
}
