//! `GET /health`: the state of the service and its database.

use serde::Serialize;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

use super::{App, Caller, json, milliseconds, retry_after};
use crate::clock;
use crate::http::{Content, Status};
use crate::limits::{HEALTH_FRESH_MS, HEALTH_TIMEOUT_MS, HEALTH_WAITING_MAX_COUNT};

/// Whether the database answered.
#[derive(Default)]
pub struct State {
    connected: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    region: &'a str,
    environment: &'a str,
    database: &'static str,
    latency_ms: Option<f64>,
    uptime_seconds: u64,
    timestamp: &'a str,
    pool: Pool,
}

#[derive(Serialize)]
struct Pool {
    size: usize,
    open: usize,
    idle: usize,
    waiting: usize,
}

/// One of the checks that wait.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl State {
    /// Asks the database, unless it answered a moment ago or too many checks wait already.
    pub(super) async fn check(&mut self, app: &App) {
        let fresh = Duration::from_millis(HEALTH_FRESH_MS);
        let waiting = &app.health_waiting;
        if waiting.get() >= HEALTH_WAITING_MAX_COUNT {
            self.connected = app.pool.has_answered_within(fresh);
            return;
        }
        waiting.set(waiting.get() + 1);
        let _waiting = Waiting(waiting);
        let deadline = Instant::now() + Duration::from_millis(HEALTH_TIMEOUT_MS);
        self.connected = app.pool.check(fresh, deadline).await;
    }

    pub(super) fn write(&self, app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
        let figures = app.pool.figures();
        let build = app.metrics.build();
        let (status, word, database) = match self.connected {
            true => (Status::Ok, "healthy", "connected"),
            false => (Status::ServiceUnavailable, "degraded", "disconnected"),
        };
        let body = Body {
            status: word,
            region: &build.region,
            environment: &build.environment,
            database,
            latency_ms: app.pool.last_round_trip().map(milliseconds),
            uptime_seconds: app.metrics.uptime().as_secs(),
            timestamp: &clock::now_rfc3339(),
            pool: Pool {
                size: figures.size,
                open: figures.open,
                idle: figures.idle,
                waiting: figures.waiting,
            },
        };
        let response = caller.respond(app, status, out);
        let response = if self.connected {
            response
        } else {
            retry_after(response)
        };
        response.body(Content::Json, json(&body));
        status
    }
}
