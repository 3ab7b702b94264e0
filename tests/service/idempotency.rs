//! The same key means the same payment.

use crate::postgres::{Authority, Cluster, Options, Tls, Validity};
use crate::support::{Caller, Service, TableLock, eventually, migrate, shared};

fn payments_of(cluster: &Cluster, key: &str) -> String {
    cluster.psql(&format!(
        "SELECT count(*) FROM payments WHERE idempotency_key = '{key}'"
    ))
}

#[test]
fn a_replay_repeats_the_first_answer_and_writes_nothing() {
    let service = Service::start(shared(), &[]);
    let key = [("Idempotency-Key", "replay-1")];
    let first = service.pay_with("amount=7.25&outcome=declined&processing_ms=2", &key);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    // The same parameters in another order are the same parameters.
    for query in [
        "amount=7.25&outcome=declined&processing_ms=2",
        "processing_ms=2&outcome=declined&currency=EUR&amount=7.25",
    ] {
        let again = service.pay_with(query, &key);
        assert_eq!(again.header("idempotency-replayed"), "true");
        let (mut first, mut again) = (first.json(), again.json());
        first["database_time_ms"].take();
        again["database_time_ms"].take();
        assert_eq!(again, first);
    }
    assert_eq!(payments_of(shared(), "replay-1"), "1");
    let defaults = service
        .pay_with("", &[("Idempotency-Key", "replay-2")])
        .id();
    let spelt_out = "currency=EUR&amount=100.00&outcome=approved&processing_ms=0";
    assert_eq!(
        service
            .pay_with(spelt_out, &[("Idempotency-Key", "replay-2")])
            .id(),
        defaults
    );
}

#[test]
fn a_replay_is_the_same_from_another_instance_and_after_a_restart() {
    let key = [("Idempotency-Key", "replay-elsewhere")];
    let first = Service::start(shared(), &[])
        .pay_with("amount=3", &key)
        .json();
    let named = Service::start(shared(), &[("STATEMENT_MODE", "named")]);
    let again = named.pay_with("amount=3", &key).json();
    for field in ["transaction_id", "status", "amount", "timestamp"] {
        assert_eq!(again[field], first[field]);
    }
}

#[test]
fn a_replay_waits_for_the_standby_as_the_first_answer_does() {
    let authority = Authority::new("Test Authority");
    let identity = authority.issue(&["localhost"], Validity::Current);
    let cluster = Cluster::start_with(&Options::new(Tls::On(identity)).host_rules(&[
        "local replication all trust",
        "host all all 127.0.0.1/32 scram-sha-256",
    ]));
    migrate(&cluster);
    let service = Service::start(&cluster, &[]);
    let standby = Cluster::standby_of(&cluster);
    let count = |of: &str| cluster.psql(&format!("SELECT count(*) FROM {of}"));
    eventually("the standby confirms commits", || {
        count("pg_stat_replication WHERE sync_state = 'sync'") == "1"
    });
    standby.freeze();
    // A frozen server cannot be stopped, so nothing is asserted until it is thawed.
    let waiting = "pg_stat_activity WHERE wait_event = 'SyncRep' AND query ILIKE 'insert%'";
    let results = ["pg_terminate_backend", "pg_cancel_backend"].map(|end| {
        // A payment that waits for a connection would also get 504, but leave no row.
        eventually("the pool is complete", || {
            service.metric("pool_connections{state=\"idle\"}") == 8.0
        });
        let first = std::thread::scope(|scope| {
            let first = scope.spawn(|| service.pay_with("", &[("Idempotency-Key", end)]).status);
            while count(waiting) == "0" && !first.is_finished() {}
            // From now on its row is visible, but the standby does not have it.
            cluster.psql(&format!("SELECT {end}(pid) FROM {waiting}"));
            first.join().unwrap()
        });
        let again = service.pay_with("", &[("Idempotency-Key", end)]).status;
        (end, first, again)
    });
    let seen = count("payments");
    standby.thaw();
    assert_eq!(seen, "2", "{results:?}");
    for (end, first, again) in results {
        assert_eq!((first, again), (504, 504), "{end}");
        let mut paid = None;
        eventually("the standby confirms it", || {
            let answer = service.pay_with("", &[("Idempotency-Key", end)]);
            paid = (answer.status == 200).then(|| answer.id());
            paid.is_some()
        });
        // It has the row on disk, which the commit waited for, and shows it a moment later.
        let id = format!("SELECT transaction_id FROM payments WHERE idempotency_key = '{end}'");
        eventually("the standby shows the same payment", || {
            Some(standby.psql(&id)) == paid
        });
    }
}

#[test]
fn other_parameters_under_the_same_key_are_a_conflict() {
    let service = Service::start(shared(), &[]);
    let key = [("Idempotency-Key", "conflict-1")];
    service.pay_with("amount=1", &key).id();
    for query in [
        "amount=2",
        "amount=1&currency=MXN",
        "amount=1&outcome=declined",
        "amount=1&processing_ms=1",
    ] {
        let answer = service.pay_with(query, &key);
        answer.assert_problem(422, "idempotency_key_reused", "Idempotency-Key");
    }
    assert_eq!(payments_of(shared(), "conflict-1"), "1");
}

#[test]
fn two_at_the_same_moment_are_one_payment() {
    let cluster = crate::support::database();
    let patient = [
        ("EXCHANGE_TIMEOUT_MS", "20000"),
        ("PAYMENT_DEADLINE_MS", "30000"),
    ];
    let service = Service::start(&cluster, &patient);
    let lock = TableLock::take(&cluster);
    let address = service.address;
    let callers: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(move || {
                let key = [("Idempotency-Key", "same-moment")];
                Caller::connect(address).pay("amount=9", &key).id()
            })
        })
        .collect();
    eventually("all six wait in the database", || {
        cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "6"
    });
    drop(lock);
    let ids: Vec<String> = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(payments_of(&cluster, "same-moment"), "1");
    assert_eq!(service.metric("payments_total{outcome=\"replayed\"}"), 5.0);
}
