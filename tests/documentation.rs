//! docs/APPLICATION.md names everything that callers and operators can meet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

use payment_latency_api::http::Refusal;
use payment_latency_api::http::problem::Code;
use payment_latency_api::limits;
use payment_latency_api::metrics::{Build, Metrics};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/APPLICATION.md");

/// The rows of the tables with the header `head`, each as its cells.
fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let mut found = Vec::new();
    for part in DOCUMENT.split(&format!("{head}\n")).skip(1) {
        let table = part
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        found.extend(table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()));
    }
    assert!(found.len() > 5, "the tables {head} were not found");
    found
}

/// Lower-case names between backticks.
fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let name = |text: &&str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    quoted.filter(name).map(str::to_owned).collect()
}

/// The names in one column of the tables with the header `head`.
fn column(head: &str, index: usize) -> BTreeSet<String> {
    let cells = rows(head)
        .into_iter()
        .map(|row| names(row.get(index).copied().unwrap_or_default()));
    cells.flatten().collect()
}

fn assert_same(code: BTreeSet<String>, document: BTreeSet<String>, what: &str) {
    let lacks: Vec<_> = code.difference(&document).collect();
    let left: Vec<_> = document.difference(&code).collect();
    assert!(
        lacks.is_empty() && left.is_empty(),
        "docs/APPLICATION.md: {what}: missing {lacks:?}, no longer in the code {left:?}"
    );
}

/// Words in quotation marks that follow `prefix` somewhere in a source file.
fn words_behind(prefix: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let found = code
                    .split(prefix)
                    .skip(1)
                    .filter_map(|rest| rest.trim_start().strip_prefix('"'));
                words.extend(found.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    words
}

/// The first scrape of a service that has done nothing yet.
fn first_scrape() -> String {
    let metrics = Metrics::new(Build::default());
    let mut text = Vec::new();
    metrics.write_text(&mut text);
    String::from_utf8(text).unwrap()
}

const METRICS: &str = "| Metric | Type | Labels | Meaning |";

#[test]
fn the_metrics_are_those_of_the_document() {
    let text = first_scrape();
    let types: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let code = types.keys().map(|&name| name.to_owned()).collect();
    assert_same(code, column(METRICS, 0), "metrics");
    for row in rows(METRICS) {
        for name in names(row[0]) {
            let kind = types[name.as_str()];
            assert!(row[1].is_empty() || row[1] == kind, "{name} is a {kind}");
        }
    }
}

/// Labels whose values the code defines, and that exist from the start.
#[test]
fn the_values_of_labels_are_those_of_the_document() {
    let text = first_scrape();
    let mut labelled = 0;
    for row in rows(METRICS) {
        let label = row[2].trim_matches('`');
        if !["reason", "step", "state", "outcome", "secret"].contains(&label) {
            continue;
        }
        labelled += 1;
        let metric = row[0].trim_matches('`');
        let values = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix(metric)?
                    .strip_prefix(&format!("{{{label}=\""))
            })
            .map(|rest| rest.split('"').next().unwrap().to_owned());
        assert_same(values.collect(), names(row[3]), metric);
    }
    assert!(labelled >= 8, "{labelled}");
}

const ERRORS: &str = "| Code | Status | Cause |";

#[test]
fn errors_and_refusals_are_those_of_the_document_with_their_statuses() {
    let problems = Code::ALL.map(|code| (code.as_str(), code.status()));
    let refusals = Refusal::ALL.map(|refusal| (refusal.code(), refusal.status()));
    let known: BTreeMap<_, _> = problems.into_iter().chain(refusals).collect();
    let codes = || known.keys().map(|&name| name.to_owned()).collect();
    assert_same(codes(), column(ERRORS, 0), "errors");
    let openapi = include_str!("../docs/openapi.yaml");
    let examples = openapi
        .lines()
        .filter_map(|line| line.strip_prefix("            - urn:payment-latency-api:problem:"));
    assert_same(codes(), examples.map(str::to_owned).collect(), "openapi");
    for row in rows(ERRORS) {
        for name in names(row[0]) {
            assert_eq!(row[1], known[name.as_str()].code().to_string(), "{name}");
        }
    }
}

const EVENTS: &str = "| Event | Fields | When |";

#[test]
fn the_events_of_the_log_and_their_fields_are_those_of_the_document() {
    let writers = ["log::info(", "log::warn(", "log::error(", ".warn("];
    let events = writers.into_iter().flat_map(words_behind).collect();
    assert_same(events, column(EVENTS, 0), "events");
    let mut fields: BTreeSet<_> = words_behind(".field(").into_iter().collect();
    // Every line has these, as the sentence before the table says.
    for name in ["timestamp", "level", "event"] {
        assert!(fields.remove(name));
    }
    assert_same(fields, column(EVENTS, 1), "fields of the log");
}

/// Internal bounds, which nobody outside can meet.
const INTERNAL: [&str; 22] = [
    "SCRAM_NONCE_BYTES",
    "CONNECTOR_NICENESS",
    "BATCH_MAX_COUNT",
    "HEAD_MAX_BYTES",
    "BUFFER_BYTES",
    "PIPELINE_FLUSH_BYTES",
    "PIPELINE_TURN_COUNT",
    "RECEIVE_BUFFER_BYTES",
    "SEND_BUFFER_BYTES",
    "SPARE_BUFFERS_MAX_COUNT",
    "ACCEPT_PAUSE_MS",
    "SWEEP_GAP_MAX_MS",
    "LAG_INTERVAL_MS",
    "SWEEP_INTERVAL_MS",
    "MAINTENANCE_INTERVAL_MS",
    "PG_BUFFER_BYTES",
    "PRUNE_CLOCK_MARGIN_S",
    "PRUNE_PAUSE_FACTOR",
    "TLS_RECORD_MAX_BYTES",
    "TLS_INCOMING_MAX_BYTES",
    "USUAL_HEADERS_COUNT",
    "REFUSALS_APART_COUNT",
];

macro_rules! values {
    ($($name:ident)+) => { [$((stringify!($name), limits::$name.to_string())),+] };
}

/// The documented bounds, in the order of their rows.
fn bounds() -> impl Iterator<Item = (&'static str, String)> {
    values![
        TARGET_MAX_BYTES METHOD_MAX_BYTES HEADERS_MAX_COUNT HEADERS_MAX_BYTES LEADING_CRLF_MAX_COUNT
        BODY_MAX_BYTES CHUNK_LINE_MAX_BYTES CHUNK_LINES_MAX_BYTES TRAILERS_MAX_BYTES HEAD_TIMEOUT_MS BODY_TIMEOUT_MS
        PARK_AFTER_MS KEEP_ALIVE_MS WRITE_TIMEOUT_MS SLOW_AFTER_MS LINGER_MS LINGER_MAX_BYTES
        BUFFERED_MAX_BYTES BUFFERED_AMPLE_BYTES BUFFERED_TIGHT_BYTES
        REQUEST_ID_MAX_BYTES IDEMPOTENCY_KEY_MAX_BYTES API_KEY_MIN_BYTES API_KEY_MAX_BYTES
        API_KEYS_MAX_COUNT AMOUNT_MAX_DIGITS PARAMETER_MAX_BYTES PROCESSING_MAX_MS
        IN_FLIGHT_MAX_COUNT OTHERS_MAX_COUNT HEALTH_WAITING_MAX_COUNT RETRY_AFTER_S RETRY_SPREAD_MS RETRY_PAUSE_MIN_MS
        RETRY_PAUSE_MAX_MS CONNECTION_LIFETIME_MAX_S LIFETIME_JITTER_PERCENT CONNECT_ADDRESS_TIMEOUT_MS
        OPENING_MAX_COUNT RECONNECT_BACKOFF_MIN_MS RECONNECT_BACKOFF_MAX_MS TCP_USER_TIMEOUT_MS PG_MESSAGE_MAX_BYTES
        PG_REFUSAL_MAX_BYTES SCRAM_ITERATIONS_MAX_COUNT
        OWNER_KEEPALIVE_MS MIGRATE_LOCK_TIMEOUT_MS MIGRATE_STATEMENT_LOCK_TIMEOUT_MS MIGRATE_RETRY_PAUSE_MS
        MIGRATE_STATEMENT_TIMEOUT_MS
        PRUNE_PAUSE_MAX_MS PRUNE_LOCK_TIMEOUT_MS PRUNE_STATEMENT_TIMEOUT_MS
        HEALTH_FRESH_MS HEALTH_TIMEOUT_MS PROCESS_FRESH_MS
        ROOT_CERT_FILE_MAX_BYTES SECRET_FILE_MAX_BYTES
        SECRET_POLL_INTERVAL_MS DEPLOYMENT_NAME_MAX_BYTES APPLICATION_NAME_MAX_BYTES HOST_MAX_BYTES
        FINISH_MARGIN_MS LOG_QUEUE_COUNT LOG_FLUSH_TIMEOUT_MS LOG_REPEAT_INTERVAL_MS
        RESERVED_DESCRIPTORS_COUNT PROBE_RATE_MAX PROBE_RATE_MIN PROBE_REQUESTS_MAX PROBE_BODY_MAX_BYTES
        PROBE_LINE_MAX_BYTES LISTEN_BACKLOG_COUNT
    ]
    .into_iter()
}

#[test]
fn every_bound_that_can_be_met_is_documented_with_its_value() {
    for (name, value) in bounds() {
        let row = format!("| `{name}` | {value} | ");
        assert!(
            DOCUMENT.contains(&row),
            "docs/APPLICATION.md does not have the row {row}"
        );
    }
    let source = include_str!("../src/limits.rs");
    let constants = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": "));
    let mut count = 0;
    // Bounds with a range are settings and options, which have tables of their own.
    for (name, _) in constants.filter(|(_, rest)| !rest.starts_with("Bound ")) {
        count += 1;
        let known = bounds().any(|(bound, _)| bound == name) || INTERNAL.contains(&name);
        assert!(known, "{name} is neither documented nor internal");
    }
    assert_eq!(count, bounds().count() + INTERNAL.len());
}
