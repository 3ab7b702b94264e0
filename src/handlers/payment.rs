//! `GET /api/payment/simulate`: one simulated payment, committed before the answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::{App, Caller, HungUp};
use crate::clock::{self, POSTGRES_EPOCH_MICROS, Rfc3339};
use crate::hex;
use crate::http::problem::{Code, Problem};
use crate::http::response::Name;
use crate::http::{Content, Field, Request, Status};
use crate::log;
use crate::metrics::Metrics;
use crate::payment::{self, Amount, Currency, IdempotencyKey, Parameters};
use crate::pg::payments::Insert;
use crate::pool::{Failure, Unavailable, Written};

/// A payment that its caller may make and, once it has run, its result.
pub struct Payment {
    payment: Insert,
    /// Once it has begun.
    in_flight: Option<InFlight>,
    /// The caller's own limit.
    timeout: Option<Duration>,
    /// Until it has run: `Abandoned`, as nothing was written.
    result: Result<Written, Failure>,
    elapsed: Duration,
}

/// A payment that is not made, and why.
pub(super) struct Rejection {
    pub(super) code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
}

/// Checks the API key, then the rest of the request; writes nothing yet.
pub(super) fn accept(app: &App, request: &Request<'_>) -> Result<Payment, Rejection> {
    authenticate(app, request.api_key)?;
    let query = request.query.map(str::as_bytes);
    let parameters = Parameters::from_query(query, app.default_currency)
        .map_err(|error| Rejection::invalid(error.field, error.detail))?;
    let idempotency_key = single(request.idempotency_key, "Idempotency-Key")?
        .map(IdempotencyKey::parse)
        .transpose()
        .map_err(|error| Rejection::invalid("Idempotency-Key", error.to_string()))?;
    let timeout = single(request.timeout_ms, "X-Request-Timeout-Ms")?
        .map(milliseconds_of)
        .transpose()?;
    let random = app.random.borrow_mut().bytes();
    Ok(Payment {
        in_flight: None,
        payment: Insert {
            transaction_id: payment::transaction_id(clock::unix_micros(), &random),
            idempotency_key,
            request_hash: parameters.request_hash(),
            amount: parameters.amount,
            currency: parameters.currency,
            outcome: parameters.outcome,
            processing_ms: parameters.processing_ms,
        },
        timeout,
        result: Err(Failure::Abandoned),
        elapsed: Duration::ZERO,
    })
}

fn authenticate(app: &App, presented: Field<'_>) -> Result<(), Rejection> {
    let (code, detail) = match presented {
        Field::Absent => (Code::ApiKeyMissing, "X-API-Key is missing"),
        Field::One(key) if app.api_keys.borrow().verify(key) => return Ok(()),
        Field::One(_) => (Code::ApiKeyWrong, "X-API-Key is not a valid key"),
        Field::Repeated => (Code::ApiKeyWrong, "X-API-Key is repeated"),
    };
    Err(Rejection {
        code,
        detail: detail.into(),
        field: Some("X-API-Key".into()),
    })
}

fn single<'a>(field: Field<'a>, name: &'static str) -> Result<Option<&'a [u8]>, Rejection> {
    match field {
        Field::Absent => Ok(None),
        Field::One(value) => Ok(Some(value)),
        Field::Repeated => Err(Rejection::invalid(name, "must not be repeated")),
    }
}

fn milliseconds_of(value: &[u8]) -> Result<Duration, Rejection> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(number) if digits && number > 0 => Ok(Duration::from_millis(number.into())),
        _ => Err(Rejection::invalid(
            "X-Request-Timeout-Ms",
            "must be a whole number of milliseconds from 1 to 4294967295",
        )),
    }
}

impl Rejection {
    fn invalid(field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Code::InvalidRequest,
            detail: detail.into(),
            field: Some(field.into()),
        }
    }

    pub(super) fn write(&self, app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
        let problem = Problem {
            field: self.field.as_deref(),
            ..Problem::of(self.code, &self.detail)
        };
        caller.problem(app, &problem, out)
    }
}

impl Payment {
    /// Takes its place among the payments under way, if there is room.
    pub(super) fn begin(&mut self, app: &App) -> Result<(), Rejection> {
        if app.metrics.payments.in_flight.get() >= app.in_flight_max as i64 {
            return Err(Rejection {
                code: Code::TooManyInFlight,
                detail: "too many payments are in progress; nothing was written".into(),
                field: None,
            });
        }
        self.in_flight = Some(InFlight::enter(app.metrics.clone()));
        Ok(())
    }

    /// Simulates the acquirer, then writes.
    ///
    /// Dropped at an await, it leaves what it waits for; once the write was sent, its outcome is
    /// unknown to everybody but the database.
    pub(super) async fn run(
        &mut self,
        app: &App,
        hang_up: impl Future<Output = ()>,
    ) -> Result<std::time::Instant, HungUp> {
        let mut hang_up = pin!(hang_up);
        let processing_ms = self.payment.processing_ms;
        if processing_ms > 0 {
            let mut acquirer = pin!(sleep(Duration::from_millis(processing_ms.into())));
            let processed = poll_fn(|cx| match acquirer.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => hang_up.as_mut().poll(cx).map(|()| false),
            });
            if !processed.await {
                return Err(HungUp);
            }
        }
        let began = Instant::now();
        let limit = self
            .timeout
            .map_or(app.payment_deadline, |own| own.min(app.payment_deadline));
        self.result = app.pool.write(&self.payment, began + limit, hang_up).await;
        if matches!(self.result, Err(Failure::Abandoned)) {
            return Err(HungUp);
        }
        let over = Instant::now();
        self.elapsed = over - began;
        app.metrics.payments.durations.observe(self.elapsed);
        Ok(over.into_std())
    }
}

impl Payment {
    /// The id that the answer may name: of the row that it reports, or of a row that may exist.
    pub(super) fn transaction_id(&self) -> Option<[u8; 16]> {
        let own = self.payment.transaction_id;
        match &self.result {
            Ok(written) => Some(written.replayed.map_or(own, |row| row.transaction_id)),
            Err(Failure::Deadline { .. } | Failure::Refused(_)) => Some(own),
            Err(_) => None,
        }
    }
}

/// One of the payments under way.
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn enter(metrics: Arc<Metrics>) -> Self {
        metrics.payments.in_flight.add(1);
        Self(metrics)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.payments.in_flight.add(-1);
    }
}

/// What a 200 says: of this payment, or of the one that it repeats.
struct Paid {
    transaction_id: [u8; 16],
    outcome: payment::Outcome,
    amount: Amount,
    currency: Currency,
    processing_ms: u16,
}

impl Paid {
    /// Appends the JSON text, by hand: a serializer and its formatting take several times as many
    /// instructions. No value has a character that JSON escapes, nor may a region's name have one.
    fn write(&self, region: &str, database_ms: &[u8], created_at: &Rfc3339, out: &mut Vec<u8>) {
        let mut put = |text: &[u8]| out.extend_from_slice(text);
        put(b"{\"transaction_id\":\"");
        put(&hex::uuid(&self.transaction_id));
        put(b"\",\"status\":\"");
        put(self.outcome.as_str().as_bytes());
        // As a string: a JSON number becomes a binary fraction in most readers.
        put(b"\",\"amount\":\"");
        let Ok(()) = self.amount.write(|piece| -> Result<(), Infallible> {
            put(piece.as_bytes());
            Ok(())
        });
        put(b"\",\"currency\":\"");
        put(self.currency.code().as_bytes());
        put(b"\",\"region\":\"");
        put(region.as_bytes());
        put(b"\",\"processing_time_ms\":");
        put(itoa::Buffer::new().format(self.processing_ms).as_bytes());
        put(b",\"database_time_ms\":");
        put(database_ms);
        put(b",\"timestamp\":\"");
        put(created_at);
        put(b"\"}");
    }
}

impl Payment {
    pub(super) fn write(&self, app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
        match &self.result {
            Ok(written) => self.write_success(app, caller, written, out),
            Err(failure) => self.write_failure(app, caller, failure, out),
        }
    }

    fn write_success(
        &self,
        app: &App,
        caller: &Caller,
        written: &Written,
        out: &mut Vec<u8>,
    ) -> Status {
        let payments = &app.metrics.payments;
        let payment = &self.payment;
        let paid = match &written.replayed {
            Some(row) => {
                payments.replayed.increment();
                Paid {
                    transaction_id: row.transaction_id,
                    outcome: row.outcome,
                    amount: row.amount,
                    currency: row.currency,
                    processing_ms: row.processing_ms,
                }
            }
            None => {
                match payment.outcome {
                    payment::Outcome::Approved => payments.approved.increment(),
                    payment::Outcome::Declined => payments.declined.increment(),
                }
                Paid {
                    transaction_id: payment.transaction_id,
                    outcome: payment.outcome,
                    amount: payment.amount,
                    currency: payment.currency,
                    processing_ms: payment.processing_ms,
                }
            }
        };
        let database_ms = clock::milliseconds_text(written.database_time);
        let total_ms = clock::milliseconds_text(self.elapsed);
        let timing = [b"db;dur=", &*database_ms, b", total;dur=", &total_ms];
        let created_at = written.created_at.saturating_add(POSTGRES_EPOCH_MICROS);
        let created_at = app.timestamps.format(created_at);
        let response = caller
            .respond(app, Status::Ok, out)
            .header_of(Name::ServerTiming, &timing);
        let response = match written.replayed {
            Some(_) => response.header(Name::IdempotencyReplayed, b"true"),
            None => response,
        };
        response.body(Content::Json, |out| {
            let region = &app.metrics.build().region;
            paid.write(region, &database_ms, &created_at, out);
        });
        Status::Ok
    }

    fn write_failure(
        &self,
        app: &App,
        caller: &Caller,
        failure: &Failure,
        out: &mut Vec<u8>,
    ) -> Status {
        let (code, detail) = describe(failure);
        let id = hex::uuid(&self.payment.transaction_id);
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let outcome = match failure {
            Failure::Deadline { sent: true } => Some("unknown"),
            Failure::Deadline { sent: false } => Some("not_sent"),
            _ => None,
        };
        let problem = Problem {
            transaction_id: self.transaction_id().map(|_| id),
            outcome,
            field: matches!(failure, Failure::KeyReused).then_some("Idempotency-Key"),
            ..Problem::of(code, detail)
        };
        let line = || {
            log::error("payment_failed")
                .field("request_id", caller.request_id.as_str())
                .field("traceparent", &caller.traceparent.as_deref())
                .field("transaction_id", id)
                .field("status", &code.status().code())
                .field("code", code.as_str())
        };
        match failure {
            Failure::Refused(error) => line().field("reason", &error.to_string()).emit(),
            Failure::Deadline { .. } => line().emit(),
            Failure::Unavailable(_) => app.note_refused(caller, code),
            Failure::KeyReused | Failure::Abandoned => {}
        }
        caller.problem(app, &problem, out)
    }
}

fn describe(failure: &Failure) -> (Code, &'static str) {
    match failure {
        Failure::Unavailable(Unavailable::WaitersFull) => (
            Code::PoolExhausted,
            "too many payments are waiting for a database connection; nothing was written",
        ),
        Failure::Unavailable(Unavailable::CheckoutTimeout) => (
            Code::PoolExhausted,
            "no database connection became free in time; nothing was written",
        ),
        Failure::Unavailable(Unavailable::Disconnected) => (
            Code::DatabaseUnavailable,
            "there is no connection to the database; nothing was written",
        ),
        Failure::Deadline { sent: false } | Failure::Abandoned => (
            Code::DeadlineExceeded,
            "the deadline passed before the payment was sent to the database",
        ),
        Failure::Deadline { sent: true } => (
            Code::DeadlineExceeded,
            "the deadline passed and the outcome is unknown; repeat with the same Idempotency-Key",
        ),
        Failure::KeyReused => (
            Code::IdempotencyKeyReused,
            "the key belongs to a payment with other parameters",
        ),
        Failure::Refused(_) => (
            Code::DatabaseRefused,
            "the database refused the payment; nothing was written",
        ),
    }
}
