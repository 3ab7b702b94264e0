//! What attackers try: to learn a key, to write into answers and logs, to read the process.

use crate::postgres::PASSWORD;
use crate::support::{Caller, KEY, PAYMENT, Service, database, request, run, shared};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

#[test]
fn an_answer_does_not_tell_how_wrong_a_key_is() {
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    let service = Service::start(shared(), &[("API_SECRET_KEY", &format!("{KEY},{OTHER}"))]);
    let mut caller = Caller::connect(service.address);
    // Header fields and body, without the time.
    let mut answer = |key: &str| {
        let mut answer = caller.get(PAYMENT, &[("X-API-Key", key), ("X-Request-Id", "same")]);
        answer.assert_problem(403, "api_key_wrong", "X-API-Key");
        answer.headers.remove("date");
        (answer.headers, answer.body)
    };
    let first = answer("x");
    let long = "k".repeat(16_000);
    for wrong in [
        "",
        &KEY[..31],
        &KEY[1..],
        &format!("{}X", &KEY[..31]),
        &format!("X{}", &KEY[1..]),
        &format!("{KEY}{OTHER}"),
        &format!("{KEY},{OTHER}"),
        &format!("{OTHER}0"),
        &KEY.to_uppercase(),
        "\u{e4}\u{1f511}",
        &long[..256],
        &long[..257],
        &long,
    ] {
        assert_eq!(answer(wrong), first, "{} bytes", wrong.len());
    }
    for right in [KEY, OTHER] {
        assert_eq!(caller.get(PAYMENT, &[("X-API-Key", right)]).status, 200);
    }
}

#[test]
fn nothing_that_a_caller_sends_becomes_a_header_or_a_log_line_of_its_own() {
    let service = Service::start(shared(), &[("LOG_REQUESTS", "true")]);
    let mut caller = Caller::connect(service.address);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let huge = "e".repeat(7_900);
    let mut hostile = vec![
        "a%0d%0aX-Evil: 1".to_owned(),
        "a\\r\\nX-Evil: 1".to_owned(),
        "a\u{2028}evil".to_owned(),
        "a\u{85}evil".to_owned(),
        "\",\"event\":\"evil\",\"x\":\"".to_owned(),
        "a\\\",\\\"evil".to_owned(),
        "a\tevil".to_owned(),
        "<script>evil</script>".to_owned(),
        "${evil:ldap://evil}".to_owned(),
        "\u{feff}evil".to_owned(),
    ];
    hostile.push(huge.clone());
    hostile.push(format!("00-{trace}-{huge}"));
    hostile.push(format!("00-{trace} evil"));
    let known = [
        "cache-control",
        "content-length",
        "content-type",
        "date",
        "traceparent",
        "x-request-id",
    ];
    for value in &hostile {
        let answer = caller.get("/livez", &[("X-Request-Id", value), ("traceparent", value)]);
        assert_eq!(answer.status, 200);
        let names: Vec<&str> = answer.headers.keys().map(String::as_str).collect();
        assert_eq!(names, known);
        let id = answer.header("x-request-id");
        assert!(
            id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
        assert_eq!(answer.header("traceparent").len(), 55);
        assert!(!format!("{:?}", answer.headers).contains("evil"));
    }
    // Whatever a later version adds is cut off, however long it is.
    let later = format!("01-{trace}-{huge}");
    let answer = caller.get("/livez", &[("traceparent", &later)]);
    assert_eq!(answer.header("traceparent"), format!("00-{trace}"));
    // A problem repeats parameter names as text on one line.
    for query in [
        "%0d%0aX-Evil:%201=1",
        "%22%2c%22evil%22%3a=1",
        "evil%00=1",
        &huge,
    ] {
        let answer = caller.pay(query, &[]);
        answer.assert_problem(
            400,
            "invalid_request",
            answer.json()["field"].as_str().unwrap(),
        );
        assert!(!answer.headers.contains_key("x-evil"));
        assert!(answer.json().get("evil").is_none() && answer.body.len() < 1_000);
    }
    // The collector has parsed each line as one JSON object.
    let lines = service.wait_for_logs("request", hostile.len() + 5);
    assert_eq!(lines.len(), hostile.len() + 5);
    assert!(
        !service.log_text().contains("evil"),
        "{}",
        service.log_text()
    );
}

#[test]
fn no_secret_reaches_logs_metrics_or_answers() {
    const WRONG: &str = "Wr0ngWr0ngWr0ngWr0ng";
    let service = Service::start(shared(), &[("LOG_REQUESTS", "true")]);
    let mut caller = Caller::connect(service.address);
    let mut said = String::new();
    for (status, target, key, more) in [
        (200, PAYMENT.to_owned(), KEY, ("X-A", KEY)),
        (403, PAYMENT.to_owned(), WRONG, ("Authorization", KEY)),
        (400, format!("{PAYMENT}?amount={KEY}"), KEY, ("Cookie", KEY)),
        (400, format!("{PAYMENT}?outcome={WRONG}"), KEY, ("X-A", KEY)),
        (404, format!("/{KEY}?key={KEY}"), KEY, ("X-A", KEY)),
        (200, "/info".to_owned(), KEY, ("X-A", WRONG)),
        (200, "/health".to_owned(), KEY, ("X-A", WRONG)),
        (200, "/readyz".to_owned(), KEY, ("X-A", WRONG)),
        (200, "/metrics".to_owned(), KEY, ("X-A", WRONG)),
    ] {
        for _ in 0..2 {
            let answer = caller.get(&target, &[("X-API-Key", key), more]);
            assert_eq!(answer.status, status, "{target}");
            said += &format!("{answer:?}{}", answer.text());
        }
    }
    service.wait_for_logs("request", 18);
    said += &service.log_text();
    said += &caller
        .get("/metrics", &[("Accept", "application/openmetrics-text")])
        .text();
    for secret in [KEY, WRONG, PASSWORD] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[test]
fn fields_of_a_trailer_are_not_header_fields() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = request("GET", PAYMENT, &[("Transfer-Encoding", "chunked")]);
    bytes.extend(format!("0\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n").bytes());
    caller.send(&bytes);
    caller
        .receive()
        .assert_problem(401, "api_key_missing", "X-API-Key");
    assert_eq!(caller.get("/livez", &[]).status, 200);
}

#[test]
fn the_process_shows_its_memory_to_nobody_and_its_metrics_still_work() {
    // As the image's user, since root may read everything anyway.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let user: &[&str] = match is_root {
        true => &["--reuid=65534", "--regid=65534", "--clear-groups"],
        false => &[],
    };
    let as_user = |program: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(user)
            .args(["--", program]);
        command
    };
    // A copy that this user can reach.
    let binary = std::env::temp_dir().join(format!("payment-latency-api-{}", std::process::id()));
    // Copied by another process: a child that another test starts meanwhile would inherit a file that
    // is being written here, and such a file cannot be executed.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_payment-latency-api"))
        .arg(&binary)
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let mut service = as_user(binary.to_str().unwrap())
        .env_clear()
        .envs([
            (
                "DATABASE_URL",
                "postgresql://app:hidden@127.0.0.1:1/payments",
            ),
            ("API_SECRET_KEY", KEY),
            ("LISTEN_ADDRESS", "127.0.0.1"),
            ("PORT", "0"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let listening = BufReader::new(service.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("\"listening\""))
        .unwrap();
    fs::remove_file(&binary).unwrap();
    let listening: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let address = listening["address"].as_str().unwrap().parse().unwrap();

    // proc(5): the process's user cannot read what belongs to root instead.
    let folder = format!("/proc/{}", service.id());
    assert_eq!(fs::metadata(format!("{folder}/mem")).unwrap().uid(), 0);
    let reads = |file: &str| as_user("cat").arg(file).output().unwrap().status.success();
    assert!(reads("/proc/self/environ"));
    assert!(
        !reads(&format!("{folder}/environ")),
        "its environment contains secrets"
    );
    let metrics = Caller::connect(address).get("/metrics", &[]).text();
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
        "process_start_time_seconds",
    ] {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let value = line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {line:?}");
    }
    service.kill().unwrap();
    service.wait().unwrap();
}

/// Hosts in another region, by every kind of name that the database can have.
const ELSEWHERE: [&str; 5] = [
    "db.abc123.us-east-1.rds.amazonaws.com",
    "payments.proxy-abc123.us-east-1.rds.amazonaws.com",
    "ro.endpoint.proxy-abc123.us-east-1.rds.amazonaws.com",
    "payments.cluster-abc123.us-east-1.rds.amazonaws.com",
    "vpce-1-2.rds.us-east-1.vpce.amazonaws.com",
];

fn url(host: &str) -> String {
    format!("postgresql://payments_api:hidden-word@{host}/payments?sslmode=verify-full")
}

#[test]
fn no_verb_starts_with_a_database_of_another_region() {
    let folder =
        std::env::temp_dir().join(format!("payment-latency-api-url-{}", std::process::id()));
    let file = folder.to_str().unwrap();
    let home = url("db.abc123.eu-south-2.rds.amazonaws.com");
    for host in ELSEWHERE {
        let elsewhere = url(host);
        fs::write(&folder, &elsewhere).unwrap();
        for (verb, variable, value) in [
            ("serve", "DATABASE_URL", elsewhere.as_str()),
            ("serve", "DATABASE_URL_FILE", file),
            ("check-config", "DATABASE_URL_FILE", file),
            ("migrate", "MIGRATE_DATABASE_URL", &elsewhere),
            ("migrate", "MIGRATE_DATABASE_URL_FILE", file),
            ("prune", "MIGRATE_DATABASE_URL_FILE", file),
        ] {
            let mut environment = vec![("REGION", "eu-south-2"), ("API_SECRET_KEY", KEY)];
            environment.push((variable, value));
            if variable.starts_with("MIGRATE") {
                environment.push(("DATABASE_URL", &home));
            }
            let output = run(&[verb], &environment);
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                output.status.code(),
                Some(78),
                "{verb} {variable} {host}: {message}"
            );
            assert!(message.starts_with(&format!("{variable}: ")), "{message}");
            assert!(
                message.contains("us-east-1") && !message.contains("hidden-word"),
                "{message}"
            );
        }
    }
    fs::remove_file(&folder).unwrap();
}

#[test]
fn no_database_of_another_region_is_taken_from_a_file_that_changes() {
    let cluster = database();
    let path = cluster.folder().join("database_url_region");
    let next = path.with_extension("next");
    fs::write(&path, cluster.url(crate::support::LOGIN, "verify-full")).unwrap();
    let service = Service::start(&cluster, &[("DATABASE_URL_FILE", path.to_str().unwrap())]);
    for (index, host) in ELSEWHERE.into_iter().enumerate() {
        fs::write(&next, url(host)).unwrap();
        fs::rename(&next, &path).unwrap();
        let lines = service.wait_for_logs("secret_reload_failed", index + 1);
        let reason = lines[index]["reason"].as_str().unwrap();
        assert!(reason.contains("us-east-1"), "{host}: {reason}");
        assert_eq!(service.pay("").status, 200);
    }
    assert!(!service.log_text().contains("hidden-word"));
}
