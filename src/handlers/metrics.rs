//! `GET /metrics`: Prometheus' scrape.

use super::{App, Caller};
use crate::http::response::Name;
use crate::http::{Content, Request, Status};
use crate::metrics::accepts_openmetrics;

pub(super) fn answer(
    app: &App,
    request: &Request<'_>,
    caller: &Caller,
    out: &mut Vec<u8>,
) -> Status {
    let response = caller
        .respond(app, Status::Ok, out)
        .header(Name::Vary, b"Accept");
    match accepts_openmetrics(request.accept) {
        true => response.body(Content::OpenMetrics, |out| app.openmetrics.write(out)),
        false => response.body(Content::PrometheusText, |out| app.metrics.write_text(out)),
    }
    Status::Ok
}
