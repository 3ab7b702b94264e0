//! `GET /metrics`: Prometheus' scrape.

use super::{App, Caller};
use crate::http::response::Name;
use crate::http::{Request, Status};
use crate::metrics::{OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE, accepts_openmetrics};

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
        true => response.body(OPENMETRICS_CONTENT_TYPE, |out| app.openmetrics.write(out)),
        false => response.body(TEXT_CONTENT_TYPE, |out| app.metrics.write_text(out)),
    }
    Status::Ok
}
