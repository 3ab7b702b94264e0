//! OpenMetrics 1.0 text, written by prometheus-client.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

use super::Metrics;
use super::families::{self, Kind, Sink, Value, Visitor};

/// A registry that sees the cells of [`Metrics`].
#[derive(Debug)]
pub struct OpenMetrics(Registry);

impl OpenMetrics {
    /// A view of `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Cells(metrics)));
        Self(registry)
    }

    /// Appends everything, with the end mark.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing into memory does not fail.
        let _ = text::encode(&mut Utf8(out), &self.0);
    }
}

struct Utf8<'a>(&'a mut Vec<u8>);

impl fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[derive(Debug)]
struct Cells(Arc<Metrics>);

impl Collector for Cells {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut visit = Encode {
            encoder,
            result: Ok(()),
        };
        families::visit(&self.0, &mut visit);
        visit.result
    }
}

struct Encode<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

impl Visitor for Encode<'_> {
    fn family(&mut self, name: &str, help: &str, kind: Kind, samples: &dyn Fn(Sink<'_>)) {
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        match self.encoder.encode_descriptor(name, help, None, kind) {
            Err(error) => self.result = Err(error),
            Ok(mut family) => samples(&mut |labels, value| {
                let written = match labels {
                    [] => encode(&mut family, &value),
                    _ => family
                        .encode_family(&labels)
                        .and_then(|mut one| encode(&mut one, &value)),
                };
                self.result = self.result.and(written);
            }),
        }
    }
}

fn encode(encoder: &mut MetricEncoder<'_>, value: &Value<'_>) -> fmt::Result {
    match value {
        Value::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram {
            buckets,
            count,
            sum,
        } => encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}

/// Whether an `Accept` header asks for OpenMetrics, and not less than for text.
///
/// A scraper names both with weights (RFC 9110 section 12.5.1); without a header, text is sent.
pub fn accepts_openmetrics(accept: Option<&[u8]>) -> bool {
    let weight = |wanted: &[&str]| {
        let accept = std::str::from_utf8(accept.unwrap_or_default()).unwrap_or_default();
        let matching = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next()?;
            let is_wanted = wanted.iter().any(|name| media.eq_ignore_ascii_case(name));
            // The weight's name has no case (RFC 9110 section 12.4.2, RFC 5234 section 2.3).
            let quality = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
            is_wanted.then(|| quality.map_or(Some(1.0), |q| q.parse::<f32>().ok()))?
        });
        matching.fold(0.0_f32, f32::max)
    };
    let openmetrics = weight(&["application/openmetrics-text"]);
    openmetrics > 0.0 && openmetrics >= weight(&["text/plain", "text/*"])
}

#[cfg(test)]
mod tests {
    #[test]
    fn openmetrics_is_sent_to_those_who_prefer_it() {
        for (accept, expected) in [
            (None, false),
            (Some(""), false),
            (Some("*/*"), false),
            (Some("text/plain"), false),
            (Some("application/openmetrics-text"), true),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ),
                true,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;q=0.2, text/plain;version=0.0.4;q=0.3",
                ),
                false,
            ),
            (Some("application/openmetrics-text;q=0"), false),
            (Some("application/openmetrics-text;Q=0"), false),
            (
                Some("application/openmetrics-text;q=0;version=1.0.0"),
                false,
            ),
            (Some(", application/openmetrics-text,"), true),
            (Some("application/openmetrics-text;q=nonsense"), false),
        ] {
            assert_eq!(
                super::accepts_openmetrics(accept.map(str::as_bytes)),
                expected,
                "{accept:?}"
            );
        }
    }
}
