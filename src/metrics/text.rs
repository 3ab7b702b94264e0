//! Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::io::Write;

use super::Metrics;
use super::families::{self, Kind, Labels, Sink, Value, Visitor};

pub(super) fn write(metrics: &Metrics, out: &mut Vec<u8>) {
    families::visit(metrics, &mut Text(out));
}

struct Text<'a>(&'a mut Vec<u8>);

impl Visitor for Text<'_> {
    // Writing into memory does not fail.
    fn family(&mut self, name: &str, help: &str, kind: Kind, samples: &dyn Fn(Sink<'_>)) {
        let (suffix, kind) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
        };
        let _ = writeln!(
            self.0,
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}"
        );
        samples(&mut |labels, value| match value {
            Value::Counter(value) | Value::Gauge(value) => {
                self.sample(&[name, suffix], labels, None, value);
            }
            Value::Histogram {
                buckets,
                count,
                sum,
            } => {
                let mut cumulative = 0;
                for (bound, count) in buckets {
                    cumulative += count;
                    self.sample(&[name, "_bucket"], labels, Some(*bound), cumulative);
                }
                self.sample(&[name, "_sum"], labels, None, sum);
                self.sample(&[name, "_count"], labels, None, count);
            }
        });
    }
}

impl Text<'_> {
    fn sample(
        &mut self,
        name: &[&str],
        labels: Labels<'_>,
        bound: Option<f64>,
        value: impl std::fmt::Display,
    ) {
        for part in name {
            self.0.extend_from_slice(part.as_bytes());
        }
        let mut separator = '{';
        for (label, value) in labels {
            let _ = write!(self.0, "{separator}{label}=\"");
            self.escaped(value);
            self.0.push(b'"');
            separator = ',';
        }
        match bound {
            Some(bound) if bound.is_finite() => {
                let _ = write!(self.0, "{separator}le=\"{bound}\"");
                separator = ',';
            }
            Some(_) => {
                let _ = write!(self.0, "{separator}le=\"+Inf\"");
                separator = ',';
            }
            None => {}
        }
        let _ = writeln!(
            self.0,
            "{} {value}",
            if separator == ',' { "}" } else { "" }
        );
    }

    fn escaped(&mut self, value: &str) {
        for &byte in value.as_bytes() {
            match byte {
                b'\\' => self.0.extend_from_slice(b"\\\\"),
                b'"' => self.0.extend_from_slice(b"\\\""),
                b'\n' => self.0.extend_from_slice(b"\\n"),
                _ => self.0.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Build, Metrics};
    use std::time::Duration;

    #[test]
    fn samples_have_escaped_labels_and_cumulative_buckets() {
        let metrics = Metrics::new(Build {
            version: "1",
            revision: "r",
            region: "a\"b\\c\nd".into(),
            environment: "e".into(),
            ..Build::default()
        });
        metrics
            .payments
            .durations
            .observe(Duration::from_micros(90));
        metrics
            .payments
            .durations
            .observe(Duration::from_micros(200));
        let mut out = Vec::new();
        metrics.write_text(&mut out);
        let text = String::from_utf8(out).unwrap();
        for line in [
            "# TYPE http_requests_total counter",
            "http_requests_total{method=\"GET\",endpoint=\"/api/payment/simulate\",status=\"200\"} 0",
            "payment_processing_duration_seconds_bucket{le=\"0.0001\"} 1",
            "payment_processing_duration_seconds_bucket{le=\"0.00025\"} 2",
            "payment_processing_duration_seconds_bucket{le=\"+Inf\"} 2",
            "payment_processing_duration_seconds_sum 0.00029",
            "payment_processing_duration_seconds_count 2",
            "build_info{version=\"1\",revision=\"r\",region=\"a\\\"b\\\\c\\nd\",environment=\"e\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
