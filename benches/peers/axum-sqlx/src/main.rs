//! The same payment as the service's, with axum and sqlx as they are commonly used: a multi-threaded
//! runtime, sqlx's pool, persistent prepared statements, TLS by rustls.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::sync::Arc;
use std::time::Instant;
use time::OffsetDateTime;
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INSERT: &str = "INSERT INTO payments (transaction_id, idempotency_key, request_hash, amount_minor, \
    amount_exponent, currency, region, status, processing_ms) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING created_at";

#[derive(Clone)]
struct App {
    pool: PgPool,
    /// Its SHA-256 digest.
    key: Arc<[u8]>,
}

#[derive(Deserialize)]
struct Parameters {
    amount: Option<String>,
    currency: Option<String>,
}

#[derive(Serialize)]
struct Payment {
    transaction_id: Uuid,
    status: &'static str,
    amount: String,
    currency: String,
    region: &'static str,
    processing_time_ms: u16,
    database_time_ms: f64,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
}

async fn simulate(
    State(app): State<App>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Json<Payment>, StatusCode> {
    let presented = headers
        .get("x-api-key")
        .map_or(&b""[..], |key| key.as_bytes());
    if Sha256::digest(presented).as_slice() != &*app.key {
        return Err(StatusCode::FORBIDDEN);
    }
    let amount = parameters.amount.unwrap_or_else(|| "100.00".into());
    let currency = parameters.currency.unwrap_or_else(|| "EUR".into());
    let minor: i64 = amount
        .replace('.', "")
        .parse()
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    let hash = Sha256::digest(format!("{amount}{currency}")).to_vec();
    let id = Uuid::now_v7();
    let began = Instant::now();
    let timestamp: OffsetDateTime = sqlx::query_scalar(INSERT)
        .bind(id)
        .bind(None::<&str>)
        .bind(hash)
        .bind(minor)
        .bind(2_i16)
        .bind(&currency)
        .bind("local")
        .bind("approved")
        .bind(0_i32)
        .fetch_one(&app.pool)
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(Payment {
        transaction_id: id,
        status: "approved",
        amount,
        currency,
        region: "local",
        processing_time_ms: 0,
        database_time_ms: began.elapsed().as_secs_f64() * 1e3,
        timestamp,
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let read = |name: &str| -> std::io::Result<String> {
        let path = std::env::var(name).map_err(std::io::Error::other)?;
        Ok(std::fs::read_to_string(path)?.trim().to_owned())
    };
    let options: PgConnectOptions = read("DATABASE_URL_FILE")?.parse()?;
    let size: u32 = std::env::var("POOL_SIZE")?.parse()?;
    let pool = PgPoolOptions::new()
        .min_connections(size)
        .max_connections(size)
        // The careful default costs a round trip before every use, which is not wanted here.
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    // All connections are open and prepared before the first request, as the service's are.
    let mut connections = Vec::new();
    for _ in 0..size {
        let mut connection = pool.acquire().await?;
        sqlx::Executor::prepare(&mut *connection, INSERT).await?;
        connections.push(connection);
    }
    drop(connections);
    let app = App {
        pool,
        key: Sha256::digest(read("API_SECRET_KEY_FILE")?)
            .as_slice()
            .into(),
    };
    let router = Router::new()
        .route("/api/payment/simulate", get(simulate))
        .with_state(app);
    let address = format!("127.0.0.1:{}", std::env::var("PORT")?);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        router,
    )
    .await?;
    Ok(())
}
