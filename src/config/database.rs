//! The database's URL: libpq's form, narrowed to what a payment's connection can use.
//!
//! Every refusal is a fixed sentence, or names a parameter, or a region: a URL that is wrong in any
//! way may have its password in any place, so no other part of it is ever repeated.
//! <https://www.postgresql.org/docs/17/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use tokio_postgres::config::Host;

use super::residency;
use super::secret::Secret;
use crate::labels::labels;
use crate::limits::{APPLICATION_NAME_MAX_BYTES, HOST_MAX_BYTES};

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];
const APPLICATION_NAME: &str = "payment-latency-api";
const DEFAULT_PORT: u16 = 5432;

labels! {
    /// How much of TLS a connection insists on, with libpq's names and meanings.
    /// <https://www.postgresql.org/docs/17/libpq-ssl.html#LIBPQ-SSL-PROTECTION>
    pub enum SslMode {
        /// No TLS.
        Disable = "disable",
        /// TLS if the server has it, unverified; libpq's default.
        Prefer = "prefer",
        /// TLS, unverified: an active attacker is not noticed.
        Require = "require",
        /// TLS with a certificate of a trusted authority, for any name.
        VerifyCa = "verify-ca",
        /// TLS with a certificate of a trusted authority, for the host that was asked for.
        VerifyFull = "verify-full",
    }
}

labels! {
    /// Whether statements are prepared once for each connection: the words of `STATEMENT_MODE`.
    pub enum StatementMode {
        /// Parsed with every payment: safe behind RDS Proxy and pgbouncer in transaction mode.
        Unnamed = "unnamed",
        /// Prepared when a connection opens: for a direct connection.
        Named = "named",
    }
}

/// Where and as whom to connect. Displays as a URL with its password masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTarget {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, if the URL has one.
    pub password: Option<Secret>,
    /// The database's name.
    pub database: String,
    /// How much of TLS is insisted on.
    pub ssl_mode: SslMode,
    /// Trust anchors in PEM, in place of the ones compiled in.
    pub ssl_root_cert: Option<PathBuf>,
    /// What the connections call themselves in `pg_stat_activity`.
    pub application_name: String,
}

impl DatabaseTarget {
    /// Whether connections lead to the same database as those of `other`, and trust it as much.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        let place = |target: &Self| (target.host.clone(), target.port, target.database.clone());
        place(self) == place(other)
            && self.ssl_mode == other.ssl_mode
            && self.ssl_root_cert == other.ssl_root_cert
    }

    /// Reads a URL of libpq's form, `postgresql://user:password@host:5432/database?sslmode=verify-full`,
    /// and checks that its host is not in another AWS region than `region`.
    ///
    /// `sslmode` is `prefer` unless given; as in libpq, `require` together with `sslrootcert` is
    /// `verify-ca`. Stricter than libpq: exactly one TCP host, user and database given, and only the
    /// parameters `user`, `password`, `host`, `port`, `dbname`, `application_name`, `sslmode`,
    /// `sslrootcert` (a path; `system` is refused, because an image from scratch has no system
    /// roots) and `channel_binding=prefer`.
    ///
    /// # Errors
    /// A sentence for the first thing that is wrong. It never holds the password, nor any part of
    /// the URL in which a misplaced password could stand.
    pub fn parse(url: &str, region: &str) -> Result<Self, String> {
        check_characters(url)?;
        let (base, query) = split(url)?;
        let parameters = Parameters::read(query, base.contains('@'))?;
        let mut plain = base.to_owned();
        for (index, (name, value)) in parameters.passed_on.iter().enumerate() {
            plain.push(if index == 0 { '?' } else { '&' });
            plain.push_str(name);
            plain.push('=');
            plain.push_str(value);
        }
        // Its error is dropped because it may repeat what stands in the wrong place.
        let config: tokio_postgres::Config = plain.parse().map_err(|_| {
            "the port must be a number from 1 to 65535, an IPv6 address must be in brackets, and \
             percent-encoded parts must be UTF-8"
        })?;
        let user = name("user", config.get_user())?;
        if user.contains(':') {
            return Err(
                "the user name contains a colon; only the `:` between user and password is \
                 allowed, and it must not be percent-encoded"
                    .to_owned(),
            );
        }
        let host = host(&config)?;
        residency::check(&host, region)?;
        Ok(Self {
            port: port(&config)?,
            password: password(&config)?,
            database: name("database", config.get_dbname())?,
            ssl_mode: parameters.ssl_mode(),
            ssl_root_cert: parameters.ssl_root_cert,
            application_name: application_name(config.get_application_name())?,
            host,
            user,
        })
    }

    /// What an operator should know about a target that is valid and not as safe as it could be.
    pub fn warning(&self) -> Option<String> {
        match self.ssl_mode {
            SslMode::VerifyFull => None,
            weaker => Some(format!(
                "sslmode is {}: the server's identity is not verified; use verify-full",
                weaker.as_str()
            )),
        }
    }

    /// Whether the host is an RDS Proxy's end point.
    pub fn is_rds_proxy(&self) -> bool {
        residency::is_rds_proxy(&self.host)
    }
}

impl fmt::Display for DatabaseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}", self.user)?;
        if self.password.is_some() {
            f.write_str(":***")?;
        }
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "@[{address}]")?,
            Err(_) => write!(f, "@{}", self.host)?,
        }
        let mode = self.ssl_mode.as_str();
        write!(f, ":{}/{}?sslmode={mode}", self.port, self.database)?;
        if let Some(path) = &self.ssl_root_cert {
            write!(f, "&sslrootcert={}", path.display())?;
        }
        write!(f, "&application_name={}", self.application_name)
    }
}

/// What the query says.
#[derive(Default)]
struct Parameters<'a> {
    ssl_mode: Option<SslMode>,
    ssl_root_cert: Option<PathBuf>,
    /// Those that tokio-postgres reads, still encoded.
    passed_on: Vec<(String, &'a str)>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str, has_credentials: bool) -> Result<Self, String> {
        // Behind `password=`, or where credentials should have been, a stray `&` or `?` would make
        // a piece of the password look like a name.
        let has_password = percent_decode_str(query)
            .decode_utf8_lossy()
            .contains("password");
        let may_repeat_names = has_credentials && !has_password;
        let mut parameters = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let shown = if may_repeat_names || KEYWORDS.contains(&name.as_str()) {
                format!("the parameter {name}")
            } else {
                format!("parameter {} of the query", index + 1)
            };
            if seen.contains(&name) {
                return Err(format!("{shown} is repeated"));
            }
            parameters
                .take(&name, value)
                .map_err(|problem| format!("{shown} {problem}"))?;
            seen.push(name);
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), String> {
        if let Some(reason) = refusal(name) {
            return Err(reason.to_owned());
        }
        if value.is_empty() {
            return Err("has no value".to_owned());
        }
        match name {
            "sslmode" => self.ssl_mode = Some(read_ssl_mode(&decode(value)?)?),
            "sslrootcert" => self.ssl_root_cert = Some(read_root_cert(&decode(value)?)?),
            "channel_binding" if decode(value)? == "prefer" => {}
            "channel_binding" => {
                return Err(
                    "must be prefer: SCRAM uses channel binding where the server offers it"
                        .to_owned(),
                );
            }
            _ => self.passed_on.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// libpq: "if a root CA file exists, the behavior of sslmode=require will be the same as that
    /// of verify-ca".
    fn ssl_mode(&self) -> SslMode {
        match (self.ssl_mode, &self.ssl_root_cert) {
            (Some(SslMode::Require), Some(_)) => SslMode::VerifyCa,
            (mode, _) => mode.unwrap_or(SslMode::Prefer),
        }
    }
}

/// libpq's parameter names: these may be repeated in a message, since they are no one's password.
const KEYWORDS: [&str; 41] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Why a parameter is not accepted, if it is not.
fn refusal(name: &str) -> Option<&'static str> {
    match name {
        "user" | "password" | "host" | "port" | "dbname" | "application_name" | "sslmode"
        | "sslrootcert" | "channel_binding" => None,
        "options" => Some(
            "is not accepted: RDS Proxy and pgbouncer do not pass on startup options; set the \
             role's defaults with ALTER ROLE",
        ),
        "target_session_attrs" | "load_balance_hosts" => {
            Some("is not accepted: there is exactly one host, and it must be the writer")
        }
        "hostaddr" => {
            Some("is not accepted: use the host's name, which is resolved for every connection")
        }
        "connect_timeout" => Some("is not accepted: set CONNECT_TIMEOUT_MS"),
        _ => Some(
            "is not accepted; use only user, password, host, port, dbname, application_name, \
             sslmode, sslrootcert, channel_binding",
        ),
    }
}

/// What must hold for the whole text, before it is split.
fn check_characters(url: &str) -> Result<(), String> {
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(
            "contains a space, line break or control character; percent-encode it (a space is %20)"
                .to_owned(),
        );
    }
    let mut rest = url.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            continue;
        }
        match tail {
            [b'0', b'0', ..] => return Err("contains %00, which PostgreSQL rejects".to_owned()),
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => {
                return Err(
                    "contains a `%` without two hexadecimal digits after it; write `%` as %25"
                        .to_owned(),
                );
            }
        }
    }
    Ok(())
}

/// Parts the URL at its query, and makes sure that credentials end where they seem to: the parsers
/// in use disagree about `@`, `/` and `?` inside a password.
fn split(url: &str) -> Result<(&str, &str), String> {
    let rest = SCHEMES
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or(
            "is not a PostgreSQL URL such as \
             postgresql://user:password@host:5432/database?sslmode=verify-full",
        )?;
    let (before, after) = match rest.split_once('@') {
        Some((credentials, after)) => (credentials, after),
        None => ("", rest),
    };
    if after.contains('@') || before.contains(['/', '?']) {
        return Err(
            "has an extra `@`, or a `/` or `?` before it; in a user name, password or parameter, \
             write these as %40, %2F and %3F"
                .to_owned(),
        );
    }
    Ok(url.split_once('?').unwrap_or((url, "")))
}

fn decode(text: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| "is not UTF-8 when percent-decoded".to_owned())
}

fn read_ssl_mode(value: &str) -> Result<SslMode, String> {
    SslMode::from_name(value)
        .ok_or_else(|| "must be disable, prefer, require, verify-ca or verify-full".to_owned())
}

fn read_root_cert(value: &str) -> Result<PathBuf, String> {
    if value == "system" {
        return Err(
            "must be a file path: there are no system roots; omit it to trust Amazon's roots, \
             which are compiled in"
                .to_owned(),
        );
    }
    if value.chars().any(char::is_control) {
        return Err("contains a control character".to_owned());
    }
    Ok(PathBuf::from(value))
}

fn name(what: &str, value: Option<&str>) -> Result<String, String> {
    match value {
        None | Some("") => Err(format!("has no {what}")),
        Some(value) if value.chars().any(char::is_control) => {
            Err(format!("the {what} name contains a control character"))
        }
        Some(value) => Ok(value.to_owned()),
    }
}

fn host(config: &tokio_postgres::Config) -> Result<String, String> {
    let name = match config.get_hosts() {
        [] => return Err("has no host".to_owned()),
        [Host::Tcp(name)] => name,
        [_] => return Err("names a Unix socket; the host must be reached over TCP".to_owned()),
        _ => return Err("names more than one host; there must be exactly one".to_owned()),
    };
    if name.is_empty() {
        return Err("has no host".to_owned());
    }
    if name.contains(',') {
        return Err("names more than one host; there must be exactly one".to_owned());
    }
    let dns = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let valid = name.len() <= HOST_MAX_BYTES && name.bytes().all(dns);
    if valid || name.parse::<IpAddr>().is_ok() {
        Ok(name.clone())
    } else {
        Err("the host is neither a DNS name nor an IP address".to_owned())
    }
}

fn port(config: &tokio_postgres::Config) -> Result<u16, String> {
    match config.get_ports() {
        [] => Ok(DEFAULT_PORT),
        [0] => Err("the port must be a number from 1 to 65535".to_owned()),
        [port] => Ok(*port),
        _ => Err("names more than one port; there must be one".to_owned()),
    }
}

fn password(config: &tokio_postgres::Config) -> Result<Option<Secret>, String> {
    match config.get_password() {
        None | Some([]) => Ok(None),
        Some(bytes) => std::str::from_utf8(bytes)
            .map(|text| Some(Secret::new(text)))
            .map_err(|_| "the password is not UTF-8 when percent-decoded".to_owned()),
    }
}

fn application_name(value: Option<&str>) -> Result<String, String> {
    let name = value.unwrap_or(APPLICATION_NAME);
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if name.len() > APPLICATION_NAME_MAX_BYTES || !name.bytes().all(printable) {
        return Err(format!(
            "the parameter application_name must be at most {APPLICATION_NAME_MAX_BYTES} \
             printable ASCII characters"
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
