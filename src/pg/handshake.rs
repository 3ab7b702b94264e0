//! A new connection: resolve, connect, TLS, log in, check the schema.
//!
//! It runs on a blocking socket in a thread of its own, because payments on the runtime's one thread must not wait
//! for what a handshake computes (4,096 rounds of HMAC, signatures). Socket and transport are handed over when it is
//! done.
//! <https://www.postgresql.org/docs/17/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{DatabaseTarget, SslMode, StatementMode};
use crate::limits::{CONNECT_ADDRESS_TIMEOUT_MS, TCP_USER_TIMEOUT_MS};
use crate::pg::error::{ConnectError, ConnectStep, ServerError};
use crate::pg::messages::Columns;
use crate::pg::payments;
use crate::pg::scram::{ChannelBinding, Failure, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, Scram};
use crate::pg::tls;
use crate::pg::transport::Transport;

type Result<T> = std::result::Result<T, ConnectError>;

/// A connection that is logged in, idle, and has shown that the schema is there.
pub struct Established {
    /// Non-blocking from here on.
    pub socket: TcpStream,
    /// Its TLS session and buffers.
    pub transport: Transport,
}

/// Makes one connection to `target` before `timeout` is over.
pub fn connect(
    target: &DatabaseTarget,
    mode: StatementMode,
    timeout: Duration,
) -> Result<Established> {
    let deadline = Instant::now() + timeout;
    let attempt = |tls| Session::open(target, deadline, tls)?.start(target, mode);
    if target.ssl_mode == SslMode::Disable {
        return attempt(None);
    }
    // Before any attempt: an unreadable sslrootcert must not make `prefer` go on without TLS.
    let config = tls::client_config(target.ssl_mode, target.ssl_root_cert.as_deref())?;
    match attempt(Some(config)) {
        Err(error) if target.ssl_mode == SslMode::Prefer && error.allows_plaintext() => {
            attempt(None)
        }
        result => result,
    }
}

struct Session {
    socket: TcpStream,
    transport: Transport,
    deadline: Instant,
    out: BytesMut,
    received: BytesMut,
}

impl Session {
    /// Connects, and puts TLS on the connection if there is a configuration for it.
    fn open(
        target: &DatabaseTarget,
        deadline: Instant,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self> {
        let socket = connect_any(&target.host, target.port, deadline)?;
        configure(&socket).map_err(|e| io_error(ConnectStep::Connect, &e))?;
        let mut session = Self {
            socket,
            transport: Transport::plain(),
            deadline,
            out: BytesMut::new(),
            received: BytesMut::new(),
        };
        if let Some(config) = tls
            && session.server_takes_tls(target.ssl_mode)?
        {
            session.secure(config, &target.host)?;
        }
        Ok(session)
    }

    /// SSLRequest and its one-byte answer. The byte is read alone: anything behind it came in the
    /// clear before TLS and would be an injection (CVE-2021-23222).
    fn server_takes_tls(&mut self, mode: SslMode) -> Result<bool> {
        frontend::ssl_request(&mut self.out);
        self.write_out()?;
        self.arm()?;
        let mut answer = [0_u8; 1];
        self.socket
            .read_exact(&mut answer)
            .map_err(|e| io_error(ConnectStep::Connect, &e))?;
        match &answer {
            b"S" => Ok(true),
            b"N" if mode == SslMode::Prefer => Ok(false),
            b"N" => Err(ConnectError::new(
                ConnectStep::Tls,
                "the server does not support TLS, but sslmode asks for it",
            )),
            _ => Err(ConnectError::new(
                ConnectStep::Protocol,
                "the server's answer to SSLRequest is not valid",
            )),
        }
    }

    fn secure(&mut self, config: Arc<ClientConfig>, host: &str) -> Result<()> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            ConnectError::new(
                ConnectStep::Tls,
                "the host is not a name that TLS can verify",
            )
        })?;
        self.transport = Transport::tls(config, name)?;
        while self.transport.is_handshaking() {
            self.flush()?;
            self.fill()?;
        }
        self.flush()
    }

    /// Startup, authentication, and the statements that validate the schema.
    fn start(mut self, target: &DatabaseTarget, mode: StatementMode) -> Result<Established> {
        // Start-up parameters that RDS Proxy and pgbouncer pass on; never `options`.
        let parameters = [
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("application_name", target.application_name.as_str()),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut self.out).map_err(protocol)?;
        self.write_out()?;
        self.authenticate(target)?;
        self.until_ready()?;
        payments::prepare(mode, &mut self.out).map_err(protocol)?;
        self.write_out()?;
        self.until_validated()?;
        if !self.received.is_empty() || !self.transport.messages().is_empty() {
            return Err(unexpected("the login"));
        }
        self.socket
            .set_nonblocking(true)
            .map_err(|e| io_error(ConnectStep::Connect, &e))?;
        Ok(Established {
            socket: self.socket,
            transport: self.transport,
        })
    }

    fn authenticate(&mut self, target: &DatabaseTarget) -> Result<()> {
        match self.message()? {
            Message::AuthenticationOk => Ok(()),
            Message::AuthenticationSasl(body) => {
                let mut plain = false;
                let mut plus = false;
                let mut mechanisms = body.mechanisms();
                while let Some(name) = mechanisms.next().map_err(protocol)? {
                    plain |= name == SCRAM_SHA_256;
                    plus |= name == SCRAM_SHA_256_PLUS;
                }
                self.scram(target, plain, plus)
            }
            Message::AuthenticationCleartextPassword
            | Message::AuthenticationMd5Password(_)
            | Message::AuthenticationGss
            | Message::AuthenticationSspi => Err(ConnectError::new(
                ConnectStep::Authentication,
                "the server asks for an authentication method other than SCRAM-SHA-256; \
                 set password_encryption to scram-sha-256, then set the password again",
            )),
            _ => Err(unexpected("authentication")),
        }
    }

    /// RFC 5802 and RFC 7677; channel binding is tls-server-end-point (RFC 5929 section 4).
    fn scram(&mut self, target: &DatabaseTarget, plain: bool, plus: bool) -> Result<()> {
        let password = target.password.as_ref().ok_or_else(|| {
            ConnectError::new(
                ConnectStep::Authentication,
                "the server asks for a password, but the URL has none",
            )
        })?;
        let end_point = self
            .transport
            .server_certificate()
            .and_then(tls::server_end_point);
        let (mechanism, binding) = match end_point {
            Some(hash) if plus => (SCRAM_SHA_256_PLUS, ChannelBinding::ServerEndPoint(hash)),
            Some(_) if plain => (SCRAM_SHA_256, ChannelBinding::Unrequested),
            None if plain => (SCRAM_SHA_256, ChannelBinding::Unsupported),
            _ => {
                return Err(ConnectError::new(
                    ConnectStep::Authentication,
                    "the server does not offer SCRAM-SHA-256",
                ));
            }
        };
        let scram = Scram::new(binding).map_err(scram_failed)?;
        frontend::sasl_initial_response(mechanism, scram.message().as_bytes(), &mut self.out)
            .map_err(protocol)?;
        self.write_out()?;
        let Message::AuthenticationSaslContinue(body) = self.message()? else {
            return Err(unexpected("the first SCRAM step"));
        };
        let proven = scram
            .prove(password.expose().as_bytes(), body.data())
            .map_err(scram_failed)?;
        frontend::sasl_response(proven.message.as_bytes(), &mut self.out).map_err(protocol)?;
        self.write_out()?;
        let Message::AuthenticationSaslFinal(body) = self.message()? else {
            return Err(unexpected("the last SCRAM step"));
        };
        proven.finish(body.data()).map_err(scram_failed)?;
        match self.message()? {
            Message::AuthenticationOk => Ok(()),
            _ => Err(unexpected("the end of authentication")),
        }
    }

    /// Reads to ReadyForQuery, outside any transaction. An ErrorResponse on the way is the result.
    fn until_ready(&mut self) -> Result<()> {
        loop {
            match self.message()? {
                Message::ReadyForQuery(body) if body.status() == b'I' => return Ok(()),
                Message::BackendKeyData(_) => {}
                _ => return Err(unexpected("the end of the login")),
            }
        }
    }

    /// Reads the answer to the first statements, whose one row is the validation query's.
    fn until_validated(&mut self) -> Result<()> {
        let mut validated = None;
        loop {
            match self.message()? {
                Message::ReadyForQuery(body) if body.status() == b'I' => break,
                Message::DataRow(row) => {
                    let columns = Columns::after_count(row.buffer());
                    let read = payments::read_validation(columns);
                    validated = Some(read.map_err(|_| unexpected("the validation query's row"))?);
                }
                Message::ParseComplete | Message::BindComplete | Message::CommandComplete(_) => {}
                _ => return Err(unexpected("the end of the first statements")),
            }
        }
        let (is_durable, is_allowed) =
            validated.ok_or_else(|| unexpected("the end of the first statements"))?;
        if !is_allowed {
            return Err(ConnectError::new(
                ConnectStep::Schema,
                "the login may not insert into and select from payments: run migrate to grant this",
            ));
        }
        if !is_durable {
            return Err(ConnectError::new(
                ConnectStep::Setting,
                "synchronous_commit is off for the login or the database, but a payment must be on disk \
                 when it is answered: run ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit",
            ));
        }
        Ok(())
    }

    /// The next message that means something; an ErrorResponse is an error.
    fn message(&mut self) -> Result<Message> {
        loop {
            if let Some(error) = self.server_error()? {
                return Err(error);
            }
            match Message::parse(&mut self.received).map_err(protocol)? {
                Some(Message::ParameterStatus(_) | Message::NoticeResponse(_)) => {}
                Some(message) => return Ok(message),
                None => {
                    while self.transport.messages().is_empty() {
                        self.fill()?;
                    }
                    let count = self.transport.messages().len();
                    self.received.extend_from_slice(self.transport.messages());
                    self.transport.consume_messages(count);
                    if self.received.len() > crate::limits::PG_MESSAGE_MAX_BYTES {
                        return Err(ConnectError::new(
                            ConnectStep::Protocol,
                            "the server sent a message that is too large",
                        ));
                    }
                }
            }
        }
    }

    fn server_error(&self) -> Result<Option<ConnectError>> {
        let next = crate::pg::messages::next(&self.received)
            .map_err(|_| unexpected("the header of a message"))?;
        Ok(next
            .filter(|message| message.tag == b'E')
            .map(|message| ConnectError::server(&ServerError::parse(message.body))))
    }

    fn write_out(&mut self) -> Result<()> {
        self.transport.send(&self.out)?;
        self.out.clear();
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.arm()?;
        self.socket
            .write_all(self.transport.outgoing())
            .map_err(|e| io_error(ConnectStep::Connect, &e))?;
        let count = self.transport.outgoing().len();
        self.transport.sent(count);
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        self.arm()?;
        let space = self.transport.read_space()?;
        let count = self
            .socket
            .read(space)
            .map_err(|e| io_error(ConnectStep::Connect, &e))?;
        if count == 0 {
            let step = if self.transport.is_handshaking() {
                ConnectStep::Tls
            } else {
                ConnectStep::Server
            };
            return Err(ConnectError::new(step, "the server closed the connection"));
        }
        Ok(self.transport.received(count)?)
    }

    /// Gives the next blocking call what is left of the time.
    fn arm(&self) -> Result<()> {
        let left = time_left(self.deadline)?;
        self.socket
            .set_read_timeout(Some(left))
            .and_then(|()| self.socket.set_write_timeout(Some(left)))
            .map_err(|e| io_error(ConnectStep::Connect, &e))
    }
}

/// The name is resolved anew each time: after a fail-over it points elsewhere.
fn connect_any(host: &str, port: u16, deadline: Instant) -> Result<TcpStream> {
    let resolve = |e: io::Error| {
        ConnectError::new(ConnectStep::Resolve, format!("cannot resolve {host}: {e}"))
    };
    let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(resolve)?.collect();
    connect_first(&addresses, deadline)?
        .ok_or_else(|| ConnectError::new(ConnectStep::Resolve, format!("{host} has no address")))
}

/// The first address that takes the connection. One that answers nothing leaves time for those behind it.
fn connect_first(addresses: &[SocketAddr], deadline: Instant) -> Result<Option<TcpStream>> {
    let most = Duration::from_millis(CONNECT_ADDRESS_TIMEOUT_MS);
    let mut last = Ok(None);
    for (address, to_try) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = time_left(deadline)? / u32::try_from(to_try).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share.min(most)) {
            Ok(socket) => return Ok(Some(socket)),
            Err(e) => last = Err(io_error(ConnectStep::Connect, &e)),
        }
    }
    last
}

fn configure(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_user_timeout(Some(Duration::from_millis(u64::from(TCP_USER_TIMEOUT_MS))))
}

fn time_left(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(ConnectError::new(
            ConnectStep::Timeout,
            "connecting timed out",
        ))
    } else {
        Ok(left)
    }
}

fn io_error(step: ConnectStep, error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            ConnectError::new(ConnectStep::Timeout, "connecting timed out")
        }
        _ => ConnectError::new(step, error.to_string()),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn protocol(error: io::Error) -> ConnectError {
    ConnectError::new(ConnectStep::Protocol, error.to_string())
}

fn scram_failed(reason: Failure) -> ConnectError {
    ConnectError::new(ConnectStep::Authentication, reason)
}

fn unexpected(place: &str) -> ConnectError {
    ConnectError::new(
        ConnectStep::Protocol,
        format!("PostgreSQL sent something unexpected at {place}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::TcpListener;

    /// A listener whose queue is full: the kernel answers no further SYN.
    fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address.into());
                socket
            })
            .collect();
        (listener, waiting, address)
    }

    #[test]
    fn an_address_that_answers_nothing_leaves_time_for_the_next() {
        let (_listener, _waiting, silent) = silent();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = good.local_addr().unwrap();
        let deadline = || Instant::now() + Duration::from_millis(300);
        let alone = connect_first(&[silent], deadline());
        assert_eq!(alone.unwrap_err().step, ConnectStep::Timeout);
        let found = connect_first(&[silent, silent, good], deadline());
        assert_eq!(found.unwrap().unwrap().peer_addr().unwrap(), good);
    }

    #[test]
    fn a_socket_sends_at_once_and_gives_up_a_peer_that_acknowledges_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        configure(&socket).unwrap();
        assert!(socket.nodelay().unwrap());
        let limit = SockRef::from(&socket).tcp_user_timeout().unwrap();
        let expected = Duration::from_millis(u64::from(TCP_USER_TIMEOUT_MS));
        assert_eq!(limit, Some(expected));
    }

    #[test]
    fn one_address_does_not_get_all_of_a_long_time() {
        let (_listener, _waiting, silent) = silent();
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(connect_first(&[silent], deadline).is_err());
        assert!(Instant::now() < deadline);
    }
}
