//! Payments one after the other on one connection and one thread, through this service's pool or through
//! tokio-postgres, which drives a connection by a task of its own. Statement, TLS library and runtime are the same.

use nix::time::{ClockId, clock_gettime};
use payment_latency_api::config::{DatabaseTarget, PoolSettings, SecretSource};
use payment_latency_api::metrics::{Build, Metrics};
use payment_latency_api::pg::payments::Insert;
use payment_latency_api::pool::{Credentials, Pool, TcpConnector};
use payment_latency_api::random;
use payment_latency_harness::{pool_settings, sample_insert};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const INSERT: &str = "INSERT INTO payments (transaction_id, idempotency_key, request_hash, amount_minor, \
    amount_exponent, currency, region, status, processing_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING transaction_id, created_at";
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    use lexopt::prelude::*;
    let (mut way, mut url_file, mut count) = (None, None, 0_u32);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("way") => way = Some(parser.value()?.string()?),
            Long("url-file") => url_file = Some(parser.value()?),
            Long("count") => count = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let url = std::fs::read_to_string(url_file.ok_or("--url-file is missing")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    match way.as_deref() {
        Some("pool") => runtime.block_on(through_pool(url.trim(), count)),
        Some("driver") => runtime.block_on(through_driver(url.trim(), count)),
        _ => Err("--way must be pool or driver".into()),
    }
}

async fn through_pool(url: &str, count: u32) -> Result<()> {
    let settings = PoolSettings {
        size: 1,
        ..pool_settings()
    };
    let target = DatabaseTarget::parse(url, "local")?;
    let source = SecretSource::literal("DATABASE_URL", url);
    let credentials = Credentials::new(target, source, "local");
    let connector = TcpConnector::start(
        credentials,
        settings.statement_mode,
        settings.connect_timeout,
    )?;
    let metrics = Arc::new(Metrics::new(Build::default()));
    let pool = Pool::start(settings, Box::new(connector), metrics);
    pool.ready().await;
    let mut payment = sample_insert();
    let began = Measured::begin();
    for _ in 0..count {
        renew(&mut payment)?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let written = pool.write(&payment, deadline, std::future::pending());
        written.await.map_err(|failure| format!("{failure:?}"))?;
    }
    began.report(count);
    Ok(())
}

async fn through_driver(url: &str, count: u32) -> Result<()> {
    let (url, query) = url.split_once('?').ok_or("the URL has no sslrootcert")?;
    let root = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("sslrootcert="));
    let mut roots = rustls::RootCertStore::empty();
    let root = root.ok_or("the URL has no sslrootcert")?;
    roots.add(CertificateDer::from_pem_file(root)?)?;
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config: tokio_postgres::Config = url.parse()?;
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
    tokio::spawn(connection);
    let statement = client.prepare(INSERT).await?;
    let mut payment = sample_insert();
    let began = Measured::begin();
    for _ in 0..count {
        renew(&mut payment)?;
        let id = Uuid::from_bytes(payment.transaction_id);
        let hash = payment.request_hash.as_slice();
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &id,
            &None::<&str>,
            &hash,
            &10_000_i64,
            &2_i16,
            &"EUR",
            &"local",
            &"approved",
            &0_i32,
        ];
        let row = client.query_one(&statement, &parameters).await?;
        row.try_get::<_, std::time::SystemTime>(1)?;
    }
    began.report(count);
    Ok(())
}

fn renew(payment: &mut Insert) -> Result<()> {
    random::fill(&mut payment.transaction_id).map_err(|_| "no random bytes".into())
}

struct Measured {
    cpu: Duration,
    time: Instant,
}

impl Measured {
    fn begin() -> Self {
        Self {
            cpu: process_time(),
            time: Instant::now(),
        }
    }

    fn report(self, count: u32) {
        let micros = |total: Duration| total.as_secs_f64() * 1e6 / f64::from(count.max(1));
        let (cpu, time) = (process_time() - self.cpu, self.time.elapsed());
        let report = serde_json::json!({ "cpu_us": micros(cpu), "round_trip_us": micros(time) });
        println!("{report}");
    }
}

/// By libc: rustix looks for the vDSO, which valgrind hides.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    time.map(Duration::from).unwrap_or_default()
}
