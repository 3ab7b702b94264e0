//! Checks the service's metrics with Prometheus itself: promtool on the text, and a scrape of both formats.
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

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{Caller, Service, eventually, shared};

/// A program that `make test` installs.
fn program(variable: &str, name: &str) -> Command {
    Command::new(std::env::var(variable).unwrap_or_else(|_| name.into()))
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!("this test needs prometheus and promtool, which `make test` installs: {command:?}: {error}")
    })
}

#[test]
fn promtool_finds_nothing_wrong_with_the_text() {
    let service = Service::start(shared(), &[]);
    service.pay("").id();
    service.pay("amount=x");
    let text = service.get("/metrics", &[]).body;
    let mut command = program("PROMTOOL_BIN", "promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut promtool = spawn(&mut command);
    promtool.stdin.take().unwrap().write_all(&text).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// A Prometheus that scrapes the service, ended on drop.
struct Prometheus {
    process: Child,
    address: String,
    /// Its output, for when a test fails.
    log: PathBuf,
}

impl Prometheus {
    fn start(service: &Service, folder: &Path, openmetrics: bool) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        std::fs::create_dir_all(folder).unwrap();
        let configuration = format!(
            "scrape_configs:\n- job_name: service\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            if openmetrics {
                service.address.to_string()
            } else {
                text_only(service)
            }
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let mut command = program("PROMETHEUS_BIN", "prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stderr(std::fs::File::create(folder.join("log")).unwrap());
        Self {
            process: spawn(&mut command),
            address,
            log: folder.join("log"),
        }
    }

    /// The value of an instant query that returns one.
    fn query(&self, query: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // With HTTP/1.0 the body comes as it is, up to the end of the connection.
        write!(stream, "GET /api/v1/query?query={escaped} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: serde_json::Value = serde_json::from_str(body).ok()?;
        body["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// An address that leads to the service and removes Prometheus's request for OpenMetrics: no setting
/// for this exists in all versions of Prometheus.
fn text_only(service: &Service) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = service.address;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer =
                Caller::connect(service).get("/metrics", &[("Accept", "text/plain;version=0.0.4")]);
            assert_eq!(
                answer.header("content-type"),
                "text/plain; version=0.0.4; charset=utf-8"
            );
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.header("content-type"),
                answer.body.len()
            );
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&[head.as_bytes(), &answer.body].concat());
        }
    });
    address
}

#[test]
fn prometheus_scrapes_both_formats_to_the_same_values() {
    let service = Service::start(shared(), &[]);
    for _ in 0..7 {
        service.pay("").id();
    }
    for openmetrics in [true, false] {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{openmetrics}"));
        let _ = std::fs::remove_dir_all(&folder);
        let prometheus = Prometheus::start(&service, &folder, openmetrics);
        eventually("a scrape succeeded", || prometheus.query("up") == Some(1.0));
        for (query, value) in [
            (
                "http_requests_total{endpoint=\"/api/payment/simulate\",method=\"GET\",status=\"200\"}",
                7.0,
            ),
            (
                "http_request_duration_seconds_count{endpoint=\"/api/payment/simulate\"}",
                7.0,
            ),
            (
                "http_request_duration_seconds_bucket{endpoint=\"/api/payment/simulate\",le=\"+Inf\"}",
                7.0,
            ),
            ("payment_processing_duration_seconds_count", 7.0),
            ("payments_total{outcome=\"approved\"}", 7.0),
            ("pool_connections{state=\"open\"}", 8.0),
            (
                "count(build_info{region=\"eu-south-2\",environment=\"test\"})",
                1.0,
            ),
            ("process_open_fds > bool 3", 1.0),
            (
                "histogram_quantile(1, payment_processing_duration_seconds_bucket) > bool 0",
                1.0,
            ),
        ] {
            // When a busy machine misses a scrape, a series is absent until the next one.
            let what = format!("{query} is {value} with OpenMetrics: {openmetrics}");
            eventually(&what, || prometheus.query(query) == Some(value));
        }
    }
}
