//! What PostgreSQL said when it refused, and how a new connection can fail.

use arrayvec::ArrayString;
use std::fmt;

use crate::labels::labels;
use crate::limits::PG_REFUSAL_MAX_BYTES;
use crate::pg::tls;
use crate::pg::transport::TransportError;

/// A SQLSTATE: five letters or digits.
/// <https://www.postgresql.org/docs/17/errcodes-appendix.html>
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// The table or column is not there: migrations are missing.
    pub fn is_schema_missing(self) -> bool {
        matches!(&self.0, b"42P01" | b"42703" | b"3F000")
    }

    /// The password or login is wrong: the credentials must be read again.
    pub fn is_authentication(self) -> bool {
        matches!(&self.0, b"28P01" | b"28000")
    }

    /// The session cannot be used for payments any more, though its answer was complete: the server
    /// is going away (57P01, 57P02, 57P03, class 08) or has become a standby (25006), its login is
    /// no longer accepted (28P01), or its statement is gone (26000) or no longer fits the table
    /// (0A000).
    pub fn ends_connection(self) -> bool {
        matches!(
            &self.0,
            b"25006" | b"57P01" | b"57P02" | b"57P03" | b"28P01" | b"26000" | b"0A000"
        ) || self.0.starts_with(b"08")
    }

    /// Whether the transaction may have been committed all the same: the connection behind a proxy is gone (class 08),
    /// or the server itself does not know (40003).
    pub fn leaves_outcome_open(self) -> bool {
        self.0.starts_with(b"08") || &self.0 == b"40003"
    }

    /// The same statement may do better a little later or elsewhere.
    pub fn is_transient(self) -> bool {
        self.ends_connection()
            || matches!(self.0.get(..2), Some(b"40" | b"53" | b"57" | b"58"))
            || &self.0 == b"55P03"
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ErrorResponse, reduced to what is acted on and logged. Its detail field is left out: it may
/// hold values of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// The condition.
    pub state: SqlState,
    /// The primary message, cut.
    pub message: ArrayString<PG_REFUSAL_MAX_BYTES>,
}

impl ServerError {
    /// Whether a NoticeResponse's body is of severity WARNING, in its field V, which is never translated.
    pub fn is_warning(body: &[u8]) -> bool {
        body.split(|&b| b == 0).any(|field| field == b"VWARNING")
    }

    /// Reads the fields of an ErrorResponse's body.
    /// <https://www.postgresql.org/docs/17/protocol-error-fields.html>
    pub fn parse(mut body: &[u8]) -> Self {
        let mut error = Self {
            state: SqlState(*b"XX000"),
            message: ArrayString::new(),
        };
        while let Some((&kind, rest)) = body.split_first() {
            let Some(end) = rest.iter().position(|&b| b == 0) else {
                break;
            };
            let (value, tail) = rest.split_at(end);
            match kind {
                b'C' => {
                    if let Ok(state) = value.try_into() {
                        error.state = SqlState(state);
                    }
                }
                b'M' => {
                    for c in String::from_utf8_lossy(value).chars() {
                        if error.message.try_push(c).is_err() {
                            break;
                        }
                    }
                }
                _ => {}
            }
            body = tail.get(1..).unwrap_or_default();
        }
        error
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.state.as_str())
    }
}

labels! {
    /// The step of a new connection that failed; a label of the metrics.
    pub enum ConnectStep {
        /// The host's name has no address.
        Resolve = "resolve",
        /// No address took the connection.
        Connect = "connect",
        /// TLS was refused, or the certificate was.
        Tls = "tls",
        /// The login, its password or its rights were refused.
        Authentication = "authentication",
        /// The time was over.
        Timeout = "timeout",
        /// The peer does not speak the protocol.
        Protocol = "protocol",
        /// The server cannot serve now (starting up, shutting down, too many connections).
        Server = "server",
        /// The table is not there as this version needs it, or the login may not use it.
        Schema = "schema",
        /// A commit would not wait for the disk.
        Setting = "setting",
    }
}

impl ConnectStep {
    /// What is known about the database when connections fail here.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Resolve => "the database's host name cannot be resolved",
            Self::Connect => "the database does not accept connections",
            Self::Tls => "the database's TLS or certificate was refused",
            Self::Authentication => "the database refused the login",
            Self::Timeout => "connecting to the database timed out",
            Self::Protocol => "the database does not speak PostgreSQL's protocol",
            Self::Server => "the database is not available now",
            Self::Schema => {
                "the database's schema, or the login's rights to it, are not what this version needs"
            }
            Self::Setting => "the database's commits do not wait for the disk",
        }
    }
}

/// Why a connection was not made. Its text is for operators and holds no secret.
#[derive(Debug)]
pub struct ConnectError {
    /// Where it failed.
    pub step: ConnectStep,
    /// What PostgreSQL said, if it was PostgreSQL that refused.
    pub state: Option<SqlState>,
    /// One sentence.
    pub message: String,
}

impl ConnectError {
    /// An error of `step`.
    pub fn new(step: ConnectStep, message: impl Into<String>) -> Self {
        Self {
            step,
            state: None,
            message: message.into(),
        }
    }

    /// Whether `sslmode=prefer` tries again without TLS: as in libpq, when TLS or the server's
    /// host-based rules refused it, and for no other reason.
    pub fn allows_plaintext(&self) -> bool {
        self.step == ConnectStep::Tls || self.state.is_some_and(|state| &state.0 == b"28000")
    }

    /// What an ErrorResponse during the start of a connection means.
    pub fn server(error: &ServerError) -> Self {
        let step =
            if error.state.is_authentication() || [b"3D000", b"42501"].contains(&&error.state.0) {
                ConnectStep::Authentication
            } else if error.state.is_schema_missing() {
                ConnectStep::Schema
            } else {
                ConnectStep::Server
            };
        Self {
            step,
            state: Some(error.state),
            message: error.to_string(),
        }
    }
}

impl From<TransportError> for ConnectError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Tls(e) => Self::new(ConnectStep::Tls, tls::explain(&e)),
            TransportError::TooLarge => Self::new(
                ConnectStep::Protocol,
                "the server sent a message that is too large",
            ),
            TransportError::Closed => {
                Self::new(ConnectStep::Server, "the server closed the TLS session")
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}
