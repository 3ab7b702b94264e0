//! The owner's connection, for `migrate` and `prune`: tokio-postgres over this crate's TLS.
//!
//! It keeps the promises of [`handshake`](super::handshake) about `sslmode` and channel binding, but
//! shares no code with it: here nothing is urgent, so the library does the work.

use arrayvec::ArrayString;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode as LibrarySslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, NoTls, Socket};

use crate::config::{DatabaseTarget, SslMode};
use crate::limits::{
    CONNECT_ADDRESS_TIMEOUT_MS, CONNECT_TIMEOUT_MS, OWNER_KEEPALIVE_MS, TCP_USER_TIMEOUT_MS,
};
use crate::pg::error::{ConnectError, ConnectStep, ServerError, SqlState};
use crate::pg::tls;

/// Connects to `target`. The connection's task runs on the current runtime and ends with the client.
///
/// # Errors
/// As for [`handshake::connect`](super::handshake::connect), except for the schema's.
pub async fn connect(target: &DatabaseTarget) -> Result<Client, ConnectError> {
    if target.ssl_mode == SslMode::Disable {
        return attempt(target, None).await;
    }
    let config = tls::client_config(target.ssl_mode, target.ssl_root_cert.as_deref())?;
    match attempt(target, Some(config)).await {
        Err(error) if target.ssl_mode == SslMode::Prefer && error.allows_plaintext() => {
            attempt(target, None).await
        }
        result => result,
    }
}

/// What an operator should read about a statement that failed: the server's own words and the
/// condition, or the reasons behind the library's.
pub fn explain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => format!("{} (SQLSTATE {})", e.message(), e.code().code()),
        None => chain(error),
    }
}

async fn attempt(
    target: &DatabaseTarget,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Client, ConnectError> {
    let timeout = Duration::from_millis(CONNECT_TIMEOUT_MS.default);
    let mut config = Config::new();
    config
        .host(&target.host)
        .port(target.port)
        .user(&target.user)
        .dbname(&target.database)
        .application_name(&target.application_name)
        .connect_timeout(Duration::from_millis(CONNECT_ADDRESS_TIMEOUT_MS))
        .tcp_user_timeout(Duration::from_millis(TCP_USER_TIMEOUT_MS.into()))
        .keepalives_idle(Duration::from_millis(OWNER_KEEPALIVE_MS))
        .ssl_mode(match (&tls, target.ssl_mode) {
            (None, _) => LibrarySslMode::Disable,
            (Some(_), SslMode::Prefer) => LibrarySslMode::Prefer,
            (Some(_), _) => LibrarySslMode::Require,
        });
    if let Some(password) = &target.password {
        config.password(password.expose());
    }
    let connected = tokio::time::timeout(timeout, async {
        match tls {
            Some(tls) => drive(config.connect(Connector(tls)).await?),
            None => drive(config.connect(NoTls).await?),
        }
    });
    match connected.await {
        Ok(result) => result.map_err(|e| connect_error(&e)),
        Err(_) => Err(ConnectError::new(
            ConnectStep::Timeout,
            "connecting timed out",
        )),
    }
}

/// Lets the connection run beside its client. Its own error reaches the client's next statement.
fn drive<T>(
    (client, connection): (Client, tokio_postgres::Connection<Socket, T>),
) -> Result<Client, tokio_postgres::Error>
where
    T: TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(connection);
    Ok(client)
}

fn connect_error(error: &tokio_postgres::Error) -> ConnectError {
    if let Some(refusal) = error.as_db_error() {
        let mut message = ArrayString::new();
        for c in refusal.message().chars() {
            if message.try_push(c).is_err() {
                break;
            }
        }
        let state = refusal.code().code().as_bytes().try_into();
        return ConnectError::server(&ServerError {
            state: SqlState(state.unwrap_or(*b"XX000")),
            message,
        });
    }
    let text = chain(error);
    // The library's kinds are private; its text is the only sign of this one.
    if let Some(reason) = text.strip_prefix(TLS_PREFIX) {
        return ConnectError::new(ConnectStep::Tls, no_tls(reason));
    }
    let is_io = error.source().is_some_and(<dyn StdError>::is::<io::Error>);
    let step = if is_io {
        ConnectStep::Connect
    } else {
        ConnectStep::Protocol
    };
    ConnectError::new(step, text)
}

/// How the library begins when TLS failed, and how it goes on when the server has none.
const TLS_PREFIX: &str = "error performing TLS handshake: ";
const NO_TLS: &str = "server does not support TLS";

fn no_tls(reason: &str) -> &str {
    if reason == NO_TLS {
        "the server does not support TLS, but sslmode asks for it"
    } else {
        reason
    }
}

/// An error and the reasons behind it, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        let reason_text = reason.to_string();
        if !text.contains(&reason_text) {
            text = format!("{text}: {reason_text}");
        }
        source = reason.source();
    }
    text
}

/// Gives tokio-postgres this crate's TLS.
#[derive(Clone)]
struct Connector(Arc<ClientConfig>);

/// TLS was refused, or the certificate was.
#[derive(Debug)]
struct TlsFailure(String);

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for TlsFailure {}

impl TlsFailure {
    fn new(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|e| e.downcast_ref());
        Self(inner.map_or_else(|| error.to_string(), tls::explain))
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = SecureStream;
    type TlsConnect = NamedConnector;
    type Error = TlsFailure;

    fn make_tls_connect(&mut self, host: &str) -> Result<NamedConnector, TlsFailure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsFailure("the host is not a name that TLS can verify".to_owned()))?;
        Ok(NamedConnector {
            config: Arc::clone(&self.0),
            name,
        })
    }
}

/// The same, for one host.
struct NamedConnector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for NamedConnector {
    type Stream = SecureStream;
    type Error = TlsFailure;
    type Future = Pin<Box<dyn Future<Output = Result<SecureStream, TlsFailure>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let handshake = tokio_rustls::TlsConnector::from(self.config).connect(self.name, socket);
        Box::pin(async move {
            match handshake.await {
                Ok(stream) => Ok(SecureStream(Box::new(stream))),
                Err(e) => Err(TlsFailure::new(&e)),
            }
        })
    }
}

/// A TLS stream that knows its channel binding.
struct SecureStream(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for SecureStream {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        match certificate.and_then(tls::server_end_point) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
