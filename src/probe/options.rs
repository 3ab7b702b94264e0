//! What `probe` is asked to do.

use lexopt::Error;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::{
    PROBE_CONNECTIONS, PROBE_DURATION_MS, PROBE_RATE_MAX, PROBE_RATE_MIN, PROBE_REQUESTS_MAX,
    PROBE_TIMEOUT_MS,
};

/// How `probe` is used.
pub const HELP: &str = "\
Usage: payment-latency-api probe URL [OPTIONS]

Requests an http:// URL once, and exits 0 if the answer is 2xx. A path alone, such as /livez, goes to
where `serve` listens by LISTEN_ADDRESS and PORT. With --rate, sends requests in an open loop at random
times, prints latency percentiles, and exits 0 if every answer was 2xx and the p99 was within the limit.
Latency is counted from when a request was due.

  --rate N              requests per second
  --count N             number of requests (with --rate; default: as many as fit in the duration)
  --duration TIME       how long, such as 10s, 500ms or 2m (with --rate; default 10s unless --count)
  --limit-p99-ms N      exits 1 if the 99th percentile is above N milliseconds (with --rate)
  --header 'NAME: V'    sends a header field; may be repeated
  --timeout-ms N        time for one request, from when it is due (default 5000)
  --connections N       maximum number of connections (default 32)

Exit codes: 0 passed, 1 failed, 64 usage error.";

/// What to send, where, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub(super) host: String,
    pub(super) port: u16,
    /// The whole request, as it is sent.
    pub(super) request: Vec<u8>,
    /// Requests a second; without it there is one request.
    pub(super) rate: Option<f64>,
    pub(super) count: u64,
    pub(super) duration: Duration,
    pub(super) limit_p99_ms: Option<f64>,
    pub(super) timeout: Duration,
    pub(super) connections: u64,
}

#[derive(Default)]
struct Given {
    url: Option<String>,
    headers: String,
    rate: Option<f64>,
    count: Option<u64>,
    duration: Option<Duration>,
    limit_p99_ms: Option<f64>,
    timeout_ms: Option<u64>,
    connections: Option<u64>,
}

impl Options {
    /// Reads what follows the verb; `None` when help is asked for. A path alone is asked of
    /// `own_address`.
    ///
    /// # Errors
    /// A sentence about the first mistake, which names the option.
    pub fn parse(
        parser: &mut lexopt::Parser,
        own_address: impl FnOnce() -> Result<SocketAddr, Error>,
    ) -> Result<Option<Self>, Error> {
        let mut given = Given::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(None),
                Long("rate") => given.rate = Some(positive("--rate", &parser.value()?)?),
                Long("limit-p99-ms") => {
                    given.limit_p99_ms = Some(positive("--limit-p99-ms", &parser.value()?)?);
                }
                Long("count") => {
                    given.count = Some(whole("--count", &parser.value()?, 1, PROBE_REQUESTS_MAX)?);
                }
                Long("duration") => given.duration = Some(duration(&parser.value()?)?),
                Long("header") => given.add_header(&parser.value()?)?,
                Long("timeout-ms") => {
                    let (min, max) = (PROBE_TIMEOUT_MS.min, PROBE_TIMEOUT_MS.max);
                    given.timeout_ms = Some(whole("--timeout-ms", &parser.value()?, min, max)?);
                }
                Long("connections") => {
                    let (min, max) = (PROBE_CONNECTIONS.min, PROBE_CONNECTIONS.max);
                    given.connections = Some(whole("--connections", &parser.value()?, min, max)?);
                }
                Value(url) if given.url.is_none() => {
                    given.url = Some(url.to_string_lossy().into_owned());
                }
                other => return Err(other.unexpected()),
            }
        }
        given.finish(own_address).map(Some)
    }

    #[cfg(test)]
    pub(super) fn parse_all(arguments: &[&str]) -> Result<Self, Error> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let own_address = || Err("no service here".into());
        Self::parse(&mut parser, own_address).map(|options| options.expect("no help"))
    }
}

impl Given {
    fn add_header(&mut self, value: &OsString) -> Result<(), Error> {
        let text = value.to_string_lossy();
        let mistake = "--header: must be 'Name: value' without control characters";
        let (name, value) = text.split_once(':').ok_or(mistake)?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || value.chars().any(char::is_control) {
            return Err(mistake.into());
        }
        self.headers += &format!("{name}: {}\r\n", value.trim());
        Ok(())
    }

    fn finish(
        self,
        own_address: impl FnOnce() -> Result<SocketAddr, Error>,
    ) -> Result<Options, Error> {
        let url = self.url.ok_or("probe: the URL is missing")?;
        if self.rate.is_none() {
            let looped = [
                ("--count", self.count.is_some()),
                ("--duration", self.duration.is_some()),
                ("--limit-p99-ms", self.limit_p99_ms.is_some()),
            ];
            if let Some((option, _)) = looped.iter().find(|(_, given)| *given) {
                return Err(format!("{option}: needs --rate").into());
            }
        }
        if self.rate.is_some_and(|rate| rate < PROBE_RATE_MIN) {
            return Err(format!("--rate: must be at least {PROBE_RATE_MIN}").into());
        }
        #[allow(clippy::cast_precision_loss)]
        if self.rate.is_some_and(|rate| rate > PROBE_RATE_MAX as f64) {
            return Err(format!("--rate: must be at most {PROBE_RATE_MAX}").into());
        }
        let (host, port, authority, target) = match url.starts_with('/') {
            true => split_url(&format!("http://{}{url}", own_address()?))?,
            false => split_url(&url)?,
        };
        let headers = self.headers.to_ascii_lowercase();
        let host_header = match headers.lines().any(|line| line.starts_with("host:")) {
            true => String::new(),
            false => format!("Host: {authority}\r\n"),
        };
        let open_ended = self.count.is_some() && self.duration.is_none();
        Ok(Options {
            host,
            port,
            request: format!("GET {target} HTTP/1.1\r\n{host_header}{}\r\n", self.headers)
                .into_bytes(),
            rate: self.rate,
            count: self.count.unwrap_or(PROBE_REQUESTS_MAX),
            duration: match self.duration {
                Some(duration) => duration,
                None if open_ended => Duration::from_millis(PROBE_DURATION_MS.max),
                None => Duration::from_millis(PROBE_DURATION_MS.default),
            },
            limit_p99_ms: self.limit_p99_ms,
            timeout: Duration::from_millis(self.timeout_ms.unwrap_or(PROBE_TIMEOUT_MS.default)),
            connections: self.connections.unwrap_or(PROBE_CONNECTIONS.default),
        })
    }
}

/// Host, port, authority and target of an `http` URL (RFC 9110 section 4.2.1).
fn split_url(url: &str) -> Result<(String, u16, String, String), Error> {
    let mistake = |problem: &str| Error::from(format!("probe: the URL {problem}"));
    if url
        .get(..8)
        .is_some_and(|head| head.eq_ignore_ascii_case("https://"))
    {
        return Err(mistake(
            "must begin with http://: this probe does not speak TLS",
        ));
    }
    let rest = match url.get(..7) {
        Some(head) if head.eq_ignore_ascii_case("http://") => url.get(7..).unwrap_or_default(),
        _ => return Err(mistake("must begin with http://")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(mistake(
            "must be visible ASCII; percent-encode other characters",
        ));
    }
    if authority.contains('@') {
        return Err(mistake("must not contain a user name; use --header"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => {
            let port: Option<u16> = port.parse().ok().filter(|port| *port > 0);
            (
                host,
                port.ok_or_else(|| mistake("must have a port from 1 to 65535"))?,
            )
        }
        _ => (authority, 80),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if bare.is_empty() || (bare.contains(':') && bare == host) {
        return Err(mistake("has no host; put an IPv6 address in brackets"));
    }
    let target = match target.as_bytes().first() {
        Some(b'/') => target.to_owned(),
        _ => format!("/{target}"),
    };
    Ok((bare.to_owned(), port, authority.to_owned(), target))
}

fn positive(option: &str, value: &OsString) -> Result<f64, Error> {
    let number = value.to_str().and_then(|text| text.parse::<f64>().ok());
    number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("{option}: must be a number above 0").into())
}

fn whole(option: &str, value: &OsString, min: u64, max: u64) -> Result<u64, Error> {
    let number = value.to_str().and_then(|text| text.parse::<u64>().ok());
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("{option}: must be a whole number from {min} to {max}").into())
}

fn duration(value: &OsString) -> Result<Duration, Error> {
    let text = value.to_string_lossy();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms));
    millis
        .filter(|millis| (PROBE_DURATION_MS.min..=PROBE_DURATION_MS.max).contains(millis))
        .map(Duration::from_millis)
        .ok_or("--duration: must be like 500ms, 10s or 2m, up to a day".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_into_where_and_what() {
        for (url, host, port, target) in [
            ("http://localhost", "localhost", 80, "/"),
            ("HTTP://127.0.0.1:8080/livez", "127.0.0.1", 8080, "/livez"),
            ("http://[::1]:8080/a?b=c#d", "::1", 8080, "/a?b=c"),
            ("http://api.example.com?x=1", "api.example.com", 80, "/?x=1"),
        ] {
            let (found_host, found_port, _, found_target) = split_url(url).unwrap();
            assert_eq!(
                (found_host.as_str(), found_port, found_target.as_str()),
                (host, port, target)
            );
        }
        for url in [
            "",
            "localhost:8080",
            "https://api.example.com/",
            "http://",
            "http://:80/",
            "http://::1/",
            "http://a:0/",
            "http://a:99999/",
            "http://u:p@a/",
            "http://a/b c",
        ] {
            assert!(split_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_path_alone_is_asked_of_the_service_itself() {
        let own = "[::1]:9000".parse().unwrap();
        let mut parser = lexopt::Parser::from_args(["/livez"]);
        let options = Options::parse(&mut parser, || Ok(own)).unwrap().unwrap();
        assert_eq!((options.host.as_str(), options.port), ("::1", 9000));
        let expected = b"GET /livez HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n";
        assert_eq!(options.request, expected);
        let mut parser = lexopt::Parser::from_args(["/livez"]);
        let error = Options::parse(&mut parser, || Err("PORT: is wrong".into())).unwrap_err();
        assert_eq!(error.to_string(), "PORT: is wrong");
    }

    #[test]
    fn a_mistake_names_its_option() {
        for (arguments, option) in [
            (&["--rate", "5"][..], "probe"),
            (&["ftp://a"], "probe"),
            (&["http://a", "--rate", "0"], "--rate"),
            (&["http://a", "--rate", "-1"], "--rate"),
            (&["http://a", "--rate", "many"], "--rate"),
            (&["http://a", "--rate", "1e9"], "--rate"),
            (&["http://a", "--rate", "1e-20"], "--rate"),
            (&["http://a", "--rate", "5", "--count", "0"], "--count"),
            (&["http://a", "--count", "5"], "--count"),
            (&["http://a", "--limit-p99-ms", "5"], "--limit-p99-ms"),
            (
                &["http://a", "--rate", "5", "--duration", "10"],
                "--duration",
            ),
            (
                &["http://a", "--rate", "5", "--duration", "0s"],
                "--duration",
            ),
            (
                &["http://a", "--rate", "5", "--duration", "86401s"],
                "--duration",
            ),
            (&["http://a", "--header", "no colon"], "--header"),
            (&["http://a", "--header", "a: b\r\nc: d"], "--header"),
            (&["http://a", "--timeout-ms", "0"], "--timeout-ms"),
            (&["http://a", "--connections", "0"], "--connections"),
            (&["http://a", "http://b"], "http://b"),
            (&["http://a", "--rate"], "--rate"),
        ] {
            let text = Options::parse_all(arguments).unwrap_err().to_string();
            assert!(text.contains(option), "{arguments:?}: {text}");
        }
    }

    #[test]
    fn requests_are_sent_for_as_long_as_was_asked_for() {
        for (arguments, millis) in [
            (&[][..], 10_000),
            (&["--duration", "500ms"], 500),
            (&["--duration", "2m", "--count", "5"], 120_000),
            (&["--duration", "86400s"], 86_400_000),
            (&["--count", "5"], 86_400_000),
        ] {
            let options = Options::parse_all(&[&["http://a", "--rate", "5"], arguments].concat());
            assert_eq!(
                options.unwrap().duration.as_millis(),
                millis,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn the_request_is_what_was_asked_for() {
        let arguments = [
            "http://a:81/x",
            "--header",
            "X-API-Key: k",
            "--header",
            "B:2",
        ];
        let options = Options::parse_all(&arguments).unwrap();
        let expected = b"GET /x HTTP/1.1\r\nHost: a:81\r\nX-API-Key: k\r\nB: 2\r\n\r\n";
        assert_eq!(options.request, expected);
        let arguments = ["http://a/", "--header", "Host: b.example.com"];
        let options = Options::parse_all(&arguments).unwrap();
        assert_eq!(
            options.request,
            b"GET / HTTP/1.1\r\nHost: b.example.com\r\n\r\n"
        );
    }
}
