//! What each endpoint answers: one file each. Handlers see requests, never bytes of sockets.

mod health;
mod info;
mod live;
mod metrics;
mod payment;
mod ready;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

use crate::clock::Rfc3339Cache;
use crate::config::{ApiKeys, Config};
use crate::hex;
use crate::http::date::DateCache;
use crate::http::problem::{Code, Problem};
use crate::http::response::{Context, Name};
use crate::http::trace::{self, RequestId, TraceParent};
use crate::http::{Content, Field, Method, Refusal, Request, Response, Status, Version};
use crate::limits::{IN_FLIGHT_MAX_COUNT, OTHERS_MAX_COUNT, RETRY_AFTER_S};
use crate::log;
use crate::metrics::{Metrics, OpenMetrics};
use crate::payment::Currency;
use crate::pool::Pool;
use crate::random::Random;
use crate::route::Route;

/// What handlers work with.
pub struct App {
    default_currency: Currency,
    payment_deadline: Duration,
    in_flight_max: usize,
    health_waiting: Cell<usize>,
    log_requests: bool,
    pool: Pool<TcpStream>,
    metrics: Arc<Metrics>,
    openmetrics: OpenMetrics,
    api_keys: RefCell<ApiKeys>,
    draining: Cell<bool>,
    random: RefCell<Random>,
    date: DateCache,
    timestamps: Rfc3339Cache,
    /// Lines about payments that were refused, of each code.
    refusals: RefCell<[log::Limited; Code::ALL.len()]>,
}

impl App {
    /// What handlers need of a configuration.
    pub fn new(config: &Config, pool: Pool<TcpStream>, metrics: Arc<Metrics>) -> Self {
        Self {
            default_currency: config.default_currency,
            payment_deadline: config.payment_deadline,
            in_flight_max: in_flight_max(config.max_connections),
            health_waiting: Cell::new(0),
            log_requests: config.log_requests,
            pool,
            openmetrics: OpenMetrics::new(metrics.clone()),
            metrics,
            api_keys: RefCell::new(config.api_keys.clone()),
            draining: Cell::new(false),
            random: RefCell::default(),
            date: DateCache::default(),
            timestamps: Rfc3339Cache::default(),
            refusals: RefCell::default(),
        }
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The pool.
    pub fn pool(&self) -> &Pool<TcpStream> {
        &self.pool
    }

    /// Puts other API keys in force.
    pub fn replace_api_keys(&self, keys: ApiKeys) {
        *self.api_keys.borrow_mut() = keys;
    }

    /// Whether a signal has come.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// From now on answers announce that the connection ends, and `/readyz` that no requests should
    /// come.
    pub fn begin_drain(&self) {
        self.draining.set(true);
        self.metrics.http.draining.set(1);
    }

    /// Counts an answered request, and logs it if that was asked for.
    pub fn note(&self, caller: &Caller, status: Status, answered: &Next) {
        let elapsed = caller.received.elapsed();
        self.metrics
            .http
            .request(caller.route, caller.method, status, elapsed);
        if self.log_requests {
            let id = answered.transaction_id().map(|id| hex::uuid(&id));
            let id = id.as_ref().and_then(|id| std::str::from_utf8(id).ok());
            log::info("request")
                .field("request_id", caller.request_id.as_str())
                .field("traceparent", &caller.traceparent.as_deref())
                .field("method", caller.method.as_str())
                .field("endpoint", caller.route.as_str())
                .field("transaction_id", &id)
                .field("status", &status.code())
                .field("duration_ms", &milliseconds(elapsed))
                .emit();
        }
    }

    /// Logs payments refused for lack of room: at most one line in a while for each code, since an
    /// overload refuses thousands a second.
    #[allow(clippy::indexing_slicing)] // by an enum, over an array of its size
    fn note_refused(&self, caller: &Caller, code: Code) {
        if let Some(line) = self.refusals.borrow_mut()[code as usize].warn("payment_refused") {
            line.field("request_id", caller.request_id.as_str())
                .field("traceparent", &caller.traceparent.as_deref())
                .field("status", &code.status().code())
                .field("code", code.as_str())
                .emit();
        }
    }
}

/// Payments that may be in flight at the same time: some connections are left to other requests,
/// `/livez` among them.
fn in_flight_max(max_connections: usize) -> usize {
    let others = (max_connections / 8).min(OTHERS_MAX_COUNT);
    IN_FLIGHT_MAX_COUNT.min(max_connections - others)
}

/// The caller, and how to answer it.
#[derive(Debug)]
pub struct Caller {
    route: Route,
    /// The request's.
    pub method: Method,
    version: Version,
    /// Whether the connection is used again.
    pub keep_alive: bool,
    request_id: RequestId,
    traceparent: Option<TraceParent>,
    received: Instant,
    /// The time for its answer's `Date`: when it came in or, if it had to wait, when its result was
    /// there.
    pub now: Instant,
}

impl Caller {
    /// The caller of `request`, whose last byte came in at `received`.
    pub fn new(app: &App, request: &Request<'_>, received: Instant) -> Self {
        let random = &app.random;
        let id = request.request_id.one().and_then(trace::request_id);
        Self {
            route: Route::of(request.path),
            method: request.method,
            version: request.version,
            keep_alive: request.keep_alive && !app.is_draining(),
            request_id: id.unwrap_or_else(|| trace::new_request_id(random.borrow_mut().bytes())),
            traceparent: match request.traceparent {
                Field::Absent => None,
                sent => {
                    let sent = sent.one().and_then(trace::traceparent);
                    Some(sent.unwrap_or_else(|| {
                        let mut random = random.borrow_mut();
                        trace::new_traceparent(random.bytes(), random.bytes())
                    }))
                }
            },
            received,
            now: received,
        }
    }

    /// Begins an answer with the header fields that all of them have.
    fn respond<'a>(&self, app: &App, status: Status, out: &'a mut Vec<u8>) -> Response<'a> {
        let context = Context {
            version: self.version,
            keep_alive: self.keep_alive,
            method: self.method,
            date: app.date.at(self.now),
        };
        let response = Response::begin(out, &context, status)
            .header(Name::RequestId, self.request_id.as_bytes());
        let response = match &self.traceparent {
            Some(traceparent) => response.header(Name::TraceParent, traceparent.as_bytes()),
            None => response,
        };
        match self.route {
            Route::Metrics | Route::Info | Route::Unmatched => response,
            _ => response.no_store(),
        }
    }

    /// Answers with a problem, whose status decides which header fields go with it.
    fn problem(&self, app: &App, problem: &Problem<'_>, out: &mut Vec<u8>) -> Status {
        let status = problem.status;
        let response = self.respond(app, status, out);
        let response = match status {
            Status::Unauthorized => response.header(
                Name::WwwAuthenticate,
                b"ApiKey realm=\"payment-latency-api\"",
            ),
            Status::MethodNotAllowed => {
                response.header(Name::Allow, self.route.allowed_methods().as_bytes())
            }
            Status::ServiceUnavailable => retry_after(response),
            _ => response,
        };
        let problem = Problem {
            request_id: Some(&self.request_id),
            ..problem.clone()
        };
        response.body(Content::Problem, |out| problem.write(out));
        status
    }
}

/// What a handler made of a request.
#[allow(clippy::large_enum_variant)] // a box would be an allocation for each payment
pub enum Next {
    /// The answer is written.
    Answered(Status),
    /// The answer needs the database.
    Deferred(Deferred),
}

impl Next {
    /// The payment that the answer speaks of.
    fn transaction_id(&self) -> Option<[u8; 16]> {
        match self {
            Self::Deferred(Deferred::Payment(payment)) => payment.transaction_id(),
            _ => None,
        }
    }
}

/// A request that waits for the database. It is not moved while it waits, since a payment is large.
#[allow(clippy::large_enum_variant)] // a box would be an allocation for each payment
pub enum Deferred {
    /// A payment.
    Payment(payment::Payment),
    /// A health check.
    Health(health::State),
}

/// The caller has hung up, and nothing was written.
pub struct HungUp;

/// Passes `request` to its route's handler.
pub fn handle(app: &App, request: &Request<'_>, caller: &Caller, out: &mut Vec<u8>) -> Next {
    let allowed = match (caller.route, request.method) {
        (_, Method::Get) | (Route::Unmatched, _) => true,
        (Route::Payment, _) => false,
        (_, method) => method == Method::Head,
    };
    if !allowed {
        let detail = "this endpoint does not support this method";
        let problem = Problem::of(Code::MethodNotAllowed, detail);
        return Next::Answered(caller.problem(app, &problem, out));
    }
    Next::Answered(match caller.route {
        Route::Payment => match payment::accept(app, request) {
            Ok(payment) => return Next::Deferred(Deferred::Payment(payment)),
            Err(rejection) => rejection.write(app, caller, out),
        },
        Route::Health => return Next::Deferred(Deferred::Health(health::State::default())),
        Route::Livez => live::answer(app, caller, out),
        Route::Readyz => ready::answer(app, caller, out),
        Route::Metrics => metrics::answer(app, request, caller, out),
        Route::Info => info::answer(app, caller, out),
        Route::Unmatched => {
            let problem = Problem::of(Code::NotFound, "there is no such endpoint");
            caller.problem(app, &problem, out)
        }
    })
}

/// Answers what is no request, with `method` as far as it is known, and says that the connection
/// ends.
pub fn refuse(app: &App, refusal: Refusal, method: Method, out: &mut Vec<u8>) {
    let context = Context {
        version: Version::Http11,
        keep_alive: false,
        method,
        date: app.date.at(Instant::now()),
    };
    let status = refusal.status();
    let response = Response::begin(out, &context, status);
    let response = match status {
        Status::ServiceUnavailable => retry_after(response),
        _ => response,
    };
    let problem = Problem::new(status, refusal.code(), refusal.detail());
    response.body(Content::Problem, |out| problem.write(out));
}

impl Deferred {
    /// Begins it, after all earlier answers of its caller were sent; the status if it was refused
    /// instead.
    pub fn begin(&mut self, app: &App, caller: &Caller, out: &mut Vec<u8>) -> Option<Status> {
        match self {
            Self::Payment(payment) => {
                let rejection = payment.begin(app).err()?;
                app.note_refused(caller, rejection.code);
                Some(rejection.write(app, caller, out))
            }
            Self::Health(_) => None,
        }
    }

    /// Runs it, and returns the time when it was over.
    pub async fn run(
        &mut self,
        app: &App,
        hang_up: impl Future<Output = ()>,
    ) -> Result<Instant, HungUp> {
        match self {
            Self::Payment(payment) => payment.run(app, hang_up).await,
            Self::Health(state) => {
                // In a box: otherwise each payment would hold the room that a check takes.
                Box::pin(state.check(app)).await;
                Ok(Instant::now())
            }
        }
    }

    /// Writes the answer, once it has run.
    pub fn write(&self, app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
        match self {
            Self::Payment(payment) => payment.write(app, caller, out),
            Self::Health(state) => state.write(app, caller, out),
        }
    }
}

fn retry_after(response: Response<'_>) -> Response<'_> {
    let mut digits = itoa::Buffer::new();
    response.header(Name::RetryAfter, digits.format(RETRY_AFTER_S).as_bytes())
}

/// A duration in milliseconds, to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1_000.0
}

fn json(value: &impl serde::Serialize) -> impl FnOnce(&mut Vec<u8>) + '_ {
    move |out| {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_leave_some_of_few_connections_to_others() {
        let expected = [(1, 1), (2, 2), (8, 7), (100, 88), (1_000, 984)];
        for (connections, payments) in expected {
            assert_eq!(in_flight_max(connections), payments, "{connections}");
        }
        assert_eq!(in_flight_max(12_000), IN_FLIGHT_MAX_COUNT);
    }
}
