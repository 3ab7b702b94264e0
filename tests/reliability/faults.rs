//! The faults, one row each: what breaks, how it is repaired, what callers may see meanwhile. Every
//! row runs under load; whatever happens, the ledger must agree with the table.

use serde_json::json;
use std::time::{Duration, Instant};

use crate::ledger::{Counts, Traffic};
use crate::postgres::{Authority, Cluster, PASSWORD, Validity};
use crate::proxy::Mode;
use crate::record::{asked_for, record, rounded};
use crate::stage::{HOST, Scene, Stage, run, swap};
use crate::support::{KEY, LOGIN, eventually};

/// What callers may be told besides a good answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing else: the fault is invisible, and no connection is reset or refused.
    Nothing,
    /// 503 and 504.
    Refusals,
    /// The same, and connections that end without an answer.
    Silence,
}

pub struct Fault {
    scene: Scene,
    replicas: usize,
    /// Payments a second, and connections, for a test and for a full run.
    load: [(f64, usize); 2],
    settings: &'static [(&'static str, &'static str)],
    /// Rounds in a test and in a full run.
    rounds: [u64; 2],
    /// How long it stays broken at least, in milliseconds, in a test and in a full run; up to half as
    /// much is added.
    hold_ms: [u64; 2],
    strike: fn(&mut Stage),
    mend: fn(&mut Stage),
    meanwhile: Meanwhile,
}

/// Most faults: a service of its own with a database, twenty rounds. A full run has so many payments a second that
/// at most moments one is in progress.
const USUAL: Fault = Fault {
    scene: Scene::Direct,
    replicas: 1,
    load: [(150.0, 8), (1_000.0, 32)],
    settings: &[],
    rounds: [2, 20],
    hold_ms: [100, 100],
    strike: |_| {},
    mend: |_| {},
    meanwhile: Meanwhile::Refusals,
};

/// Faults of the network between the service and its database.
const NETWORK: Fault = Fault {
    scene: Scene::Network,
    settings: IMPATIENT,
    rounds: [1, 3],
    hold_ms: [400, 1_500],
    ..USUAL
};

/// Time limits that keep a round short.
const IMPATIENT: &[(&str, &str)] = &[
    ("PAYMENT_DEADLINE_MS", "800"),
    ("EXCHANGE_TIMEOUT_MS", "250"),
    ("CONNECT_TIMEOUT_MS", "500"),
];
/// A test may run on a busy machine, where a new connection may take long; the records are made with the
/// defaults.
const PATIENT: [(&str, &str); 2] = [
    ("CHECKOUT_TIMEOUT_MS", "20000"),
    ("PAYMENT_DEADLINE_MS", "20000"),
];
const SHORT_LIVES: &[(&str, &str)] = &[("CONNECTION_LIFETIME_S", "1")];
const SHORT_DRAIN: &[(&str, &str)] = &[("DRAIN_MS", "2000")];

macro_rules! faults {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? } like $usual:expr;)*) => {
        $(#[test] fn $name() { try_fault(stringify!($name), &Fault { $($field: $value,)* ..$usual }); })*
    };
}

faults! {
    service_killed {
        strike: |stage| {
            let service = stage.services.remove(0);
            service.signal("KILL");
            service.wait();
        },
        mend: |stage| {
            let service = stage.start_service();
            stage.services.push(service);
            stage.announce();
        },
        meanwhile: Meanwhile::Silence,
    } like USUAL;

    service_replaced {
        settings: SHORT_DRAIN,
        rounds: [1, 20],
        strike: replace_all,
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    three_replicas_replaced_under_500_a_second {
        replicas: 3,
        load: [(500.0, 24); 2],
        settings: SHORT_DRAIN,
        rounds: [1, 3],
        strike: replace_all,
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    database_stopped_at_once {
        strike: |stage| stage.cluster.crash(),
        mend: |stage| stage.cluster.start_again(),
    } like USUAL;

    database_restarted {
        strike: |stage| stage.cluster.stop(),
        mend: |stage| stage.cluster.start_again(),
    } like USUAL;

    database_frozen_past_the_deadline {
        settings: IMPATIENT,
        hold_ms: [900, 900],
        strike: |stage| stage.cluster.freeze(),
        mend: |stage| stage.cluster.thaw(),
    } like USUAL;

    session_terminated {
        strike: |stage| {
            stage.cluster.psql(&format!("SELECT pg_terminate_backend(pid) FROM ({ONE_SESSION}) one"));
        },
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    session_crashed {
        strike: |stage| {
            let pid = stage.cluster.psql(ONE_SESSION);
            run("kill", &["-s", "KILL", &pid]);
        },
        mend: |stage| eventually("the server has recovered", || stage.cluster.is_up()),
    } like USUAL;

    failover_to_the_standby {
        scene: Scene::Standby,
        rounds: [1, 20],
        strike: |stage| {
            stage.standby = Some(Cluster::standby_of(&stage.cluster));
            let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            eventually("the standby confirms commits", || stage.cluster.psql(follows) == "1");
        },
        mend: |stage| {
            let standby = stage.standby.take().expect("the standby was made");
            standby.promote();
            stage.mended = Some(Instant::now());
            // The old primary keeps running, but accepts no more writes; its connections are left alone.
            stage.cluster.psql("ALTER SYSTEM SET default_transaction_read_only = on");
            stage.cluster.reload();
            stage.proxy().switch(standby.port());
            // It ends with the next fail-over.
            stage.standby = Some(std::mem::replace(&mut stage.cluster, standby));
        },
    } like USUAL;

    network_cut {
        strike: |stage| {
            stage.proxy().set(Mode::Refuse);
            stage.proxy().cut();
        },
        mend: |stage| stage.proxy().set(Mode::Forward),
    } like NETWORK;

    network_half_open {
        hold_ms: [900, 1_500],
        strike: |stage| stage.proxy().set(Mode::Swallow),
        mend: |stage| {
            // Connections that lost bytes are reset once the network is back.
            stage.proxy().reset();
            stage.proxy().set(Mode::Forward);
        },
    } like NETWORK;

    network_reset {
        strike: |stage| stage.proxy().reset(),
        meanwhile: Meanwhile::Nothing,
    } like NETWORK;

    network_slow {
        settings: &[],
        strike: |stage| stage.proxy().set(Mode::Delay),
        mend: |stage| stage.proxy().set(Mode::Forward),
        meanwhile: Meanwhile::Nothing,
    } like NETWORK;

    network_byte_at_a_time {
        settings: &[],
        strike: |stage| stage.proxy().set(Mode::Dribble),
        mend: |stage| stage.proxy().set(Mode::Forward),
        meanwhile: Meanwhile::Nothing,
    } like NETWORK;

    pooler_restarted {
        scene: Scene::Pooler,
        rounds: [1, 3],
        strike: |stage| stage.pooler().end(),
        mend: |stage| stage.pooler().begin(),
    } like USUAL;

    password_rotated_every_second {
        settings: SHORT_LIVES,
        rounds: [4, 60],
        hold_ms: [600, 600],
        strike: |stage| {
            let url = change_password(stage);
            swap(&stage.database_url, &url);
            stage.noted = opened(stage);
        },
        // In every tenth round only, since this takes longer than the other rounds may: connections opened
        // from then on use the new password, except those already being opened.
        mend: |stage| {
            if stage.rounds % 10 == 3 {
                eventually("connections are opened again", || opened(stage) > stage.noted + 2.0);
            }
        },
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    // Ten lifetimes of a connection.
    password_file_left_stale {
        settings: SHORT_LIVES,
        rounds: [1, 1],
        hold_ms: [1_500, 10_000],
        strike: |stage| {
            let url = change_password(stage);
            std::fs::write(stage.database_url.with_extension("late"), url).unwrap();
        },
        mend: |stage| {
            std::fs::rename(stage.database_url.with_extension("late"), &stage.database_url).unwrap();
            stage.service().wait_for_log("database_credentials_reloaded");
            stage.noted = opened(stage);
            eventually("connections are opened again", || opened(stage) > stage.noted + 2.0);
        },
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    // The file contains the key in use and the next one: the key before them is invalid at once.
    api_key_rotated_every_second {
        rounds: [2, 60],
        strike: |stage| {
            let (now, next) = (api_key(stage.rounds), api_key(stage.rounds + 1));
            swap(&stage.api_key, &format!("{now}\n{next}"));
            let reloads = usize::try_from(stage.rounds + 1).unwrap();
            stage.service().wait_for_logs("api_keys_reloaded", reloads);
            *stage.plan.key.lock().unwrap() = next;
            if let Some(round) = stage.rounds.checked_sub(1) {
                let former = [("X-API-Key", api_key(round))];
                let refused = stage.service().get(crate::support::PAYMENT, &former);
                assert_eq!(refused.status, 403, "the key before is no longer valid");
            }
        },
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    certificate_replaced {
        rounds: [1, 3],
        strike: |stage| {
            let authority = Authority::new("Next Authority");
            let both = stage.authority.pem().to_owned() + authority.pem();
            swap(&stage.root(), &both);
            stage.cluster.present(&authority.issue(&HOST, Validity::Current));
            stage.authority = authority;
            end_sessions(stage);
        },
        mend: |stage| {
            swap(&stage.root(), stage.authority.pem());
            end_sessions(stage);
        },
        meanwhile: Meanwhile::Nothing,
    } like USUAL;

    descriptors_used_up {
        rounds: [1, 3],
        strike: |stage| {
            let process = stage.service().id();
            limit_descriptors(process, stage.service().descriptors());
            let address = stage.service().address;
            let connect = |_| std::net::TcpStream::connect(address).unwrap();
            stage.crowd = (0..20).map(connect).collect();
            end_sessions(stage);
            // The line comes once for all rounds, since repeated lines are limited.
            stage.service().wait_for_log("accept_failed");
        },
        mend: |stage| {
            limit_descriptors(stage.service().id(), 1_024);
            stage.crowd.clear();
        },
        // A connection that is idle between two requests may be closed to make room for a newcomer.
        meanwhile: Meanwhile::Silence,
    } like USUAL;

    small_disk_full {
        scene: Scene::SmallDisk,
        rounds: [1, 3],
        hold_ms: [800, 3_000],
        strike: |stage| stage.disk().fill(),
        mend: |stage| {
            stage.disk().clear();
            if !stage.cluster.is_up() {
                stage.cluster.crash();
                stage.cluster.start_again();
            }
        },
    } like USUAL;
}

/// One with a payment in progress, if there is one.
const ONE_SESSION: &str = "SELECT pid FROM pg_stat_activity WHERE usename = 'payments_api' \
                           ORDER BY state <> 'active', random() LIMIT 1";

pub fn end_sessions(stage: &Stage) {
    stage.cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_api'",
    );
}

/// A rolling update: a new instance is ready before an old one is told to stop.
fn replace_all(stage: &mut Stage) {
    for _ in 0..stage.services.len() {
        let service = stage.start_service();
        stage.services.push(service);
        let old = stage.services.remove(0);
        old.signal("TERM");
        // The load balancer's next look at /readyz.
        eventually("the old one says that it ends", || {
            old.get("/readyz", &[]).status == 503
        });
        stage.announce();
        assert_eq!(old.wait().code(), Some(0));
    }
}

fn opened(stage: &Stage) -> f64 {
    stage.service().metric("pool_connections_opened_total")
}

/// Gives the login another password, which invalidates the old one; returns the URL with it.
fn change_password(stage: &Stage) -> String {
    let url = std::fs::read_to_string(&stage.database_url).unwrap();
    let (old, new) = match stage.rounds {
        0 => (PASSWORD.to_owned(), "password-0".to_owned()),
        round => (
            format!("password-{}", round - 1),
            format!("password-{round}"),
        ),
    };
    stage
        .cluster
        .psql(&format!("ALTER ROLE {LOGIN} PASSWORD '{new}'"));
    url.replace(&format!(":{old}@"), &format!(":{new}@"))
}

/// The key that callers have before round `round`.
fn api_key(round: u64) -> &'static str {
    match round {
        0 => KEY,
        round => format!("{round:032x}").leak(),
    }
}

fn limit_descriptors(process: u32, soft: u64) {
    run(
        "prlimit",
        &["--pid", &process.to_string(), &format!("--nofile={soft}:")],
    );
}

fn try_fault(name: &str, fault: &Fault) {
    if fault.scene == Scene::SmallDisk && !alone_with_its_mounts(name) {
        return;
    }
    let asked = asked_for("FAULT_ROUNDS");
    let full = usize::from(asked.is_some());
    // The full numbers apply to twenty rounds.
    let rounds = match asked {
        Some(asked) => (fault.rounds[1] * asked).div_ceil(20),
        None => fault.rounds[0],
    };
    let mut settings = fault.settings.to_vec();
    if full == 0 && fault.meanwhile == Meanwhile::Nothing {
        settings.extend(PATIENT);
    }
    let mut stage = Stage::set(fault.scene, fault.replicas, fault.load[full], settings);
    let traffic = Traffic::start(stage.plan.clone());
    let mut recoveries = Vec::new();
    for round in 0..rounds {
        let before = traffic.paid();
        eventually("payments are made", || traffic.paid() > before + 20);
        std::thread::sleep(random(Duration::from_millis(300)));
        stage.rounds = round;
        (fault.strike)(&mut stage);
        let hold = Duration::from_millis(fault.hold_ms[full]);
        std::thread::sleep(hold + random(hold / 2));
        (fault.mend)(&mut stage);
        let mended = stage.mended.take().unwrap_or_else(Instant::now);
        recoveries.push(traffic.recovered(mended).as_secs_f64() * 1e3);
    }
    let ledger = traffic.stop();
    ledger.assert_agrees_with(&stage.cluster);
    let counts = ledger.counts();
    assert_allowed(fault.meanwhile, &counts);
    assert!(
        full == 0 || counts.most_under_way > 1,
        "payments overlap: {counts:?}"
    );
    recoveries.sort_by(f64::total_cmp);
    let figures = json!({
        "rounds": rounds,
        "rate": fault.load[full].0,
        "sent": counts.sent,
        "paid": counts.paid,
        "refused": counts.refused,
        "unknown": counts.unknown,
        "unanswered": counts.nothing,
        "resolved": counts.resolved,
        "resets": counts.resets,
        "most_under_way": counts.most_under_way,
        "good_after_ms": [rounded(recoveries[recoveries.len() / 2]), rounded(recoveries[recoveries.len() - 1])],
        "seconds": rounded(ledger.seconds),
    });
    record("faults", name, figures);
}

fn assert_allowed(meanwhile: Meanwhile, counts: &Counts) {
    let refused = counts.refused + counts.unknown;
    match meanwhile {
        Meanwhile::Nothing => {
            assert_eq!(
                counts.paid, counts.sent,
                "all payments are made: {counts:?}"
            );
            let kept = counts.resets + counts.turned_away == 0;
            assert!(
                kept,
                "every connection is accepted and none is reset: {counts:?}"
            );
        }
        Meanwhile::Refusals => assert_eq!(
            counts.paid + refused,
            counts.sent,
            "all payments are answered: {counts:?}"
        ),
        Meanwhile::Silence => {}
    }
    assert!(counts.paid >= 20, "{counts:?}");
}

/// Runs the test `name` again in a mount namespace of its own; false if that was done here, so that
/// the caller has nothing to do. Without root nothing is done, and `make test` says so.
fn alone_with_its_mounts(name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    if std::env::var_os("ALONE_WITH_ITS_MOUNTS").is_some() {
        return true;
    }
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let test = std::env::current_exe().unwrap();
        let status = std::process::Command::new("unshare")
            .args([
                "--mount",
                "--",
                test.to_str().unwrap(),
                "--exact",
                "--nocapture",
            ])
            .arg(format!("faults::{name}"))
            .env("ALONE_WITH_ITS_MOUNTS", "1")
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{name} in its own mount namespace"
        );
    }
    false
}

/// A uniformly random part of `most`.
pub fn random(most: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = (RandomState::new().hash_one(0) >> 40) as f64 / (1_u64 << 24) as f64;
    most.mul_f64(share)
}
