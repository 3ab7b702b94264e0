//! The process reports every configuration error at once, exits, and shows no secret.

use crate::support::{KEY, LOGIN, Service, run, shared};

#[test]
fn all_errors_are_reported_together_and_the_exit_code_says_configuration() {
    let environment = [
        (
            "DATABASE_URL",
            "postgresql://app:hidden-word@db.example.com/payments?sslmode=perhaps",
        ),
        ("API_SECRET_KEY", "hidden"),
        ("PORT", "99999"),
        ("POOL_SIZE", "0"),
        ("PAYMENT_DEADLINE_MS", "soon"),
        ("STATEMENT_MODE", "fancy"),
        ("LISTEN_ADDRESS", "nowhere"),
    ];
    for verb in [&[][..], &["serve"], &["check-config"]] {
        let output = run(verb, &environment);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        for (variable, _) in environment {
            let named = message
                .lines()
                .filter(|line| line.starts_with(&format!("{variable}: ")))
                .count();
            assert_eq!(named, 1, "{variable} in {message}");
        }
        assert!(!message.contains("hidden"), "{message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_is_required_is_named_when_it_is_absent() {
    let output = run(&[], &[]);
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8(output.stderr).unwrap();
    for variable in ["DATABASE_URL", "API_SECRET_KEY"] {
        assert!(
            message
                .lines()
                .any(|line| line.starts_with(&format!("{variable}: "))),
            "{message}"
        );
    }
}

#[test]
fn check_config_prints_what_will_be_in_force_without_secrets() {
    let url = shared().url(LOGIN, "verify-full");
    let output = run(
        &["check-config"],
        &[
            ("DATABASE_URL", &url),
            ("API_SECRET_KEY", KEY),
            ("POOL_SIZE", "3"),
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "POOL_SIZE=3",
        "PORT=8080",
        "STATEMENT_MODE=unnamed",
        "DRAIN_MS=15000",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "{line} in {text}"
        );
    }
    assert!(text.contains("warning: REGION"));
    assert!(
        !text.contains(KEY) && !text.contains(crate::postgres::PASSWORD),
        "{text}"
    );
}

#[test]
fn a_database_in_another_region_is_refused_at_start() {
    let output = run(
        &[],
        &[
            (
                "DATABASE_URL",
                "postgresql://app:hidden-word@p.proxy-abc.us-east-1.rds.amazonaws.com/payments?sslmode=verify-full",
            ),
            ("API_SECRET_KEY", KEY),
            ("REGION", "eu-south-2"),
        ],
    );
    assert_eq!(output.status.code(), Some(78));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("us-east-1") && message.contains("eu-south-2"),
        "{message}"
    );
    assert!(!message.contains("hidden-word"));
}

#[test]
fn the_command_line_is_checked() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["server"], 64),
        (&["serve", "now"], 64),
        (&["--verbose"], 64),
        (&["prune", "--older-than", "yesterday"], 64),
        (&["probe"], 64),
    ] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        let stream = if code == 0 {
            &output.stdout
        } else {
            &output.stderr
        };
        assert!(!stream.is_empty(), "{arguments:?}");
    }
    let version = String::from_utf8(run(&["--version"], &[]).stdout).unwrap();
    assert!(version.starts_with(concat!("payment-latency-api ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_taken_port_is_named() {
    let first = Service::start(shared(), &[]);
    let url = shared().url(LOGIN, "verify-full");
    let port = first.address.port().to_string();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("API_SECRET_KEY", KEY),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("PORT", &port),
    ];
    let output = run(&[], &settings);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{text}"
    );
}

#[test]
fn a_low_limit_of_descriptors_is_a_warning_with_the_number() {
    let url = shared().url(LOGIN, "verify-full");
    let binary = env!("CARGO_BIN_EXE_payment-latency-api");
    // The port is invalid, so the process ends by itself.
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 400 && exec \"$0\"", binary])
        .env_clear()
        .envs([
            ("DATABASE_URL", url.as_str()),
            ("API_SECRET_KEY", KEY),
            ("LISTEN_ADDRESS", "192.0.2.1"),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("descriptor_limit_low"))
        .expect("there is a warning");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["limit"], 400);
    assert_eq!(line["connections"], 400 - 128 - 8);
}
