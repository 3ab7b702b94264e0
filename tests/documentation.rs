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
use payment_latency_api::metrics::{Build, Metrics};
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/APPLICATION.md");

fn assert_named(names: impl IntoIterator<Item = String>, what: &str) {
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(
            DOCUMENT.contains(&format!("`{name}`")),
            "docs/APPLICATION.md lacks the {what} {name}"
        );
    }
    assert!(
        count > 5,
        "{count} of {what}: the search for them has gone wrong"
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

#[test]
fn every_metric_is_documented() {
    let metrics = Metrics::new(Build {
        version: "",
        revision: "",
        timestamp: "",
        region: String::new(),
        environment: String::new(),
    });
    let mut text = Vec::new();
    metrics.write_text(&mut text);
    let text = String::from_utf8(text).unwrap();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    assert_named(
        families.map(|line| line.split(' ').next().unwrap().to_owned()),
        "metric",
    );
}

#[test]
fn every_refusal_is_documented() {
    assert_named(
        Refusal::all().map(|refusal| refusal.code().to_owned()),
        "refusal",
    );
}

#[test]
fn every_log_event_is_documented() {
    let events = ["log::info(", "log::warn(", "log::error(", "warnings.warn("];
    assert_named(events.into_iter().flat_map(words_behind), "event");
}

#[test]
fn every_problem_is_documented() {
    let mut codes = words_behind("code: ");
    for status in [
        "Status::Unauthorized,",
        "Status::Forbidden,",
        "Status::ServiceUnavailable,",
        "unavailable,",
        "Status::GatewayTimeout,",
        "Status::UnprocessableContent,",
        "Status::InternalServerError,",
        "Status::MethodNotAllowed,",
        "Status::NotFound,",
    ] {
        codes.extend(words_behind(status));
    }
    assert_named(
        codes.into_iter().filter(|code| !code.contains(' ')),
        "problem",
    );
}
