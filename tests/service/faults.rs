//! The database is missing, goes away, comes back or hangs.

use crate::postgres::{Cluster, OWNER, Tls};
use crate::support::{
    Caller, KEY, Load, PAYMENT, Service, assert_durable, binary, database, eventually, migrate,
    request,
};
use payment_latency_api::limits::HEALTH_FRESH_MS;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_database_that_is_down_at_start_keeps_the_service_unready_until_it_is_up() {
    let cluster = database();
    cluster.stop();
    let service = Service::start_unready(&cluster, &[("CHECKOUT_TIMEOUT_MS", "50")]);
    assert_eq!(service.get("/livez", &[]).status, 200);
    service
        .get("/readyz", &[])
        .assert_problem(503, "starting", "");
    service
        .pay("")
        .assert_problem(503, "database_unavailable", "");
    let health = service.get("/health", &[]);
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["status"], "degraded");
    assert_eq!(health.json()["database"], "disconnected");
    assert_eq!(health.header("content-type"), "application/json");
    let line = service.wait_for_log("database_connect_failed");
    assert_eq!(line["step"], "connect");
    cluster.start_again();
    service.wait_for_log("ready");
    assert_eq!(service.get("/readyz", &[]).status, 200);
    assert_eq!(service.pay("").status, 200);
}

#[test]
fn a_database_without_the_schema_keeps_the_service_unready_and_says_so() {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster);
    cluster.psql("ALTER TABLE payments RENAME COLUMN status TO state");
    let service = Service::start_unready(&cluster, &[]);
    let line = service.wait_for_log("database_connect_failed");
    assert_eq!(line["step"], "schema");
    let ready = service.get("/readyz", &[]);
    ready.assert_problem(503, "starting", "");
    assert!(ready.json()["detail"].as_str().unwrap().contains("schema"));
    cluster.psql("ALTER TABLE payments RENAME COLUMN state TO status");
    service.wait_for_log("ready");
    assert_eq!(service.pay("").status, 200);
}

#[test]
fn a_login_that_could_not_pay_keeps_the_service_unready_and_says_so() {
    let cluster = database();
    let cases = [
        (
            "REVOKE INSERT ON payments FROM payments_app",
            "schema",
            "GRANT INSERT ON payments TO payments_app",
        ),
        (
            "REVOKE SELECT ON payments FROM payments_app",
            "schema",
            "GRANT SELECT ON payments TO payments_app",
        ),
        (
            "ALTER ROLE payments_api SET synchronous_commit = off",
            "setting",
            "ALTER ROLE payments_api RESET synchronous_commit",
        ),
    ];
    for mode in ["named", "unnamed"] {
        for (spoil, step, mend) in cases {
            cluster.psql(spoil);
            let service = Service::start_unready(&cluster, &[("STATEMENT_MODE", mode)]);
            let line = service.wait_for_log("database_connect_failed");
            assert_eq!(line["step"], step, "{spoil}");
            service
                .get("/readyz", &[])
                .assert_problem(503, "starting", "");
            cluster.psql(mend);
            service.wait_for_log("ready");
            assert_eq!(service.pay("").status, 200);
        }
    }
}

/// Whoever runs the database may turn that off for sessions that are open. The connection in use is
/// validated between two payments; the other one is closed for what that found.
#[test]
fn commits_that_no_longer_wait_for_the_disk_end_all_connections() {
    let cluster = database();
    let settings = [("POOL_SIZE", "2"), ("IDLE_PROBE_INTERVAL_MS", "1500")];
    let service = Service::start(&cluster, &settings);
    cluster.psql("ALTER SYSTEM SET synchronous_commit = off");
    cluster.psql("SELECT pg_reload_conf()");
    eventually("nobody is paid", || service.pay("").status == 503);
    let line = service.wait_for_log("database_connection_lost");
    assert_eq!(line["reason"], "synchronous_commit was turned off");
    let line = service.wait_for_log("database_connect_failed");
    assert_eq!(line["step"], "setting");
    let closed = |reason| {
        let name = format!("pool_connections_closed_total{{reason=\"{reason}\"}}");
        service.metric(&name)
    };
    assert_eq!((closed("broken"), closed("expired")), (1.0, 1.0));
    cluster.psql("ALTER SYSTEM RESET synchronous_commit");
    cluster.psql("SELECT pg_reload_conf()");
    eventually("payments go on", || service.pay("").status == 200);
}

/// Seven of eight callers always wait, so the pool's one connection goes from exchange to exchange.
#[test]
fn commits_that_no_longer_wait_for_the_disk_end_a_connection_that_is_never_idle() {
    let cluster = database();
    let settings = [
        ("POOL_SIZE", "1"),
        ("BATCH_MAX", "1"),
        ("IDLE_PROBE_INTERVAL_MS", "1500"),
    ];
    let service = Service::start(&cluster, &settings);
    std::thread::scope(|threads| {
        let last_status = || {
            let (mut caller, began) = (Caller::connect(service.address), Instant::now());
            loop {
                let status = caller.pay("", &[]).status;
                if status != 200 || began.elapsed() > Duration::from_secs(30) {
                    return status;
                }
            }
        };
        let callers = [(); 8].map(|()| threads.spawn(last_status));
        cluster.psql("ALTER SYSTEM SET synchronous_commit = off");
        cluster.psql("SELECT pg_reload_conf()");
        assert_eq!(callers.map(|caller| caller.join().unwrap()), [503; 8]);
    });
    let line = service.wait_for_log("database_connection_lost");
    assert_eq!(line["reason"], "synchronous_commit was turned off");
}

/// The service's URL, with the port `front` in place of the database's.
fn url_through(cluster: &Cluster, front: u16) -> String {
    let url = cluster.url("payments_api", "verify-full");
    url.replace(&format!(":{}/", cluster.port()), &format!(":{front}/"))
}

/// Passes on what `near` and the database at `port` send each other; each answer takes `pause`.
fn pass_on(near: TcpStream, port: u16, pause: Duration) {
    let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let (mut near, mut far) = (near, far);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = far.read(&mut bytes) {
            std::thread::sleep(pause);
            if near.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
}

/// A port in front of `port`, over which every answer takes `pause`.
fn slowed(port: u16, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            pass_on(near, port, pause);
        }
    });
    front
}

#[test]
fn validations_that_take_longer_than_the_time_between_them_leave_room_for_payments() {
    let cluster = database();
    let front = slowed(cluster.port(), Duration::from_millis(150));
    let url = url_through(&cluster, front);
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("POOL_SIZE", "1"),
        ("IDLE_PROBE_INTERVAL_MS", "100"),
    ];
    let service = Service::start(&cluster, &settings);
    for _ in 0..10 {
        assert_eq!(service.pay("").status, 200);
    }
}

#[test]
fn a_health_check_that_is_refused_asks_once() {
    let cluster = database();
    let service = Service::start(&cluster, &[]);
    cluster.psql("ALTER TABLE payments RENAME TO paid");
    std::thread::sleep(Duration::from_millis(HEALTH_FRESH_MS));
    let exchanges = || service.metric("database_exchange_duration_seconds_count");
    let before = exchanges();
    assert_eq!(service.get("/health", &[]).status, 503);
    assert_eq!(exchanges() - before, 1.0);
}

/// A port in front of `port`. Once it is `armed`, the first connection that sends something is reset.
fn reset_once(port: u16, armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (armed, mut near, mut far) = (armed.clone(), near, far);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = near.read(&mut bytes) {
                    if armed.swap(false, Ordering::Relaxed) {
                        let socket = socket2::SockRef::from(&near);
                        socket.set_linger(Some(Duration::ZERO)).unwrap();
                        let _ = near.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                    far.write_all(&bytes[..count]).unwrap();
                }
            });
        }
    });
    front
}

#[test]
fn one_lost_connection_does_not_make_the_database_disconnected() {
    let cluster = database();
    let armed = Arc::new(AtomicBool::new(false));
    let front = reset_once(cluster.port(), armed.clone());
    let url = url_through(&cluster, front);
    let service = Service::start(&cluster, &[("DATABASE_URL", &url)]);
    eventually(
        "a check that loses its connection finds another one in time",
        || {
            std::thread::sleep(Duration::from_millis(HEALTH_FRESH_MS));
            armed.store(true, Ordering::Relaxed);
            let status = service.get("/health", &[]).status;
            !armed.swap(false, Ordering::Relaxed) && status == 200
        },
    );
}

/// A port in front of `port` that never answers the first connection.
fn silent_to_the_first(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let _silent = listener.accept().unwrap();
        for near in listener.incoming().map_while(Result::ok) {
            pass_on(near, port, Duration::ZERO);
        }
    });
    front
}

#[test]
fn a_connection_that_never_opens_holds_up_no_other() {
    let cluster = database();
    let front = silent_to_the_first(cluster.port());
    let url = url_through(&cluster, front);
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("CONNECT_TIMEOUT_MS", "60000"),
    ];
    let service = Service::start_unready(&cluster, &settings);
    eventually("the other seven are open", || {
        service.metric("pool_connections_opened_total") == 7.0
    });
    assert_eq!(service.pay("").status, 200);
    let ready = service.get("/readyz", &[]);
    ready.assert_problem(503, "starting", "");
}

#[test]
fn a_database_that_goes_away_loses_nothing_acknowledged_and_comes_back() {
    for end in [Cluster::stop, Cluster::crash] {
        let cluster = database();
        let service = Service::start(&cluster, &[("CHECKOUT_TIMEOUT_MS", "100")]);
        let load = Load::start(service.address, 8, || KEY.to_owned());
        eventually("payments are made", || {
            service.metric("payments_total{outcome=\"approved\"}") > 50.0
        });
        end(&cluster);
        eventually("/health says so", || {
            service.get("/health", &[]).status == 503
        });
        assert_eq!(
            service.get("/readyz", &[]).status,
            200,
            "the service stays ready"
        );
        assert_eq!(service.get("/livez", &[]).status, 200);
        service
            .pay("")
            .assert_problem(503, "database_unavailable", "");
        cluster.start_again();
        eventually("payments are made again", || service.pay("").status == 200);
        let answers = load.stop();
        for paid in &answers {
            assert!(
                [200, 503, 504].contains(&paid.status),
                "{} {}",
                paid.status,
                paid.text
            );
        }
        assert_durable(&cluster, &answers);
        assert_eq!(service.get("/health", &[]).status, 200);
    }
}

#[test]
fn ended_sessions_cost_no_caller_anything() {
    let cluster = database();
    // A handshake may take long on a busy machine.
    let settings = [
        ("CHECKOUT_TIMEOUT_MS", "20000"),
        ("PAYMENT_DEADLINE_MS", "20000"),
    ];
    let service = Service::start(&cluster, &settings);
    let load = Load::start(service.address, 8, || KEY.to_owned());
    for _ in 0..5 {
        let before = service.metric("payments_total{outcome=\"approved\"}");
        cluster.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_api'",
        );
        eventually("payments go on", || {
            service.metric("payments_total{outcome=\"approved\"}") > before + 20.0
        });
    }
    let answers = load.stop();
    let failed: Vec<&str> = answers
        .iter()
        .filter(|paid| paid.status != 200)
        .map(|paid| paid.text.as_str())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_durable(&cluster, &answers);
    let rows = cluster.psql("SELECT count(*) FROM payments");
    assert_eq!(
        rows,
        answers.len().to_string(),
        "no attempt was written twice"
    );
}

#[test]
fn an_idle_session_that_the_database_ends_is_logged_with_what_it_said() {
    let cluster = database();
    let service = Service::start(&cluster, &[("POOL_SIZE", "3")]);
    cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_api'",
    );
    for line in service.wait_for_logs("database_connection_lost", 3) {
        assert_eq!(line["sqlstate"], "57P01", "{line}");
        assert_eq!(line["reason"], "the server closed the connection", "{line}");
    }
}

/// One line a second for each kind, so only a few for 100 refusals, even though the kinds alternate.
#[test]
fn refusals_by_two_states_in_turn_are_limited_apart() {
    let cluster = database();
    cluster.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.amount_minor % 200 = 0 THEN RAISE EXCEPTION 'even' USING ERRCODE = '23514'; END IF;
           RAISE EXCEPTION 'odd' USING ERRCODE = '23502';
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let service = Service::start(&cluster, &[]);
    let began = Instant::now();
    for amount in 1..=100 {
        assert_eq!(service.pay(&format!("amount={amount}")).status, 500);
    }
    let most = 2 + 2 * usize::try_from(began.elapsed().as_secs()).unwrap();
    let lines = service.logs("database_refused");
    let states: BTreeSet<&str> = lines
        .iter()
        .map(|line| line["sqlstate"].as_str().unwrap())
        .collect();
    assert_eq!(states, BTreeSet::from(["23502", "23514"]));
    assert!(lines.len() <= most, "{} lines", lines.len());
}

#[test]
fn a_database_that_hangs_costs_one_timeout_and_nothing_twice() {
    let cluster = database();
    let settings = [
        ("EXCHANGE_TIMEOUT_MS", "2000"),
        ("PAYMENT_DEADLINE_MS", "4000"),
        ("CONNECT_TIMEOUT_MS", "300"),
    ];
    let service = Service::start(&cluster, &settings);
    let callers = 4;
    let load = Load::start(service.address, callers, || KEY.to_owned());
    eventually("payments are made", || {
        service.metric("payments_total{outcome=\"approved\"}") > 20.0
    });
    cluster.freeze();
    eventually("a payment of each caller hangs", || {
        service.metric("pool_connections{state=\"busy\"}") == callers as f64
    });
    let sent = || service.metric("database_batch_size_count");
    let before = sent();
    let mut asked = 0;
    let mut pay = || {
        asked += 1;
        service.pay("").status
    };
    eventually("all of them have timed out", || {
        service.metric("pool_connections_closed_total{reason=\"timeout\"}") >= callers as f64
    });
    eventually("callers are told", || [503, 504].contains(&pay()));
    assert_eq!(sent(), before, "no payment waits for a second time-out");
    cluster.thaw();
    eventually("payments are made again", || pay() == 200);
    let answers = load.stop();
    for paid in &answers {
        assert!(
            [200, 503, 504].contains(&paid.status),
            "{} {}",
            paid.status,
            paid.text
        );
    }
    assert_durable(&cluster, &answers);
    let rows: usize = cluster
        .psql("SELECT count(*) FROM payments")
        .parse()
        .unwrap();
    let asked = answers.len() + asked;
    assert!(rows <= asked, "{rows} rows of {asked} payments");
}

#[test]
fn after_one_timeout_no_idle_connection_is_trusted() {
    let cluster = database();
    let settings = [
        ("EXCHANGE_TIMEOUT_MS", "200"),
        ("PAYMENT_DEADLINE_MS", "1500"),
    ];
    let service = Service::start(&cluster, &settings);
    eventually("a payment is made", || service.pay("").status == 200);
    eventually("all connections are idle", || {
        service.metric("pool_connections{state=\"idle\"}") == 8.0
    });
    let sent = || service.metric("database_batch_size_count");
    let before = sent();
    cluster.freeze();
    let answer = service.pay("");
    answer.assert_problem(504, "deadline_exceeded", "");
    assert_eq!(answer.json()["outcome"], "unknown");
    assert_eq!(
        sent() - before,
        1.0,
        "the payment was sent once, although seven connections seemed to be idle"
    );
    cluster.thaw();
    eventually("payments are made again", || service.pay("").status == 200);
}

#[test]
fn a_killed_service_has_written_everything_that_it_acknowledged() {
    let cluster = database();
    let service = Service::start(&cluster, &[]);
    let load = Load::start(service.address, 8, || KEY.to_owned());
    eventually("payments are made", || {
        service.metric("payments_total{outcome=\"approved\"}") > 100.0
    });
    service.signal("KILL");
    service.wait();
    let answers = load.stop();
    assert!(answers.iter().any(|paid| paid.status == 200));
    assert_durable(&cluster, &answers);
}

#[test]
fn a_refusal_of_the_database_is_an_error_with_the_transaction() {
    let cluster = database();
    let service = Service::start(&cluster, &[]);
    cluster.psql("REVOKE INSERT ON payments FROM payments_app");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = service.pay_with("", &[("X-Request-Id", "refused-1"), ("traceparent", trace)]);
    answer.assert_problem(500, "database_refused", "");
    assert!(answer.json()["transaction_id"].is_string());
    assert!(
        !answer.text().contains("permission"),
        "PostgreSQL's message goes only to the log"
    );
    let line = service.wait_for_log("payment_failed");
    assert!(line["reason"].as_str().unwrap().contains("42501"));
    assert_eq!(line["request_id"], "refused-1");
    assert_eq!(line["traceparent"], trace);
    assert_eq!(line["transaction_id"], answer.json()["transaction_id"]);
    assert_eq!(line["status"], 500);
    assert_eq!(line["code"], "database_refused");
    cluster.psql("GRANT INSERT ON payments TO payments_app");
    assert_eq!(service.pay("").status, 200);
}

#[test]
fn a_migration_ends_at_a_signal_with_the_code_of_a_shell() {
    let cluster = database();
    let _held = cluster.hold("SELECT pg_advisory_lock(8097887115748996211)");
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut running = Command::new(binary())
            .arg("migrate")
            .env_clear()
            .env("MIGRATE_DATABASE_URL", cluster.url(OWNER, "verify-full"))
            .spawn()
            .unwrap();
        eventually("it waits for the lock", || {
            let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            cluster.psql(waits) == "1"
        });
        let id = running.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        let ended = running.wait().unwrap();
        assert_eq!(ended.code(), Some(code), "{ended}");
        // A session that waits for a lock does not notice that its client has gone.
        cluster.psql("SELECT pg_terminate_backend(pid, 30000) FROM pg_locks WHERE NOT granted");
    }
}

/// From now on, all eight connections of the pool lead to a server that accepts no writes.
fn become_a_standby(cluster: &Cluster, service: &Service) {
    cluster.psql("ALTER DATABASE payments SET default_transaction_read_only = on");
    cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_api'",
    );
    eventually("all connections are new", || {
        let metrics = service.get("/metrics", &[]);
        metrics.sample("pool_connections_opened_total") >= 16.0
            && metrics.sample("pool_connections{state=\"idle\"}") == 8.0
    });
}

#[test]
fn a_standby_is_left_for_a_server_that_takes_writes() {
    let cluster = database();
    let settings = [
        ("PAYMENT_DEADLINE_MS", "2000"),
        ("EXCHANGE_TIMEOUT_MS", "2000"),
        ("CHECKOUT_TIMEOUT_MS", "2000"),
    ];
    let service = Service::start(&cluster, &settings);
    become_a_standby(&cluster, &service);
    let left = || service.metric("pool_connections_closed_total{reason=\"server\"}");
    let before = left();
    service.pay("").assert_problem(504, "deadline_exceeded", "");
    assert!(left() > before);
    cluster.psql_in(
        "postgres",
        "ALTER DATABASE payments RESET default_transaction_read_only",
    );
    eventually("payments are made again", || service.pay("").status == 200);
}

#[test]
fn a_payment_is_repeated_until_its_deadline_and_not_a_number_of_times() {
    let cluster = database();
    let settings = [
        ("PAYMENT_DEADLINE_MS", "30000"),
        ("CHECKOUT_TIMEOUT_MS", "30000"),
    ];
    let service = Service::start(&cluster, &settings);
    become_a_standby(&cluster, &service);
    let mut caller = Caller::connect(service.address);
    caller.send(&request("GET", PAYMENT, &[("X-API-Key", KEY)]));
    eventually("it was repeated more than twenty times", || {
        service.metric("database_retries_total") > 20.0
    });
    cluster.psql_in(
        "postgres",
        "ALTER DATABASE payments RESET default_transaction_read_only",
    );
    caller.receive().id();
}
