//! One exchange with PostgreSQL on a socket of the runtime: one write, one read.

use arrayvec::ArrayVec;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::StatementMode;
use crate::limits::{BATCH_MAX_COUNT, PG_BUFFER_BYTES};
use crate::pg::error::ServerError;
use crate::pg::messages::{self, Columns, Malformed};
use crate::pg::payments::{self, Insert, Row};
use crate::pg::transport::{Transport, TransportError};

/// Why an exchange did not come to its end. What was sent has an unknown outcome, and the
/// connection is of no further use.
#[derive(Debug)]
pub enum Broken {
    /// The answer did not come in time.
    Timeout,
    /// The socket failed.
    Io(io::Error),
    /// The server closed the connection.
    Closed,
    /// The TLS layer failed.
    Transport(TransportError),
    /// The answer is not what the protocol allows here.
    Protocol,
    /// The server sent something between two exchanges.
    Unasked,
    /// PostgreSQL warned while it committed. A cancelled wait for the synchronous standby shows as
    /// such a warning and nothing else, and what the standby does not have is not durable
    /// (<https://www.postgresql.org/docs/17/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT>).
    Warned,
    /// Commits do not wait for the disk any more.
    NotDurable,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the server did not answer in time"),
            Self::Io(error) => write!(f, "the socket failed: {error}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Transport(TransportError::Tls(error)) => write!(f, "TLS failed: {error}"),
            Self::Transport(TransportError::TooLarge) => {
                f.write_str("the server sent a message that is too large")
            }
            Self::Transport(TransportError::Closed) => {
                f.write_str("the server closed the TLS session")
            }
            Self::Protocol => f.write_str("the server's answer violates the protocol"),
            Self::Unasked => f.write_str("the server sent an unsolicited message"),
            Self::Warned => f.write_str("the server warned during the commit"),
            Self::NotDurable => f.write_str("synchronous_commit was turned off"),
        }
    }
}

impl From<TransportError> for Broken {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Protocol
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A logged-in session over a stream `S`: a TCP socket, or the simulation's.
///
/// One exchange at a time: queue statements, then call [`poll_exchange`](Self::poll_exchange) until
/// it is ready. All state of the exchange is in here, so the polling task may change on the way: a
/// caller that cannot wait any longer can leave the rest to another task.
pub struct Connection<S> {
    stream: S,
    transport: Transport,
    mode: StatementMode,
    region: Rc<str>,
    out: BytesMut,
    /// The statement of this exchange, and whether PostgreSQL has completed it.
    statement: Statement,
    completed: bool,
    /// The payments it inserts, each with its `created_at` once that is known.
    inserts: ArrayVec<([u8; 16], Option<i64>), BATCH_MAX_COUNT>,
    row: Option<Row>,
    refused: Option<Rc<ServerError>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Statement {
    None,
    Insert,
    Lookup,
    Validation,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes over a session that is logged in and idle.
    pub fn new(stream: S, transport: Transport, mode: StatementMode, region: Rc<str>) -> Self {
        Self {
            stream,
            transport,
            mode,
            region,
            out: BytesMut::with_capacity(PG_BUFFER_BYTES),
            statement: Statement::None,
            completed: false,
            inserts: ArrayVec::new(),
            row: None,
            refused: None,
        }
    }

    /// Makes the exchange an insert of `payments`, in their order: one statement, hence one commit.
    pub fn queue_inserts(&mut self, payments: &[&Insert]) -> Result<(), Broken> {
        self.statement = Statement::Insert;
        self.inserts.clear();
        for payment in payments {
            let id = (payment.transaction_id, None);
            self.inserts.try_push(id).map_err(|_| Broken::Protocol)?;
        }
        payments::insert(self.mode, &self.region, payments, &mut self.out)?;
        Ok(())
    }

    /// Makes the exchange a lookup of the row of `payment`, or of another one with its key.
    pub fn queue_lookup(&mut self, payment: &Insert) -> Result<(), Broken> {
        self.statement = Statement::Lookup;
        payments::lookup(self.mode, payment, &mut self.out)?;
        Ok(())
    }

    /// Makes the exchange a round trip that changes nothing and shows that the session is alive.
    pub fn queue_validation(&mut self) -> Result<(), Broken> {
        self.statement = Statement::Validation;
        payments::validate(self.mode, &mut self.out)?;
        Ok(())
    }

    /// Seals what was queued into one write, with the Sync that commits it.
    pub fn begin(&mut self) -> Result<(), Broken> {
        self.completed = false;
        if self.statement != Statement::Insert {
            self.inserts.clear();
        }
        self.row = None;
        self.refused = None;
        frontend::sync(&mut self.out);
        self.seal()
    }

    /// Writes and reads until PostgreSQL is ready for the next exchange: only then is anything
    /// durable, since CommandComplete comes before the commit. After an error nothing of the
    /// exchange was written, and [`refusal`](Self::refusal) says why.
    pub fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            // Reading goes on while a write waits, so that the two ends cannot block each other.
            if let Poll::Ready(Err(broken)) = self.poll_flush(cx) {
                return Poll::Ready(Err(broken));
            }
            if self.read_answers()? {
                self.statement = Statement::None;
                return Poll::Ready(if self.refused.is_some() || self.completed {
                    Ok(())
                } else {
                    Err(Broken::Protocol)
                });
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// When insert number `index` of the finished exchange was written, or `None` where a row was
    /// there already.
    pub fn created_at(&self, index: usize) -> Option<i64> {
        self.inserts.get(index)?.1
    }

    /// The row that the finished exchange's lookup found.
    pub fn row(&self) -> Option<Row> {
        self.row
    }

    /// Why PostgreSQL refused the finished exchange, if it did.
    pub fn refusal(&self) -> Option<Rc<ServerError>> {
        self.refused.clone()
    }

    /// Whether PostgreSQL sent more after the end of the exchange, as it does before it shuts down,
    /// or ended the TLS session behind it.
    pub fn said_more(&mut self) -> bool {
        !self.transport.messages().is_empty() || self.transport.is_closed()
    }

    /// Looks at an idle connection and registers `cx` to be woken when something comes. Ready means
    /// that it is of no use: closed, or the server sent something unasked, as it does before it
    /// shuts down. Then [`refusal`](Self::refusal) has what it said.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        self.refused = None;
        loop {
            match ready!(self.poll_receive(cx)) {
                // A TLS record without a message inside (a session ticket, a key update) is fine.
                Ok(()) if self.transport.messages().is_empty() => {}
                Ok(()) => {
                    let read = self.read_answers();
                    return Poll::Ready(match (read, &self.refused) {
                        (_, Some(_)) => Broken::Closed,
                        (Err(broken), None) => broken,
                        (Ok(_), None) => Broken::Unasked,
                    });
                }
                Err(broken) => return Poll::Ready(broken),
            }
        }
    }

    /// Says goodbye, without waiting: the server need not log a lost connection.
    pub fn terminate(mut self) {
        self.out.clear();
        frontend::terminate(&mut self.out);
        if self.seal().is_ok() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _ = self.poll_flush(&mut cx);
        }
    }

    fn seal(&mut self) -> Result<(), Broken> {
        let sealed = self.transport.send(&self.out);
        self.out.clear();
        Ok(sealed?)
    }

    /// Handles the complete messages at hand; true at ReadyForQuery.
    fn read_answers(&mut self) -> Result<bool, Broken> {
        while let Some(message) = messages::next(self.transport.messages())? {
            match message.tag {
                b'Z' if message.body == b"I" => {
                    let len = message.len;
                    self.transport.consume_messages(len);
                    return Ok(true);
                }
                b'D' => match self.statement {
                    Statement::Lookup => self.row = Some(payments::read_lookup(message.body)?),
                    Statement::Insert => {
                        let (id, created_at) = payments::read_insert(message.body)?;
                        let mut inserts = self.inserts.iter_mut();
                        let own = inserts.find(|(insert, at)| at.is_none() && *insert == id);
                        own.ok_or(Broken::Protocol)?.1 = Some(created_at);
                    }
                    Statement::Validation => {
                        let columns = Columns::new(message.body)?;
                        let (is_durable, _) = payments::read_validation(columns)?;
                        if !is_durable {
                            return Err(Broken::NotDurable);
                        }
                    }
                    Statement::None => return Err(Broken::Protocol),
                },
                b'C' if self.statement != Statement::None && !self.completed => {
                    self.completed = true;
                }
                b'E' => self.refused = Some(Rc::new(ServerError::parse(message.body))),
                // ParseComplete and BindComplete say nothing that the answer does not.
                b'1' | b'2' => {}
                b'N' if self.completed && ServerError::is_warning(message.body) => {
                    self.refused = Some(Rc::new(ServerError::parse(message.body)));
                    return Err(Broken::Warned);
                }
                _ if payments::is_asynchronous(&message) => {}
                _ => return Err(Broken::Protocol),
            }
            let len = message.len;
            self.transport.consume_messages(len);
        }
        Ok(false)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.transport.outgoing().is_empty() {
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write(cx, self.transport.outgoing()))?;
            if count == 0 {
                return Poll::Ready(Err(Broken::Closed));
            }
            self.transport.sent(count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut space = ReadBuf::new(self.transport.read_space()?);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        if count == 0 {
            return Poll::Ready(Err(Broken::Closed));
        }
        self.transport.received(count)?;
        Poll::Ready(Ok(()))
    }
}
