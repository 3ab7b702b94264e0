//! docs/openapi.yaml against the running service, by a client that is driven by the schema alone.
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

#[path = "support/postgres.rs"]
mod postgres;
#[path = "service/support.rs"]
mod support;

use payment_latency_api::payment::Currency;
use std::process::Command;
use support::{KEY, Service, shared};

#[test]
fn the_document_lists_exactly_the_currencies_that_payments_can_be_made_in() {
    let letters = || 'A'..='Z';
    let codes = letters()
        .flat_map(|a| letters().flat_map(move |b| letters().map(move |c| format!("{a}{b}{c}"))));
    let accepted: Vec<String> = codes.filter(|code| Currency::parse(code).is_ok()).collect();
    let document = include_str!("../docs/openapi.yaml");
    let list = document
        .split("# currencies\n")
        .nth(1)
        .expect("the list is marked");
    let listed: Vec<&str> = list
        .split(|c: char| !c.is_ascii_uppercase())
        .filter(|code| code.len() == 3)
        .collect();
    assert_eq!(accepted, listed, "{}", accepted.join(", "));
}

#[test]
fn the_service_does_what_its_openapi_document_says() {
    let service = Service::start(shared(), &[]);
    let program = std::env::var("SCHEMATHESIS_BIN").unwrap_or_else(|_| "schemathesis".into());
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(&program)
        .arg("--config-file")
        .arg(format!("{root}/tests/support/schemathesis.toml"))
        .args(["run", &format!("{root}/docs/openapi.yaml")])
        .args(["--url", &format!("http://{}", service.address)])
        .args(["--header", &format!("X-API-Key: {KEY}")])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "60",
        ])
        .args(["--checks", "all", "--continue-on-failure"])
        // Whether an amount is valid depends on the currency, and whether a key is free on who had it
        // before: a schema cannot say either.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs schemathesis, which `make test` installs: {program}: {error}")
        });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // That it passed because it asked for nothing would be no success.
    let labels = "{method=\"GET\",endpoint=\"/api/payment/simulate\",status=\"200\"}";
    let made = service.metric(&format!("http_requests_total{labels}"));
    assert!(made >= 5.0, "{made} payments were made\n{text}");
    println!("{made} payments were made\n{text}");
}
