//! A long time under load, with callers that come and go and random faults: nothing grows, nothing is
//! lost.

use serde_json::json;
use std::time::{Duration, Instant};

use crate::abuse::resident_kib;
use crate::faults::{end_sessions, random};
use crate::ledger::{Plan, Traffic};
use crate::proxy::Mode;
use crate::record::{asked_for, record, rounded};
use crate::stage::{Scene, Stage};

/// Memory that a longer run may add: what the allocator keeps varies by as much.
const GROWTH_MAX_KIB: u64 = 4 * 1024;

/// Faults that do not touch the process, whose memory is watched.
const FAULTS: [fn(&Stage); 6] = [
    |stage| end_sessions(stage),
    |stage| stage.proxy().reset(),
    |stage| {
        stage.proxy().set(Mode::Refuse);
        stage.proxy().cut();
        std::thread::sleep(HOLD);
        stage.proxy().set(Mode::Forward);
    },
    |stage| {
        stage.proxy().set(Mode::Delay);
        std::thread::sleep(HOLD);
        stage.proxy().set(Mode::Forward);
    },
    |stage| {
        stage.cluster.freeze();
        std::thread::sleep(HOLD);
        stage.cluster.thaw();
    },
    |stage| {
        stage.cluster.crash();
        stage.cluster.start_again();
    },
];
const RATE: f64 = 1_000.0;
const CALLERS: usize = 32;
const HOLD: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_secs(6);

#[test]
fn a_soak_with_faults_loses_nothing_and_grows_by_nothing() {
    let time = Duration::from_secs(asked_for("SOAK_SECONDS").unwrap_or(60));
    let stage = Stage::set(Scene::Network, 1, (RATE, CALLERS), Vec::new());
    let traffic = Traffic::start(Plan {
        churn: 50,
        ..stage.plan.clone()
    });
    let begun = Instant::now();
    let mut faults = 0;
    let mut samples = Vec::new();
    let mut next = random(PAUSE);
    while begun.elapsed() < time {
        if begun.elapsed() > next {
            FAULTS[faults % FAULTS.len()](&stage);
            faults += 1;
            next = begun.elapsed() + random(PAUSE);
        }
        std::thread::sleep(Duration::from_millis(250));
        let service = stage.service();
        samples.push((resident_kib(service), service.descriptors()));
    }
    traffic.recovered(Instant::now());
    let ledger = traffic.stop();
    ledger.assert_agrees_with(&stage.cluster);
    let counts = ledger.counts();
    assert_eq!(counts.nothing, 0, "every request has an answer");
    let quarter = samples.len() / 4;
    let most = |part: &[(u64, u64)]| {
        let memory = part.iter().map(|sample| sample.0).max().unwrap();
        (memory, part.iter().map(|sample| sample.1).max().unwrap())
    };
    let (early, late) = (
        most(&samples[quarter..2 * quarter]),
        most(&samples[3 * quarter..]),
    );
    let figures = json!({
        "seconds": time.as_secs(),
        "rate": RATE,
        "faults": faults,
        "sent": counts.sent,
        "paid": counts.paid,
        "refused": counts.refused,
        "unknown": counts.unknown,
        "p99_ms": rounded(ledger.quantile_ms(0.99)),
        "slowest_ms": rounded(ledger.slowest_ms()),
        "resident_kib": [early.0, late.0],
        "descriptors": [early.1, late.1],
    });
    record("soak", "soak", figures);
    assert!(
        late.0 <= early.0 + GROWTH_MAX_KIB,
        "memory grows: {samples:?}"
    );
    // One more connection is opened before an old one closes.
    assert!(late.1 <= early.1 + 8, "descriptors grow: {samples:?}");
}
