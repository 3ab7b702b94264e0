//! The service's own connection to PostgreSQL: every `sslmode` against servers with and without TLS
//! and with every kind of certificate, every way to log in, and exchanges over each of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is the test's failure"
)]

#[path = "support/postgres.rs"]
mod postgres;

use payment_latency_api::config::{DatabaseTarget, Secret, StatementMode};
use payment_latency_api::migrate::MIGRATIONS;
use payment_latency_api::payment::{Amount, Currency, IdempotencyKey, Outcome};
use payment_latency_api::pg::connection::{Broken, Connection};
use payment_latency_api::pg::error::{ConnectError, ConnectStep};
use payment_latency_api::pg::handshake::{self, Established};
use payment_latency_api::pg::owner;
use payment_latency_api::pg::payments::{Insert, Row};
use postgres::{Authority, Cluster, Identity, OWNER, Options, Tls, Validity};
use std::fs;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(10);
const MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];
const TLS_VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// The result that an attempt must have.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// A connection without TLS.
    Plain,
    /// A connection with TLS of the server's version.
    Secure,
    /// No connection: the step that failed, and a part of the sentence about it.
    Refused(ConnectStep, &'static str),
}
use Expected::{Plain, Refused, Secure};

const NO_TLS: Expected = Refused(ConnectStep::Tls, "the server does not support TLS");
const UNKNOWN: Expected = Refused(ConnectStep::Tls, "not signed by a trusted authority");
const EXPIRED: Expected = Refused(ConnectStep::Tls, "certificate has expired");
const ANOTHER_HOST: Expected = Refused(ConnectStep::Tls, "is for another host");
const NO_ENTRY: Expected = Refused(ConnectStep::Authentication, "no pg_hba.conf entry");

/// A server with the table of payments.
fn start(options: &Options) -> Cluster {
    let cluster = Cluster::start_with(options);
    for migration in MIGRATIONS {
        cluster.psql(&format!("SET ROLE {OWNER}; {}", migration.sql));
    }
    cluster
}

fn only(version: &str) -> [String; 2] {
    ["ssl_min_protocol_version", "ssl_max_protocol_version"]
        .map(|setting| format!("{setting} = '{version}'"))
}

fn target(cluster: &Cluster, mode: &str, root: Option<&Path>) -> DatabaseTarget {
    let mut url = cluster.url_at("localhost", OWNER, mode);
    if let Some(root) = root {
        url += &format!("&sslrootcert={}", root.display());
    }
    DatabaseTarget::parse(&url, "unknown").unwrap()
}

fn connect(target: &DatabaseTarget) -> Result<Established, ConnectError> {
    handshake::connect(target, StatementMode::Unnamed, TIMEOUT)
}

/// Connects, and compares the result, also as the server sees it, with `expected`.
fn check(cluster: &Cluster, mut target: DatabaseTarget, expected: Expected, what: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    target.application_name = format!("attempt-{number}");
    match (connect(&target), expected) {
        (Ok(established), Plain | Secure) => {
            let seen = cluster.psql(&format!(
                "SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'attempt-{number}'"
            ));
            let is_tls = established.transport.is_tls();
            assert_eq!(is_tls, matches!(expected, Secure), "{what}");
            let version = cluster.psql("SHOW ssl_max_protocol_version");
            assert_eq!(seen, if is_tls { version.as_str() } else { "" }, "{what}");
        }
        (Err(error), Refused(step, sentence)) => {
            assert_eq!(error.step, step, "{what}: {error}");
            assert!(error.message.contains(sentence), "{what}: {error}");
        }
        (Ok(_), Refused(..)) => panic!("{what}: connected, but {expected:?} was expected"),
        (Err(error), _) => panic!("{what}: {error}"),
    }
}

/// The connection of `migrate` and `prune` must have the same result.
fn check_owner(target: &DatabaseTarget, expected: Expected, what: &str) {
    match (connect_as_owner(target), expected) {
        (Ok(()), Plain | Secure) => {}
        (Err(error), Refused(step, sentence)) => {
            assert_eq!(error.step, step, "owner, {what}: {error}");
            assert!(error.message.contains(sentence), "owner, {what}: {error}");
        }
        (result, _) => panic!("owner, {what}: {result:?}, but {expected:?} was expected"),
    }
}

#[test]
fn every_sslmode_means_what_libpq_says() {
    let trusted = Authority::new("Trusted Authority");
    let good = trusted.issue(&["localhost"], Validity::Current);
    let unknown = Authority::new("Unknown Authority").issue(&["localhost"], Validity::Current);
    let expired = trusted.issue(&["localhost"], Validity::Expired);
    let other = trusted.issue(&["other.example.com"], Validity::Current);
    // In the order of MODES; only the verifying modes get the trusted authority's certificate.
    let rows = [
        ("no TLS", Tls::Off, [Plain, Plain, NO_TLS, NO_TLS, NO_TLS]),
        (
            "good",
            Tls::On(good),
            [Plain, Secure, Secure, Secure, Secure],
        ),
        (
            "unknown authority",
            Tls::On(unknown),
            [Plain, Secure, Secure, UNKNOWN, UNKNOWN],
        ),
        (
            "expired",
            Tls::On(expired),
            [Plain, Secure, Secure, EXPIRED, EXPIRED],
        ),
        (
            "other host",
            Tls::On(other),
            [Plain, Secure, Secure, Secure, ANOTHER_HOST],
        ),
    ];
    for (name, tls, expected) in rows {
        let versions: &[&str] = match tls {
            Tls::Off => &["TLSv1.3"],
            Tls::On(_) => &TLS_VERSIONS,
        };
        for version in versions {
            let mut options = Options::new(tls.clone());
            options.settings.extend(only(version));
            let cluster = start(&options);
            let root = cluster.folder().join("trusted.crt");
            fs::write(&root, trusted.pem()).unwrap();
            for (mode, expected) in MODES.into_iter().zip(expected) {
                let root = mode.starts_with("verify").then_some(root.as_path());
                let what = format!("{name}, {version}, {mode}");
                let target = target(&cluster, mode, root);
                check_owner(&target, expected, &what);
                check(&cluster, target, expected, &what);
            }
        }
    }
}

#[test]
fn a_root_certificate_makes_require_verify_and_prefer_go_on_without_tls() {
    let cluster = start(&Options::new(Tls::for_localhost()).setting(&only("TLSv1.3").join("\n")));
    let stranger = cluster.folder().join("stranger.crt");
    fs::write(&stranger, Authority::new("Stranger").pem()).unwrap();
    let own = cluster.root_cert();
    let missing = cluster.folder().join("missing.crt");
    let unreadable = Refused(ConnectStep::Tls, "cannot be read");
    for (mode, root, expected) in [
        ("prefer", &own, Secure),
        ("require", &own, Secure),
        ("prefer", &stranger, Plain),
        ("require", &stranger, UNKNOWN),
        ("verify-ca", &stranger, UNKNOWN),
        ("verify-full", &stranger, UNKNOWN),
        // A setting that cannot be applied is never silently dropped.
        ("prefer", &missing, unreadable),
        ("require", &missing, unreadable),
        ("verify-full", &missing, unreadable),
    ] {
        let what = format!("{mode} {}", root.display());
        check(
            &cluster,
            target(&cluster, mode, Some(root)),
            expected,
            &what,
        );
    }
    for mode in ["verify-ca", "verify-full"] {
        check(&cluster, target(&cluster, mode, None), UNKNOWN, mode);
    }
}

#[test]
fn a_self_signed_certificate_may_be_its_own_root() {
    let identity = Identity::self_signed(&["localhost"]);
    let cluster = start(&Options::new(Tls::On(identity)).setting(&only("TLSv1.3").join("\n")));
    for mode in ["verify-ca", "verify-full"] {
        let root = cluster.root_cert();
        check(&cluster, target(&cluster, mode, Some(&root)), Secure, mode);
    }
}

#[test]
fn an_address_is_compared_with_the_certificates_addresses() {
    let cluster = start(&Options::new(Tls::for_localhost()).setting(&only("TLSv1.3").join("\n")));
    for host in ["127.0.0.1", "::1"] {
        let root = cluster.root_cert();
        let mut target = target(&cluster, "verify-full", Some(&root));
        target.host = host.to_owned();
        check(&cluster, target, Secure, host);
    }
}

#[test]
fn prefer_follows_the_servers_rules_for_tls() {
    let rows = [
        ("hostssl", [NO_ENTRY, Secure, Secure]),
        ("hostnossl", [Plain, Plain, NO_ENTRY]),
    ];
    for (rule, expected) in rows {
        let lines = ["127.0.0.1/32", "::1/128"]
            .map(|address| format!("{rule} all all {address} scram-sha-256"));
        let options = Options::new(Tls::for_localhost())
            .setting(&only("TLSv1.3").join("\n"))
            .host_rules(&lines.each_ref().map(String::as_str));
        let cluster = start(&options);
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let what = format!("{rule} {mode}");
            check(&cluster, target(&cluster, mode, None), expected, &what);
        }
    }
}

#[test]
fn a_login_is_by_scram_or_by_trust_and_by_nothing_weaker() {
    let weak = Refused(ConnectStep::Authentication, "other than SCRAM-SHA-256");
    for (method, expected) in [
        ("scram-sha-256", Secure),
        ("trust", Secure),
        ("password", weak),
        ("md5", weak),
        (
            "reject",
            Refused(ConnectStep::Authentication, "rejects connection"),
        ),
    ] {
        let lines = ["127.0.0.1/32", "::1/128"]
            .map(|address| format!("hostssl all all {address} {method}"));
        let options = Options::new(Tls::for_localhost())
            .setting(&only("TLSv1.3").join("\n"))
            .host_rules(&lines.each_ref().map(String::as_str));
        let cluster = start(&options);
        if method == "md5" {
            // If the catalog has a SCRAM verifier, the method md5 asks for SCRAM.
            cluster.psql(&format!(
                "SET password_encryption = 'md5'; ALTER ROLE {OWNER} PASSWORD 'x'"
            ));
        }
        check(
            &cluster,
            target(&cluster, "require", None),
            expected,
            method,
        );
    }
}

#[test]
fn a_refused_login_is_told_apart() {
    let cluster = start(&Options::new(Tls::for_localhost()).setting(&only("TLSv1.3").join("\n")));
    for statement in [
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    ] {
        cluster.psql(statement);
    }
    let login = ConnectStep::Authentication;
    type Change = fn(&mut DatabaseTarget);
    let changes: [(&str, Change, ConnectStep, &str); 6] = [
        (
            "wrong password",
            |target| target.password = Some(Secret::new("wrong")),
            login,
            "28P01",
        ),
        (
            "no password",
            |target| target.password = None,
            login,
            "the URL has none",
        ),
        (
            "unknown role",
            |target| target.user = "nobody".to_owned(),
            login,
            "28P01",
        ),
        (
            "unknown database",
            |target| target.database = "nothing".to_owned(),
            login,
            "3D000",
        ),
        (
            "a database that may not be connected to",
            |target| target.database = "closed".to_owned(),
            login,
            "42501",
        ),
        (
            "database without the table",
            |target| target.database = "postgres".to_owned(),
            ConnectStep::Schema,
            "42P01",
        ),
    ];
    for mode in ["disable", "require"] {
        for (what, change, step, sentence) in changes {
            let mut target = target(&cluster, mode, None);
            change(&mut target);
            let what = format!("{what}, {mode}");
            check(&cluster, target, Refused(step, sentence), &what);
        }
    }
}

#[test]
fn a_server_that_does_not_answer_costs_the_timeout_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for mode in ["disable", "prefer", "require"] {
        let url = format!("postgres://user:secret@127.0.0.1:{port}/payments?sslmode={mode}");
        let target = DatabaseTarget::parse(&url, "unknown").unwrap();
        let timeout = Duration::from_millis(200);
        let took = || {
            let began = Instant::now();
            let error = handshake::connect(&target, StatementMode::Unnamed, timeout)
                .err()
                .unwrap();
            assert_eq!(error.step, ConnectStep::Timeout, "{mode}: {error}");
            let took = began.elapsed();
            assert!(took >= timeout, "{mode}: {took:?}");
            took
        };
        // On a busy machine it may seem longer, but not every time.
        assert!((0..20).any(|_| took() < timeout * 3 / 2), "{mode}");
    }
}

// --- Channel binding, as a server sees it -----------------------------------------------------

const PLUS: &str = "SCRAM-SHA-256-PLUS";
const WITHOUT: &str = "SCRAM-SHA-256";

/// Accepts one connection and reads up to the client's choice of a mechanism: its name, and the GS2
/// header that says what the client knows about channel binding (RFC 5802 section 7).
fn choice(
    listener: &TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    offer: &[&str],
) -> (String, String) {
    let (mut socket, _) = listener.accept().unwrap();
    let Some(config) = tls else {
        return choose(&mut socket, offer);
    };
    let mut ssl_request = [0; 8];
    socket.read_exact(&mut ssl_request).unwrap();
    socket.write_all(b"S").unwrap();
    let session = rustls::ServerConnection::new(config).unwrap();
    choose(&mut rustls::StreamOwned::new(session, socket), offer)
}

fn choose(stream: &mut (impl Read + Write), offer: &[&str]) -> (String, String) {
    let _startup = read_body(stream);
    let mut names = offer.join("\0").into_bytes();
    names.extend_from_slice(b"\0\0");
    let mut message = b"R".to_vec();
    message.extend(u32::try_from(names.len() + 8).unwrap().to_be_bytes());
    message.extend(10_u32.to_be_bytes());
    message.extend(names);
    stream.write_all(&message).unwrap();
    stream.flush().unwrap();
    let mut tag = [0; 1];
    if stream.read_exact(&mut tag).is_err() {
        return ("none".to_owned(), String::new());
    }
    let body = read_body(stream);
    let end = body.iter().position(|&byte| byte == 0).unwrap();
    let name = String::from_utf8(body.get(..end).unwrap().to_vec()).unwrap();
    let first = String::from_utf8(body.get(end + 5..).unwrap().to_vec()).unwrap();
    let header = first.split_once(",,").unwrap().0.to_owned();
    (name, header)
}

fn read_body(stream: &mut impl Read) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap() - 4];
    stream.read_exact(&mut body).unwrap();
    body
}

fn server_config(algorithm: &'static rcgen::SignatureAlgorithm) -> Arc<rustls::ServerConfig> {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
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
    Arc::new(config)
}

#[test]
fn channel_binding_is_used_whenever_both_sides_can() {
    type Client = fn(&DatabaseTarget);
    let ecdsa = || Some(server_config(&rcgen::PKCS_ECDSA_P256_SHA256));
    let ed25519 = || Some(server_config(&rcgen::PKCS_ED25519));
    for (what, tls, offer, mechanism, header) in [
        (
            "both",
            ecdsa(),
            &[PLUS, WITHOUT][..],
            PLUS,
            "p=tls-server-end-point",
        ),
        // "y" lets a server notice that its offer was removed in transit.
        ("stripped", ecdsa(), &[WITHOUT], WITHOUT, "y"),
        ("no end point", ed25519(), &[PLUS, WITHOUT], WITHOUT, "n"),
        ("no end point, only PLUS", ed25519(), &[PLUS], "none", ""),
        ("no TLS", None, &[WITHOUT], WITHOUT, "n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = if tls.is_some() { "require" } else { "disable" };
        let url = format!("postgres://user:secret@127.0.0.1:{port}/payments?sslmode={mode}");
        let target = DatabaseTarget::parse(&url, "unknown").unwrap();
        let expected = (mechanism.to_owned(), header.to_owned());
        let clients: [(&str, Client); 2] = [
            ("service", |target| drop(connect(target))),
            ("owner", |target| drop(connect_as_owner(target))),
        ];
        // The library of the owner's connection asks for a mechanism that was not offered; servers refuse it.
        let count = if mechanism == "none" { 1 } else { 2 };
        for (who, client) in clients.into_iter().take(count) {
            std::thread::scope(|scope| {
                scope.spawn(|| client(&target));
                let seen = choice(&listener, tls.clone(), offer);
                assert_eq!(seen, expected, "{what}, {who}");
            });
        }
    }
}

fn connect_as_owner(target: &DatabaseTarget) -> Result<(), ConnectError> {
    let runtime = runtime();
    runtime.block_on(owner::connect(target)).map(drop)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

// --- Exchanges on the connection ---------------------------------------------------------------

type Session = Connection<tokio::net::TcpStream>;

fn session(target: &DatabaseTarget, mode: StatementMode) -> Session {
    let established = handshake::connect(target, mode, TIMEOUT).unwrap();
    let socket: TcpStream = established.socket;
    let socket = tokio::net::TcpStream::from_std(socket).unwrap();
    Connection::new(socket, established.transport, mode, Rc::from("eu-south-2"))
}

async fn exchange(session: &mut Session) -> Result<(), Broken> {
    session.begin()?;
    poll_fn(|cx| session.poll_exchange(cx)).await
}

fn payment(number: u8, key: Option<&str>) -> Insert {
    Insert {
        transaction_id: [number; 16],
        idempotency_key: key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap()),
        request_hash: [7; 32],
        amount: Amount {
            minor_units: 1_234,
            exponent: 2,
        },
        currency: Currency::from_code("EUR").unwrap(),
        outcome: Outcome::Approved,
        processing_ms: 15,
    }
}

/// A payment written, written again, looked up, replayed under its key, refused, written in a batch.
async fn converse(session: &mut Session, what: &str) {
    let first = payment(1, Some("key-1"));
    session.queue_inserts(&[&first]).unwrap();
    exchange(session).await.unwrap();
    let created_at = session.created_at(0).unwrap();

    session.queue_inserts(&[&first]).unwrap();
    exchange(session).await.unwrap();
    assert_eq!(session.created_at(0), None, "{what}");

    let row = Row {
        transaction_id: first.transaction_id,
        request_hash: first.request_hash,
        amount: first.amount,
        currency: first.currency,
        outcome: first.outcome,
        processing_ms: first.processing_ms,
        created_at,
    };
    for same in [payment(1, None), payment(2, Some("key-1"))] {
        session.queue_lookup(&same).unwrap();
        exchange(session).await.unwrap();
        assert_eq!(session.row(), Some(row), "{what}");
    }

    let mut impossible = payment(3, None);
    impossible.amount.minor_units = 0;
    session.queue_inserts(&[&impossible]).unwrap();
    exchange(session).await.unwrap();
    let refusal = session.refusal().unwrap();
    assert_eq!(refusal.state.as_str(), "23514", "{what}: {refusal}");

    let batch =
        [(4, None), (1, Some("key-1")), (5, None)].map(|(number, key)| payment(number, key));
    session.queue_inserts(&batch.each_ref()).unwrap();
    exchange(session).await.unwrap();
    let written = [0, 1, 2].map(|index| session.created_at(index).is_some());
    assert_eq!(written, [true, false, true], "{what}");

    session.queue_validation().unwrap();
    exchange(session).await.unwrap();
    assert_eq!(session.refusal(), None, "{what}");
}

#[test]
fn payments_are_written_and_read_over_every_kind_of_connection() {
    for version in TLS_VERSIONS {
        let mut options = Options::new(Tls::for_localhost());
        options.settings.extend(only(version));
        let cluster = start(&options);
        for sslmode in ["disable", "require"] {
            for mode in [StatementMode::Unnamed, StatementMode::Named] {
                let what = format!("{version} {sslmode} {mode:?}");
                let target = target(&cluster, sslmode, None);
                runtime().block_on(async {
                    let mut session = session(&target, mode);
                    converse(&mut session, &what).await;
                    session.terminate();
                });
                assert_eq!(cluster.psql("SELECT count(*) FROM payments"), "3", "{what}");
                cluster.psql("TRUNCATE payments");
            }
        }
    }
}

#[test]
fn an_idle_connection_notices_that_the_server_goes_away() {
    for (sslmode, end) in [
        ("disable", Cluster::stop as fn(&Cluster)),
        ("require", Cluster::stop),
        ("require", Cluster::crash),
    ] {
        let cluster = start(&Options::new(Tls::for_localhost()));
        let target = target(&cluster, sslmode, None);
        runtime().block_on(async {
            let mut session = session(&target, StatementMode::Unnamed);
            end(&cluster);
            poll_fn(|cx| session.poll_idle(cx)).await;
        });
    }
}
