//! A database that lies, stalls or floods, over a real socket: whatever it sends, connecting and
//! paying end in an error within their time, without a panic and without unbounded memory.
//!
//! `tests/tls_modes.rs` has certificates, login methods and channel binding, with real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unsafe_code,
    reason = "a failure here is the test's failure; an allocator is unsafe to write"
)]

use payment_latency_api::config::{DatabaseTarget, PoolSettings, SecretSource, StatementMode};
use payment_latency_api::log;
use payment_latency_api::metrics::{Build, Metrics};
use payment_latency_api::payment::{Amount, Currency, Outcome};
use payment_latency_api::pg::error::ConnectStep;
use payment_latency_api::pg::handshake;
use payment_latency_api::pg::payments::Insert;
use payment_latency_api::pool::{Credentials, Failure, Pool, TcpConnector};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Memory that a thread that connects or pays may hold at any moment, whatever the server sends.
const MEMORY_MAX_BYTES: isize = 2 * 1024 * 1024;

/// The time limit of an attempt that a server holds up. An attempt that ends by itself has [`AMPLE`], and must need at
/// most half of it.
const SHORT: Duration = Duration::from_millis(250);
const AMPLE: Duration = Duration::from_secs(60);

// --- Memory -----------------------------------------------------------------------------------

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is about to end no longer has counters.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn size(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        // SAFETY: the caller upholds GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-size(layout));
        // SAFETY: the caller upholds GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` in this thread, and fails if it held too much memory at any moment.
fn within_memory<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    let held = PEAK.get() - before;
    assert!(held < MEMORY_MAX_BYTES, "{what}: held {held} bytes");
    result
}

// --- The server -------------------------------------------------------------------------------

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The server's end of one connection.
struct Peer(Box<dyn Stream>);

type Script = fn(&mut Peer) -> io::Result<()>;

impl Peer {
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref())?;
        self.0.flush()
    }

    /// The start-up message, which has no tag.
    fn startup(&mut self) -> io::Result<()> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap() - 4];
        self.0.read_exact(&mut body)
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header)?;
        let len = u32::from_be_bytes(header[1..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(len).unwrap() - 4];
        self.0.read_exact(&mut body)?;
        Ok((header[0], body))
    }

    /// Reads the client's messages up to its Sync.
    fn until_sync(&mut self) -> io::Result<()> {
        while self.message()?.0 != b'S' {}
        Ok(())
    }

    fn log_in(&mut self) -> io::Result<()> {
        self.startup()?;
        self.send(OK)?;
        self.send(READY)?;
        self.until_sync()?;
        self.send(VALIDATED)?;
        self.send(READY)?;
        Ok(())
    }

    /// Logs the client in and reads its first payment.
    fn until_payment(&mut self) -> io::Result<()> {
        self.log_in()?;
        self.until_sync()
    }

    /// Runs SASL up to the client's first message, and returns its nonce.
    fn begin_scram(&mut self) -> io::Result<String> {
        self.startup()?;
        self.send(sasl(10, b"SCRAM-SHA-256\0\0"))?;
        let (_, body) = self.message()?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(text.split("r=").nth(1).unwrap().to_owned())
    }

    /// Sends a good first SCRAM answer; the client's proof is read but not checked.
    fn continue_scram(&mut self) -> io::Result<()> {
        let nonce = self.begin_scram()?;
        self.send(sasl(
            11,
            format!("r={nonce}more,s={SALT},i=4096").as_bytes(),
        ))?;
        self.message().map(drop)
    }

    /// Sends `bytes` again and again until the client gives up.
    fn flood(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            self.send(bytes)?;
        }
    }

    /// Sends a message without end, a byte at a time.
    fn trickle(&mut self) -> io::Result<()> {
        self.send(b"N\0\0\xf0\0")?;
        loop {
            self.send(b"S")?;
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn by_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.iter().try_for_each(|byte| self.send([*byte]))
    }
}

const OK: [u8; 9] = *b"R\0\0\0\x08\0\0\0\0";
const READY: [u8; 6] = *b"Z\0\0\0\x05I";
/// The row of the validation query: the login can pay.
const VALIDATED: &[u8] = b"D\0\0\0\x10\0\x02\0\0\0\x01\x01\0\0\0\x01\x01C\0\0\0\x0dSELECT 1\0";
/// The body of such a row for a login that cannot pay.
const NO: &[u8] = b"\0\x02\0\0\0\x01\x01\0\0\0\x01\0";
const NOTICE: &[u8] = b"N\0\0\0\x0dSNOTICE\0\0";
const WARNING: &[u8] = b"N\0\0\0\x17SWARNING\0VWARNING\0\0";
const STATUS: &[u8] = b"S\0\0\0\x0ea=b\0cdefg\0";
const SALT: &str = "c2FsdHNhbHRzYWx0";
/// The payment's row: its `transaction_id` and its `created_at`.
const ROW: &[u8] = b"D\0\0\0\x26\0\x02\0\0\0\x107777777777777777\0\0\0\x08\0\0\0\0\0\0\0\x01";
/// The end of its statement.
const END: &[u8] = b"C\0\0\0\x0fINSERT 0 1\0";

/// The answer to one payment, without its ReadyForQuery.
fn inserted() -> Vec<u8> {
    [b"1\0\0\0\x042\0\0\0\x04", ROW, END].concat()
}

/// A row with some bytes changed.
fn row(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = ROW[5..].to_vec();
    change(&mut body);
    [&message(b'D', &body)[..], END, &READY].concat()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &len.to_be_bytes()[..], body].concat()
}

fn sasl(step: u32, body: &[u8]) -> Vec<u8> {
    message(b'R', &[&step.to_be_bytes()[..], body].concat())
}

fn error(state: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C{state}\0Mno\0\0").as_bytes())
}

/// A server that plays `script` on each connection, and the number of connections it has taken.
struct Server {
    port: u16,
    taken: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Wire {
    /// Without TLS.
    Plain,
    /// The script begins inside TLS.
    Tls(Arc<rustls::ServerConfig>),
}

impl Server {
    /// Its threads end with the test's process.
    fn start(wire: Wire, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let wire = wire.clone();
                std::thread::spawn(move || play(socket.unwrap(), wire, script));
            }
        });
        Self { port, taken }
    }

    fn target(&self, mode: &str) -> DatabaseTarget {
        let port = self.port;
        let url = format!("postgres://user:secret@127.0.0.1:{port}/payments?sslmode={mode}");
        DatabaseTarget::parse(&url, "unknown").unwrap()
    }
}

/// Plays the script, then keeps the connection open until the client closes it.
fn play(mut socket: TcpStream, wire: Wire, script: Script) {
    socket.set_nodelay(true).unwrap();
    let stream: Box<dyn Stream> = match wire {
        Wire::Plain => Box::new(socket),
        Wire::Tls(config) => {
            let mut request = [0; 8];
            if socket.read_exact(&mut request).is_err() || socket.write_all(b"S").is_err() {
                return;
            }
            let session = rustls::ServerConnection::new(config).unwrap();
            Box::new(rustls::StreamOwned::new(session, socket))
        }
    };
    let mut peer = Peer(stream);
    if script(&mut peer).is_ok() {
        let _ = peer.0.read_to_end(&mut Vec::new());
    }
}

fn tls() -> Wire {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Wire::Tls(Arc::new(config))
}

/// Closes the connection at once instead of keeping it open.
fn close() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

// --- Connecting -------------------------------------------------------------------------------

use ConnectStep::{Authentication, Connect, Protocol, Schema, Timeout, Tls};

/// Connects to a server that plays `script`. The reason must be `Timeout` where that is expected, and
/// nowhere else.
fn check_connect(wire: Wire, mode: &str, what: &str, script: Script, expected: ConnectStep) {
    let server = Server::start(wire, script);
    let timeout = if expected == Timeout { SHORT } else { AMPLE };
    let what = format!("{what}, {mode}");
    let began = Instant::now();
    let made = within_memory(&what, || {
        handshake::connect(&server.target(mode), StatementMode::Unnamed, timeout)
    });
    let error = made.err().unwrap_or_else(|| panic!("{what}: connected"));
    assert_eq!(error.step, expected, "{what}: {error}");
    assert!(began.elapsed() < AMPLE / 2, "{what}: it took all its time");
    assert!(!error.message.contains("secret"), "{what}: {error}");
}

/// Runs all rows at the same time, since many of them wait for a time-out.
fn check_all<R: Send>(rows: impl IntoIterator<Item = R>, check: impl Fn(R) + Sync) {
    std::thread::scope(|scope| {
        for row in rows {
            let check = &check;
            scope.spawn(move || check(row));
        }
    });
}

#[test]
fn a_server_that_is_hostile_before_tls_is_refused() {
    let rows: [(&str, Script, ConnectStep); 9] = [
        ("silence", |_| Ok(()), Timeout),
        ("closed", |_| close(), Connect),
        (
            "an error in the clear",
            |peer| peer.send(error("28000")),
            Protocol,
        ),
        (
            "another protocol",
            |peer| peer.send(b"HTTP/1.1 400 \r\n\r\n"),
            Protocol,
        ),
        (
            "TLS promised, then silence",
            |peer| peer.send(b"S"),
            Timeout,
        ),
        (
            "TLS promised, then closed",
            |peer| {
                peer.0.read_exact(&mut [0; 8])?;
                peer.send(b"S")?;
                // Reads all of the client's first record: closing with unread bytes would send a
                // reset.
                let mut header = [0; 5];
                peer.0.read_exact(&mut header)?;
                let len = u16::from_be_bytes([header[3], header[4]]);
                peer.0.read_exact(&mut vec![0; len.into()])?;
                close()
            },
            Tls,
        ),
        // CVE-2021-23222: plaintext after the answer is never read as PostgreSQL's.
        (
            "an injection behind the answer",
            |peer| peer.send([b"S", &OK[..], &READY].concat()),
            Tls,
        ),
        (
            "endless handshake records",
            |peer| {
                peer.send(b"S")?;
                // A ServerHello of 2^24 - 1 bytes, in fragments of 16 KiB.
                let mut first = vec![0; 5 + 0x4000];
                first[..9].copy_from_slice(b"\x16\x03\x03\x40\0\x02\xff\xff\xff");
                peer.send(&first)?;
                let mut record = vec![0; 5 + 0x4000];
                record[..5].copy_from_slice(b"\x16\x03\x03\x40\0");
                peer.flood(&record)
            },
            Tls,
        ),
        (
            "endless alerts",
            |peer| {
                peer.send(b"S")?;
                peer.flood(b"\x15\x03\x03\0\x02\x01\x5a")
            },
            Tls,
        ),
    ];
    check_all(rows, |(what, script, expected)| {
        check_connect(Wire::Plain, "require", what, script, expected);
    });
}

#[test]
fn a_login_to_a_hostile_server_fails_at_every_step() {
    let rows: Vec<(&str, Script, ConnectStep)> =
        [hostile_login(), hostile_scram(), hostile_end()].concat();
    let tls = tls();
    let wires = [("disable", Wire::Plain), ("require", tls)];
    let rows = wires
        .iter()
        .flat_map(|wire| rows.iter().map(move |row| (wire, row)));
    check_all(rows, |((mode, wire), (what, script, expected))| {
        check_connect(wire.clone(), mode, what, *script, *expected);
    });
}

fn hostile_login() -> Vec<(&'static str, Script, ConnectStep)> {
    macro_rules! answers {
        ($($what:literal: $bytes:expr => $expected:expr,)*) => {
            [$(($what, (|peer| {
                peer.startup()?;
                peer.send($bytes)
            }) as Script, $expected),)*]
        };
    }
    let mut rows = answers! {
        "silence": b"" => Timeout,
        "half a message": b"R\0\0\0\x08\0" => Timeout,
        "a message of 2 GiB": b"R\x7f\xff\xff\xff" => Protocol,
        "a message of 65,537 bytes": b"N\0\x01\0\0" => Protocol,
        "a length below its own size": b"R\0\0\0\x03\0\0\0\0" => Protocol,
        "a negative length": b"R\xff\xff\xff\xff\0\0\0\0" => Protocol,
        "not a message": b"HTTP/1.1 400 Bad Request\r\n\r\n" => Protocol,
        "the password in the clear": sasl(3, b"") => Authentication,
        "MD5": sasl(5, b"salt") => Authentication,
        "Kerberos": sasl(2, b"") => Protocol,
        "GSSAPI": sasl(7, b"") => Authentication,
        "SSPI": sasl(9, b"") => Authentication,
        "a method that does not exist": sasl(99, b"") => Protocol,
        "SASL by SHA-1": sasl(10, b"SCRAM-SHA-1\0\0") => Authentication,
        "SASL by nothing": sasl(10, b"\0") => Authentication,
        "SASL without an end": sasl(10, b"SCRAM-SHA-256") => Protocol,
        "ready before the login": READY => Protocol,
        "a row before the login": message(b'D', b"\0\0") => Protocol,
        "another protocol version": message(b'v', b"\0\0\0\0\0\0\0\0") => Protocol,
        "an error without an end": message(b'E', b"SFATAL") => ConnectStep::Server,
        "an error without fields": message(b'E', b"") => ConnectStep::Server,
        "an error of 60,000 bytes": message(b'E', &[b'M'; 60_000]) => ConnectStep::Server,
        "an error in no encoding": message(b'E', b"C\xff\xfe\0M\xff\0\0") => ConnectStep::Server,
    }
    .to_vec();
    rows.push((
        "closed",
        |peer| peer.startup().and_then(|()| close()),
        ConnectStep::Server,
    ));
    rows.push((
        "closed in a message",
        |peer| {
            peer.startup()?;
            peer.send(b"R\0\0\0\x08\0")?;
            close()
        },
        ConnectStep::Server,
    ));
    rows.push((
        "endless notices",
        |peer| peer.startup().and_then(|()| peer.flood(NOTICE)),
        Timeout,
    ));
    rows.push((
        "an endless notice",
        |peer| peer.startup().and_then(|()| peer.trickle()),
        Timeout,
    ));
    rows
}

fn hostile_scram() -> Vec<(&'static str, Script, ConnectStep)> {
    macro_rules! first_answers {
        ($($what:literal: $answer:literal => $expected:expr,)*) => {
            [$(($what, (|peer| {
                let nonce = peer.begin_scram()?;
                let answer = $answer.replace("NONCE", &nonce).replace("SALT", SALT);
                peer.send(sasl(11, answer.as_bytes()))
            }) as Script, $expected),)*]
        };
    }
    macro_rules! last_answers {
        ($($what:literal: $bytes:expr => $expected:expr,)*) => {
            [$(($what, (|peer| {
                peer.continue_scram()?;
                peer.send($bytes)
            }) as Script, $expected),)*]
        };
    }
    let first = first_answers! {
        "a nonce of the server's own": "r=another,s=SALT,i=4096" => Authentication,
        "four billion rounds": "r=NONCEx,s=SALT,i=4294967295" => Authentication,
        "one round past the bound": "r=NONCEx,s=SALT,i=100001" => Authentication,
        "more rounds than a number holds": "r=NONCEx,s=SALT,i=99999999999999" => Authentication,
        "no rounds": "r=NONCEx,s=SALT" => Authentication,
        "a salt that is not base64": "r=NONCEx,s=*,i=4096" => Authentication,
        "nothing": "" => Authentication,
        "SCRAM's own error": "e=other-error" => Authentication,
        "silence after a good step": "r=NONCEx,s=SALT,i=4096" => Timeout,
    };
    let last = last_answers! {
        "a wrong signature": sasl(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") => Authentication,
        "a signature that is too short": sasl(12, b"v=AAAA") => Authentication,
        "a signature that is none": sasl(12, b"v=*") => Authentication,
        "an error for a signature": sasl(12, b"e=invalid-proof") => Authentication,
        // A server that does not know the password cannot sign, and must not get away without a signature.
        "no signature": OK => Protocol,
        "the first step again": sasl(11, b"r=x,s=c2FsdA==,i=1") => Protocol,
    };
    let mut rows: Vec<_> = first.into_iter().chain(last).collect();
    rows.push((
        "no proof wanted",
        |peer| {
            peer.begin_scram()?;
            peer.send(OK)
        },
        Protocol,
    ));
    rows
}

fn hostile_end() -> Vec<(&'static str, Script, ConnectStep)> {
    macro_rules! after_login {
        ($($what:literal: $bytes:expr => $expected:expr,)*) => {
            [$(($what, (|peer| {
                peer.startup()?;
                peer.send(OK)?;
                peer.send($bytes)
            }) as Script, $expected),)*]
        };
    }
    let mut rows = after_login! {
        "silence after the login": b"" => Timeout,
        "ready in a transaction": b"Z\0\0\0\x05T" => Protocol,
        "a second login": sasl(3, b"") => Protocol,
        "a copy out of nothing": message(b'W', b"\0\0\0") => Protocol,
        "silence after the statements": READY => Timeout,
        "ready twice": [READY, READY, READY].concat() => Protocol,
        "a missing table": [&READY[..], &error("42P01")].concat() => Schema,
        "no answer to the validation query": [READY, READY].concat() => Protocol,
        "a validation without columns": [&READY[..], &message(b'D', b"\0\0"), &READY].concat() => Protocol,
        "a validation that says no": [&READY[..], &message(b'D', NO), &READY].concat() => Schema,
    }
    .to_vec();
    rows.push((
        "endless statuses",
        |peer| {
            peer.startup()?;
            peer.send(OK)?;
            peer.flood(STATUS)
        },
        Timeout,
    ));
    rows.push((
        "endless notices after the statements",
        |peer| {
            peer.startup()?;
            peer.send(OK)?;
            peer.send(READY)?;
            peer.flood(NOTICE)
        },
        Timeout,
    ));
    rows
}

// --- Paying -----------------------------------------------------------------------------------

use Ends::{Broken, Refused, Stalled, Written};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Written,
    Refused,
    /// Ended by the time-out: nothing sent so far is wrong.
    Stalled,
    /// Ended by an error in what was sent.
    Broken,
}

fn settings(exchange_timeout: Duration) -> PoolSettings {
    PoolSettings {
        size: 1,
        waiters_max: 4,
        batch_max: 4,
        checkout_timeout: AMPLE,
        exchange_timeout,
        connect_timeout: AMPLE,
        connection_lifetime: AMPLE,
        idle_probe_interval: AMPLE,
        statement_mode: StatementMode::Unnamed,
    }
}

/// Runs `work` with a pool of one connection to `server`, whose exchanges have this time limit.
fn with_pool<T>(
    server: &Server,
    mode: &str,
    exchange_timeout: Duration,
    work: impl AsyncFnOnce(Pool<tokio::net::TcpStream>, Arc<Metrics>) -> T,
) -> T {
    log::discard();
    let credentials = Credentials::new(
        server.target(mode),
        SecretSource::literal("DATABASE_URL", ""),
        "unknown",
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let connector = TcpConnector::start(credentials, StatementMode::Unnamed, AMPLE).unwrap();
        let metrics = Arc::new(Metrics::new(Build::default()));
        let pool = Pool::start(
            settings(exchange_timeout),
            Box::new(connector),
            metrics.clone(),
        );
        work(pool, metrics).await
    })
}

/// Pays through a pool whose server logs everybody in, and then plays `script` on each exchange.
fn check_payment(wire: Wire, mode: &str, what: &str, script: Script, expected: Ends) {
    let server = Server::start(wire, script);
    let payment = Insert {
        transaction_id: [b'7'; 16],
        idempotency_key: None,
        request_hash: [7; 32],
        amount: Amount {
            minor_units: 1,
            exponent: 2,
        },
        currency: Currency::EUR,
        outcome: Outcome::Approved,
        processing_ms: 0,
    };
    let what = format!("{what}, {mode}");
    let began = Instant::now();
    let (time, of_one_exchange) = match expected {
        Ends::Stalled => (2 * SHORT, SHORT),
        // Attempts are repeated for this long.
        Ends::Broken => (8 * SHORT, AMPLE),
        // One exchange only: a second one would be another case.
        Ends::Refused | Ends::Written => (AMPLE, AMPLE),
    };
    let ends = within_memory(&what, || {
        with_pool(&server, mode, of_one_exchange, async |pool, metrics| {
            pool.ready().await;
            let written = pool.write(&payment, Instant::now() + time, pending()).await;
            match written {
                Ok(_) => Ends::Written,
                Err(Failure::Deadline { sent: true }) if is_broken(&metrics) => Ends::Broken,
                Err(Failure::Deadline { sent: true }) => Ends::Stalled,
                Err(Failure::Refused(_)) => Ends::Refused,
                other => panic!("{what}: {other:?}"),
            }
        })
    });
    assert_eq!(ends, expected, "{what}");
    assert!(began.elapsed() < AMPLE / 2, "{what}: it took all its time");
}

/// Whether a connection was closed for what it sent: a breach of the protocol, or a notice that the
/// session ends.
fn is_broken(metrics: &Metrics) -> bool {
    let mut text = Vec::new();
    metrics.write_text(&mut text);
    let text = String::from_utf8(text).unwrap();
    let closed = |reason| {
        let sample = format!("pool_connections_closed_total{{reason=\"{reason}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&sample))
            .expect("there is a line for it")
            != "0"
    };
    closed("broken") || closed("server")
}

#[test]
fn a_payment_to_a_hostile_server_ends_in_time_and_is_never_taken_for_written() {
    let rows = [answers(), endless_answers()].concat();
    let tls = tls();
    let wires = [("disable", Wire::Plain), ("require", tls)];
    let rows = wires
        .iter()
        .flat_map(|wire| rows.iter().map(move |row| (wire, row)));
    check_all(rows, |((mode, wire), (what, script, expected))| {
        check_payment(wire.clone(), mode, what, *script, *expected);
    });
}

type Answer = (&'static str, Script, Ends);

fn answers() -> Vec<Answer> {
    macro_rules! answers {
        ($($what:literal: $bytes:expr => $expected:expr,)*) => {
            vec![$(($what, (|peer| {
                peer.until_payment()?;
                peer.send($bytes)
            }) as Script, $expected),)*]
        };
    }
    answers! {
        "a good answer": [&inserted()[..], &READY].concat() => Written,
        "a good answer among notices": [NOTICE, STATUS, &inserted(), NOTICE, &READY].concat() => Written,
        "a good answer, and the end of the session": [&inserted()[..], &READY, &error("57P01")].concat() => Written,
        "a good answer, and another one": [&inserted()[..], &READY, &inserted(), &READY].concat() => Written,
        "a warning while it commits": [&inserted()[..], WARNING, &READY].concat() => Broken,
        "silence": b"" => Stalled,
        "silence before the commit": inserted() => Stalled,
        "half an answer": &inserted()[..12] => Stalled,
        "a message of 2 GiB": b"D\x7f\xff\xff\xff" => Broken,
        "a message of 65,537 bytes": b"N\0\x01\0\0" => Broken,
        "a length below its own size": b"Z\0\0\0\x03I" => Broken,
        "a negative length": b"Z\xff\xff\xff\xffI" => Broken,
        "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n" => Broken,
        "ready without an answer": READY => Broken,
        "ready without the statement's end": [ROW, &READY].concat() => Broken,
        "ready in a transaction": [&inserted()[..], b"Z\0\0\0\x05T"].concat() => Broken,
        "ready in a failed transaction": [&inserted()[..], b"Z\0\0\0\x05E"].concat() => Broken,
        "ready in no state": [&inserted()[..], b"Z\0\0\0\x04"].concat() => Broken,
        "two ends of one statement": [&inserted()[..], END, &READY].concat() => Broken,
        "a row twice": [ROW, ROW, END, &READY].concat() => Broken,
        "another payment's row": row(|body| body[6] = b'8') => Broken,
        "a row without columns": row(|body| body.truncate(2)) => Broken,
        "a row without its count": row(Vec::clear) => Broken,
        "a row that ends early": row(|body| body.truncate(30)) => Broken,
        "an id of 15 bytes": row(|body| { body.remove(6); body[5] = 15; }) => Broken,
        "an id of NULL": row(|body| body[2..6].fill(0xff)) => Broken,
        "a time of NULL": row(|body| body[22..26].fill(0xff)) => Broken,
        "a time of 2 GiB": row(|body| body[22] = 0x7f) => Broken,
        "a login in the middle": sasl(3, b"") => Broken,
        "a row's description": message(b'T', b"\0\0") => Broken,
        "a copy": message(b'G', b"\0\0\0") => Broken,
        "a suspended portal": message(b's', b"") => Broken,
        "a tag that does not exist": message(0xff, b"") => Broken,
        "an error without fields": [&message(b'E', b"")[..], &READY].concat() => Refused,
        "an error in no encoding": [&message(b'E', b"C\xff\xff\xff\xff\xff\0M\xff\0")[..], &READY].concat() => Refused,
        "an error, and no end": error("23514") => Stalled,
        "the server ends by its administrator": [&error("57P01")[..], &READY].concat() => Broken,
        "the server ends by a crash": [&error("57P02")[..], &READY].concat() => Broken,
        "the server takes no sessions now": [&error("57P03")[..], &READY].concat() => Broken,
        "a proxy lost its server": [&error("08006")[..], &READY].concat() => Broken,
        "the password is no longer good": [&error("28P01")[..], &READY].concat() => Broken,
        "the server is a standby": [&error("25006")[..], &READY].concat() => Broken,
        "a statement that is gone": [&error("26000")[..], &READY].concat() => Broken,
        "a statement that no longer fits": [&error("0A000")[..], &READY].concat() => Broken,
    }
}

fn endless_answers() -> Vec<Answer> {
    vec![
        (
            "closed",
            |peer| peer.until_payment().and_then(|()| close()),
            Broken,
        ),
        (
            "endless notices",
            |peer| peer.until_payment().and_then(|()| peer.flood(NOTICE)),
            Stalled,
        ),
        (
            "endless rows",
            |peer| peer.until_payment().and_then(|()| peer.flood(ROW)),
            Broken,
        ),
        (
            "endless errors",
            |peer| {
                peer.until_payment()
                    .and_then(|()| peer.flood(&error("57P01")))
            },
            Stalled,
        ),
        (
            "an endless notice",
            |peer| peer.until_payment().and_then(|()| peer.trickle()),
            Stalled,
        ),
        (
            "everything a byte at a time",
            |peer| {
                peer.startup()?;
                peer.by_bytes(&OK)?;
                peer.by_bytes(&READY)?;
                peer.until_sync()?;
                peer.by_bytes(VALIDATED)?;
                peer.by_bytes(&READY)?;
                peer.until_sync()?;
                peer.by_bytes(&inserted())?;
                peer.by_bytes(&READY)
            },
            Written,
        ),
    ]
}

#[test]
fn a_server_that_drops_whoever_logs_in_is_not_asked_again_and_again() {
    let rows: [(&str, Script); 3] = [
        ("closes", |peer| peer.log_in().and_then(|()| close())),
        ("talks", |peer| {
            peer.log_in().and_then(|()| peer.flood(NOTICE))
        }),
        ("ends", |peer| {
            peer.log_in()?;
            peer.send(error("57P01"))?;
            close()
        }),
    ];
    check_all(rows, |(what, script)| {
        let server = Server::start(Wire::Plain, script);
        with_pool(&server, "disable", SHORT, async |_pool, _| {
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        // The pauses double from 50 ms and may be halved: 25, 50, 100, 200, 400, 500.
        let taken = server.taken.load(Ordering::Relaxed);
        assert!(
            (1..=8).contains(&taken),
            "{what}: {taken} connections in a second"
        );
    });
}
