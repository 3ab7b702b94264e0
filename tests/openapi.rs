//! Tests the running service against docs/openapi.yaml, with a client driven by the schema alone.
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

use payment_latency_api::limits::PROCESSING_MAX_MS;
use payment_latency_api::payment::{Currency, Outcome, PARAMETER_NAMES};
use std::process::Command;
use support::{KEY, PAYMENT, Service, shared};

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
fn the_documents_have_the_parameters_of_a_payment() {
    let openapi = include_str!("../docs/openapi.yaml");
    let named: Vec<&str> = openapi
        .split("\n        - name: ")
        .skip(1)
        .filter_map(|part| part.split_once("\n          in: query"))
        .filter_map(|(name, _)| (!name.contains('\n')).then_some(name))
        .collect();
    assert_eq!(named, PARAMETER_NAMES);
    let application = include_str!("../docs/APPLICATION.md");
    let table = application.split("| Parameter | Form | Default |\n").nth(1);
    let rows = table.expect("the table exists").lines().skip(1);
    let named: Vec<&str> = rows
        .map_while(|row| row.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(named, PARAMETER_NAMES);
    let outcomes = Outcome::ALL.map(Outcome::as_str);
    for text in [
        format!("enum: [{}], default: {}", outcomes.join(", "), outcomes[0]),
        format!("minimum: 0, maximum: {PROCESSING_MAX_MS}, default: 0"),
    ] {
        assert!(openapi.contains(&text), "{text}");
    }
    for text in [
        format!(
            "| `outcome` | `{}` | `{}` |",
            outcomes.join("` or `"),
            outcomes[0]
        ),
        format!("| `processing_ms` | 0 to {PROCESSING_MAX_MS}, "),
    ] {
        assert!(application.contains(&text), "{text}");
    }
}

/// A response under `default` would document every status, and make the check of statuses meaningless.
#[test]
fn the_document_names_every_status() {
    let document = include_str!("../docs/openapi.yaml");
    let vague: Vec<&str> = document
        .lines()
        .filter(|line| line.trim_start().starts_with("default:"))
        .collect();
    assert_eq!(vague, [""; 0], "responses are named by their status");
}

/// The document leaves these header fields open for 400 and 503, which may also be refusals.
#[test]
fn a_problem_repeats_the_request_id_unless_no_handler_saw_the_request() {
    let service = Service::start(shared(), &[]);
    let key = ("X-API-Key", KEY);
    for (target, headers, status) in [
        (PAYMENT, &[][..], 401),
        (PAYMENT, &[("X-API-Key", "wrong")], 403),
        ("/api/payment/simulate?amount=0", &[key], 400),
        ("/nothing", &[], 404),
        ("/livez", &[("Expect", "everything")], 417),
    ] {
        let answer = service.get(target, headers);
        assert_eq!(answer.status, status, "{target}");
        let header = answer.headers.get("x-request-id").map(String::as_str);
        assert_eq!(header, answer.json()["request_id"].as_str(), "{target}");
        assert_eq!(header.is_none(), status == 417, "{target}");
        let no_store = answer.headers.contains_key("cache-control");
        assert_eq!(no_store, target.starts_with(PAYMENT), "{target}");
    }
}

/// Clients of oapi-codegen fail on an answer with a constant that has no type, and many generated clients
/// wait for the content of HEAD where the document has some.
#[test]
fn the_document_suits_generated_clients() {
    let document = include_str!("../docs/openapi.yaml");
    let count = |text| document.matches(text).count();
    assert_eq!(count("const: "), count("{type: string, const: "));
    let without_content = count("responses: &head\n") + count("responses: *head\n");
    assert_eq!(count("\n    head:\n"), without_content);
    let answers = document.split("\n    Head:\n").nth(1);
    let answers = answers.and_then(|rest| rest.split("\n  schemas:\n").next());
    let answers = answers.expect("the answers of HEAD are the last responses");
    assert!(answers.contains("    HeadRefused:\n") && !answers.contains("content:"));
}

/// Callers ignore fields that they do not know, and the document allows them to. The service must send
/// none that the document does not have.
fn without_more_fields(document: &str) -> String {
    let open = "additionalProperties: true\n";
    let objects = document.matches(" type: object\n").count();
    assert_eq!(document.matches(open).count(), objects);
    document.replace(open, "additionalProperties: false\n")
}

#[test]
fn the_service_does_what_its_openapi_document_says() {
    let service = Service::start(shared(), &[]);
    let schema = concat!(
        env!("CARGO_TARGET_TMPDIR"),
        "/openapi-without-more-fields.yaml"
    );
    std::fs::write(
        schema,
        without_more_fields(include_str!("../docs/openapi.yaml")),
    )
    .unwrap();
    let program = std::env::var("SCHEMATHESIS_BIN").unwrap_or_else(|_| "schemathesis".into());
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(&program)
        .arg("--config-file")
        .arg(format!("{root}/tests/support/schemathesis.toml"))
        .args(["run", schema])
        .args(["--url", &format!("http://{}", service.address)])
        .args(["--header", &format!("X-API-Key: {KEY}")])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "60",
        ])
        .args(["--checks", "all", "--continue-on-failure"])
        // Whether an amount is valid depends on the currency, and whether a key is free depends on who
        // used it before: a schema cannot express either.
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
    // A run that made no payments would also pass, but show nothing.
    let labels = "{method=\"GET\",endpoint=\"/api/payment/simulate\",status=\"200\"}";
    let made = service.metric(&format!("http_requests_total{labels}"));
    assert!(made >= 5.0, "{made} payments were made\n{text}");
    println!("{made} payments were made\n{text}");
}
