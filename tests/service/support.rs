//! The service as a process, and a caller that sees raw bytes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::postgres::{Cluster, Held, OWNER, PASSWORD, Tls};

/// The login that the service uses.
pub const LOGIN: &str = "payments_api";
/// The key that the service knows, unless a test says otherwise.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const PAYMENT: &str = "/api/payment/simulate";

/// Anything that a test waits for takes less than this, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The service's binary: this build's, unless `SERVICE` names another one, as full runs do.
pub fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        std::env::var("SERVICE")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_payment-latency-api").into())
    })
}

/// A database that most tests share; they tell their rows apart by id.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(database)
}

/// A database for one test only, migrated.
pub fn database() -> Cluster {
    let cluster = Cluster::start(Tls::for_localhost());
    migrate(&cluster);
    cluster
}

/// Runs the verb `migrate` as the owner.
pub fn migrate(cluster: &Cluster) {
    let output = Command::new(binary())
        .arg("migrate")
        .env("MIGRATE_DATABASE_URL", cluster.url(OWNER, "verify-full"))
        .env("DATABASE_URL", cluster.url(LOGIN, "verify-full"))
        .output()
        .unwrap();
    assert!(output.status.success(), "migrate: {output:?}");
}

/// Runs a verb to its end.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
    Command::new(binary())
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// The mimalloc settings of the image.
fn allocator_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings: Vec<_> = include_str!("../../Dockerfile")
        .lines()
        .filter_map(|line| line.strip_prefix("ENV "))
        .flat_map(|line| line.split(' '))
        .filter(|setting| setting.starts_with("MIMALLOC_"))
        .map(|setting| setting.split_once('=').unwrap())
        .collect();
    assert!(
        !settings.is_empty(),
        "the Dockerfile has settings for mimalloc"
    );
    settings.into_iter()
}

/// The service, serving.
pub struct Service {
    child: Mutex<Child>,
    pub address: SocketAddr,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<serde_json::Value>>,
    grown: Condvar,
}

impl Service {
    /// Starts it on `cluster` and waits until it is ready.
    pub fn start(cluster: &Cluster, settings: &[(&str, &str)]) -> Self {
        let service = Self::start_unready(cluster, settings);
        service.wait_for_log("ready");
        service
    }

    /// Starts it and waits until it listens.
    pub fn start_unready(cluster: &Cluster, settings: &[(&str, &str)]) -> Self {
        // On a core of its own at normal priority, when a measurement gives it a core.
        let core = std::env::var("SERVICE_CORE");
        let pinned = core
            .as_ref()
            .map(|core| ["chrt", "--other", "0", "taskset", "--cpu-list", core]);
        // It ends with this thread, however the thread ends.
        let words = ["setpriv", "--pdeathsig", "KILL", "--", binary()];
        let words: Vec<&str> = pinned.into_iter().flatten().chain(words).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(allocator_settings())
            .env("PORT", "0")
            .env("LISTEN_ADDRESS", "127.0.0.1")
            .env("DRAIN_MS", "0")
            .env("REGION", "eu-south-2")
            .env("ENVIRONMENT", "test")
            .stdout(Stdio::piped());
        let names: Vec<&str> = settings.iter().map(|(name, _)| *name).collect();
        if !names.contains(&"DATABASE_URL_FILE") {
            command.env("DATABASE_URL", cluster.url(LOGIN, "verify-full"));
        }
        if !names.contains(&"API_SECRET_KEY_FILE") {
            command.env("API_SECRET_KEY", KEY);
        }
        let mut child = command.envs(settings.iter().copied()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let collected = log.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("every log line is JSON");
                collected.lines.lock().unwrap().push(line);
                collected.grown.notify_all();
            }
        });
        let mut service = Self {
            child: Mutex::new(child),
            address: "127.0.0.1:0".parse().unwrap(),
            log,
        };
        let listening = service.wait_for_log("listening");
        service.address = listening["address"].as_str().unwrap().parse().unwrap();
        service
    }

    /// Waits for the first log line of `event`.
    pub fn wait_for_log(&self, event: &str) -> serde_json::Value {
        self.wait_for_logs(event, 1).remove(0)
    }

    /// The log lines of `event` so far.
    pub fn logs(&self, event: &str) -> Vec<serde_json::Value> {
        of_event(&self.log.lines.lock().unwrap(), event)
    }

    /// Waits for `count` log lines of `event`.
    pub fn wait_for_logs(&self, event: &str, count: usize) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let found = of_event(&lines, event);
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {event} in {lines:#?}");
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Everything logged so far, as text.
    pub fn log_text(&self) -> String {
        format!("{:?}", self.log.lines.lock().unwrap())
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Open descriptors, except the two that asking takes: its connection and the folder in /proc. The
    /// service counts them itself: it is not dumpable, so only root could count them from outside.
    #[allow(clippy::cast_possible_truncation, reason = "a count")]
    pub fn descriptors(&self) -> u64 {
        self.metric("process_open_fds") as u64 - 2
    }

    /// Waits for the process to end.
    pub fn wait(&self) -> ExitStatus {
        self.child.lock().unwrap().wait().unwrap()
    }

    /// One request on a connection of its own.
    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        Caller::connect(self.address).get(target, headers)
    }

    /// One payment with a valid key.
    pub fn pay(&self, query: &str) -> Response {
        self.pay_with(query, &[])
    }

    /// One payment with a valid key and more headers.
    pub fn pay_with(&self, query: &str, headers: &[(&str, &str)]) -> Response {
        Caller::connect(self.address).pay(query, headers)
    }

    /// The value of a sample in `/metrics`, which must exist.
    pub fn metric(&self, sample: &str) -> f64 {
        self.get("/metrics", &[]).sample(sample)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn of_event(lines: &[serde_json::Value], event: &str) -> Vec<serde_json::Value> {
    let of_event = lines.iter().filter(|line| line["event"] == event);
    of_event.cloned().collect()
}

/// Waits until `condition` is true.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One connection to the service.
pub struct Caller {
    stream: BufReader<TcpStream>,
}

impl Caller {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the service takes connections")
    }

    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends, even if the service has already closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.send(&request("GET", target, headers));
        self.receive()
    }

    pub fn pay(&mut self, query: &str, headers: &[(&str, &str)]) -> Response {
        let headers: Vec<_> = [("X-API-Key", KEY)]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        let separator = if query.is_empty() { "" } else { "?" };
        self.get(&format!("{PAYMENT}{separator}{query}"), &headers)
    }

    /// Reads one answer with its body.
    pub fn receive(&mut self) -> Response {
        self.receive_for("GET")
    }

    /// Reads the answer to a request with `method`.
    pub fn receive_for(&mut self, method: &str) -> Response {
        self.try_receive(method).expect("an answer")
    }

    /// Reads an answer, unless the connection ends first.
    pub fn try_receive(&mut self, method: &str) -> Option<Response> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).ok()?;
            let line = line.strip_suffix("\r\n").expect("lines end in CR LF");
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header line");
            let again = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            assert_eq!(again, None, "{name} is repeated");
        }
        let mut body = Vec::new();
        if status >= 200 && method != "HEAD" {
            let length: u64 = headers["content-length"].parse().unwrap();
            (&mut self.stream)
                .take(length)
                .read_to_end(&mut body)
                .ok()?;
            assert_eq!(body.len() as u64, length, "the whole body");
        }
        Some(Response {
            status,
            headers,
            body,
        })
    }

    /// Whether the service has closed the connection without sending another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }

    /// Whether the service has not closed the connection, as far as is known here; an error if it was reset.
    pub fn is_open(&self) -> std::io::Result<bool> {
        let socket = self.stream.get_ref();
        socket.set_nonblocking(true).unwrap();
        let peeked = socket.peek(&mut [0]);
        socket.set_nonblocking(false).unwrap();
        match peeked {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
            peeked => peeked.map(|_| false),
        }
    }

    /// Closes the sending half.
    pub fn finish_sending(&mut self) {
        self.stream
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }
}

/// The bytes of a request.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The value of a metrics sample, which must exist.
    pub fn sample(&self, sample: &str) -> f64 {
        let found = self.sample_if_any(sample);
        found.unwrap_or_else(|| panic!("no sample {sample}"))
    }

    /// The value of a metrics sample that may not exist yet.
    pub fn sample_if_any(&self, sample: &str) -> Option<f64> {
        let text = self.text();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The id of the payment that was answered with 200.
    pub fn id(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["transaction_id"].as_str().unwrap().to_owned()
    }

    /// Asserts that this is a problem of `status` with `code`, about `field` unless that is empty.
    pub fn assert_problem(&self, status: u16, code: &str, field: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("urn:payment-latency-api:problem:{code}")
        );
        assert_eq!(problem["status"], status);
        assert_eq!(
            problem["field"].as_str().unwrap_or_default(),
            field,
            "{problem}"
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(self.headers.contains_key("retry-after"), status == 503);
    }
}

/// Number of rows with this id.
pub fn rows(cluster: &Cluster, id: &str) -> String {
    cluster.psql(&format!(
        "SELECT count(*) FROM payments WHERE transaction_id = '{id}'"
    ))
}

/// Locks the table, or a key, until it is dropped.
pub struct TableLock(Held);

impl TableLock {
    /// No payment is written and no connection is made, since connecting also reads the table.
    pub fn take(cluster: &Cluster) -> Self {
        Self(cluster.hold("LOCK TABLE payments IN SHARE MODE"))
    }

    /// No payment with this key is written.
    pub fn key(cluster: &Cluster, key: &str) -> Self {
        let insert = "INSERT INTO payments (transaction_id, idempotency_key, request_hash, amount_minor, \
             amount_exponent, currency, region, status, processing_ms) \
             SELECT gen_random_uuid(), 'KEY', sha256('x'), 1, 2, 'EUR', 'test', 'approved', 0";
        Self(cluster.hold(&insert.replace("KEY", key)))
    }
}

/// Callers that pay in a closed loop until they are stopped.
pub struct Load {
    stop: Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<Paid>>>,
}

/// One answer of a load; status 0 means that the connection ended instead.
pub struct Paid {
    pub status: u16,
    pub id: String,
    pub text: String,
}

impl Load {
    /// `callers` that keep their connections open; each reconnects when the service closes its connection.
    pub fn start(
        address: SocketAddr,
        callers: usize,
        key: impl Fn() -> String + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = (0..callers)
            .map(|_| {
                let (stop, key) = (stop.clone(), key.clone());
                std::thread::spawn(move || {
                    let mut answers = Vec::new();
                    let mut caller: Option<Caller> = None;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let Some(connection) =
                            caller.take().or_else(|| Caller::try_connect(address))
                        else {
                            break;
                        };
                        let connection = caller.insert(connection);
                        connection.try_send(&request("GET", PAYMENT, &[("X-API-Key", &key())]));
                        let answer = connection.try_receive("GET");
                        let closes = answer
                            .as_ref()
                            .is_none_or(|a| a.header("connection") == "close");
                        answers.push(match answer {
                            Some(answer) => Paid {
                                status: answer.status,
                                id: if answer.status == 200 {
                                    answer.id()
                                } else {
                                    String::new()
                                },
                                text: answer.text(),
                            },
                            None => Paid {
                                status: 0,
                                id: String::new(),
                                text: String::new(),
                            },
                        });
                        if closes {
                            caller = None;
                        }
                    }
                    answers
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// Stops, and returns all answers.
    pub fn stop(self) -> Vec<Paid> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    }
}

/// Asserts that every 200 stands for exactly one row.
pub fn assert_durable(cluster: &Cluster, answers: &[Paid]) {
    let rows = cluster.psql("SELECT transaction_id FROM payments");
    let rows: std::collections::HashSet<&str> = rows.lines().collect();
    let lost: Vec<&str> = answers
        .iter()
        .filter(|paid| paid.status == 200 && !rows.contains(paid.id.as_str()))
        .map(|paid| paid.id.as_str())
        .collect();
    assert!(lost.is_empty(), "acknowledged but missing: {lost:?}");
}

/// The URL of the login with another password.
pub fn url_with_password(cluster: &Cluster, password: &str) -> String {
    cluster
        .url(LOGIN, "verify-full")
        .replace(PASSWORD, password)
}
