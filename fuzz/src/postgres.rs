//! Bytes from the database.

use payment_latency_api::config::{DatabaseTarget, StatementMode};
use payment_latency_api::payment::{Amount, Currency, Outcome};
use payment_latency_api::pg::connection::Connection;
use payment_latency_api::pg::error::ServerError;
use payment_latency_api::pg::messages::{self, Columns};
use payment_latency_api::pg::payments::Insert;
use payment_latency_api::pg::scram::{ChannelBinding, Scram};
use payment_latency_api::pg::transport::Transport;
use payment_latency_api::pg::{handshake, payments};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Pieces;

/// A server that accepts everything, answers with what it was given, then closes.
struct Server<'a> {
    answers: Pieces<'a>,
    /// What did not fit in the last read.
    left: &'a [u8],
}

impl AsyncRead for Server<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            self.left = self.answers.next().unwrap_or_default();
        }
        let (now, later) = self.left.split_at(self.left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The answer to an exchange of up to three inserts, or of a lookup, or of nothing: the first byte
/// says which, and the second where the answer is split. The exchange must end, and success needs
/// ReadyForQuery.
pub fn exchange(data: &[u8]) {
    let [shape, seed, bytes @ ..] = data else {
        return;
    };
    parts(bytes);
    // Anything after ReadyForQuery is unsolicited: if it arrives with it, the exchange fails; if later,
    // it is left to the check of the idle connection.
    let (answer, _) = bytes.split_at(end_of_answer(bytes));
    let whole = run(*shape, *seed, answer);
    assert_eq!(
        whole,
        run(*shape, seed.wrapping_add(1), answer),
        "splitting the answer changes the result"
    );
    assert!(whole.is_err() || answer.ends_with(b"Z\0\0\0\x05I"));
    let more = run(*shape, *seed, bytes);
    assert!(more.is_err() || more == whole);
}

/// Where the first ReadyForQuery ends.
fn end_of_answer(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Ok(Some(message)) = messages::next(bytes.split_at(end).1) {
        end += message.len;
        if message.tag == b'Z' {
            return end;
        }
    }
    bytes.len()
}

type Found = (Vec<Option<i64>>, bool, bool);

fn run(shape: u8, seed: u8, bytes: &[u8]) -> Result<Found, ()> {
    let server = Server {
        answers: Pieces::new(seed, bytes),
        left: b"",
    };
    let mode = match shape & 4 {
        0 => StatementMode::Unnamed,
        _ => StatementMode::Named,
    };
    let mut connection = Connection::new(server, Transport::plain(), mode, Rc::from("local"));
    let inserts = shape & 3;
    let all = [payment(1), payment(2), payment(3)];
    let payments: Vec<&Insert> = all.iter().take(inserts.into()).collect();
    if shape & 8 != 0 {
        connection.queue_lookup(&payment(1)).map_err(drop)?;
    } else if inserts > 0 {
        connection.queue_inserts(&payments).map_err(drop)?;
    } else {
        connection.queue_validation().map_err(drop)?;
    }
    connection.begin().map_err(drop)?;
    let mut cx = Context::from_waker(Waker::noop());
    // The server never makes it wait, so one call is enough.
    let Poll::Ready(result) = connection.poll_exchange(&mut cx) else {
        panic!("an exchange waits for a server that has closed the connection");
    };
    result.map_err(drop)?;
    let created = (0..inserts.into()).map(|index| connection.created_at(index));
    let created: Vec<Option<i64>> = created.collect();
    for (payment, _) in payments.iter().zip(&created).filter(|(_, at)| at.is_some()) {
        let id = payment.transaction_id;
        assert!(
            bytes.windows(id.len()).any(|part| part == id),
            "the server did not say that it was written"
        );
    }
    let found = (
        created,
        connection.row().is_some(),
        connection.refusal().is_some(),
    );
    let _ = connection.poll_idle(&mut cx);
    connection.terminate();
    Ok(found)
}

fn payment(number: u8) -> Insert {
    Insert {
        transaction_id: [number; 16],
        idempotency_key: None,
        request_hash: [2; 32],
        amount: Amount::from_major_units(1, Currency::EUR),
        currency: Currency::EUR,
        outcome: Outcome::Approved,
        processing_ms: 0,
    }
}

/// The parts, whatever the tag: a body is read as every kind of message that has one.
fn parts(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(message)) = messages::next(rest) {
        assert!(message.len >= 5 && message.body.len() == message.len - 5);
        let error = ServerError::parse(message.body);
        assert!(error.state.as_str().len() <= 5);
        let _ = payments::read_insert(message.body);
        let _ = payments::read_lookup(message.body);
        let _ = payments::is_asynchronous(&message);
        if let Ok(mut columns) = Columns::new(message.body) {
            while columns.next_column().is_ok() {}
        }
        rest = rest.split_at(message.len).1;
    }
}

/// The two answers of a SCRAM server, after the password and separated by line ends: the first byte
/// chooses the channel binding, and `$nonce` becomes the client's. Only a server with the password's
/// verifier can sign, so no input may succeed.
pub fn scram(data: &[u8]) {
    let Some((mode, text)) = data.split_first() else {
        return;
    };
    let mut parts = text.splitn(3, |&b| b == b'\n');
    let (Some(password), Some(first), Some(last)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let binding = match mode % 3 {
        0 => ChannelBinding::Unsupported,
        1 => ChannelBinding::Unrequested,
        _ => ChannelBinding::ServerEndPoint(vec![*mode; 32]),
    };
    let scram = Scram::new(binding).expect("random bytes");
    let message = scram.message();
    let (_, nonce) = message.rsplit_once("r=").expect("a nonce");
    let first = match first.windows(NONCE.len()).position(|bytes| bytes == NONCE) {
        Some(at) => {
            let (before, after) = first.split_at(at);
            [before, nonce.as_bytes(), after.split_at(NONCE.len()).1].concat()
        }
        None => first.to_vec(),
    };
    if let Ok(proven) = scram.prove(password, &first) {
        assert!(
            first.starts_with(format!("r={nonce}").as_bytes()),
            "another nonce"
        );
        assert!(proven.message.starts_with("c="));
        assert!(
            proven.finish(last).is_err(),
            "a signature without the verifier"
        );
    }
}

/// Stands for the client's nonce in an input.
const NONCE: &[u8] = b"$nonce";

/// What a server answers to a login, over a real socket. `$nonce` in it becomes the client's, so that
/// SCRAM gets past its first step. It must end, and a login needs authentication and ReadyForQuery.
pub fn login(data: &[u8]) {
    static SERVER: OnceLock<Mutex<Postgres>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Mutex::new(Postgres::start()));
    let server = server.lock().expect("there is no other thread");
    server.answers.send(data.to_vec()).expect("the server runs");
    let url = format!(
        "postgresql://user:password@{}/db?sslmode=disable",
        server.address
    );
    let target = DatabaseTarget::parse(&url, "local").expect("a valid URL");
    let timeout = Duration::from_secs(10);
    let made = handshake::connect(&target, StatementMode::Unnamed, timeout).is_ok();
    server.done.recv().expect("the server runs");
    if made {
        let ready = data
            .windows(6)
            .filter(|bytes| bytes == b"Z\0\0\0\x05I")
            .count();
        assert!(ready >= 2, "a login without ReadyForQuery");
        assert!(data.windows(9).any(|bytes| bytes == b"R\0\0\0\x08\0\0\0\0"));
    }
}

struct Postgres {
    address: SocketAddr,
    answers: SyncSender<Vec<u8>>,
    done: Receiver<()>,
}

impl Postgres {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (answers, to_send) = sync_channel::<Vec<u8>>(1);
        let (finished, done) = sync_channel(1);
        std::thread::spawn(move || {
            for answer in to_send {
                if let Ok((socket, _)) = listener.accept() {
                    let _ = serve(socket, &answer);
                }
                let _ = finished.send(());
            }
        });
        Self {
            address,
            answers,
            done,
        }
    }
}

/// Sends what comes before `$nonce` at once, waits for the client's nonce, and sends the rest.
fn serve(mut socket: TcpStream, answer: &[u8]) -> io::Result<()> {
    let mark = answer.windows(NONCE.len()).position(|bytes| bytes == NONCE);
    let mut received = Vec::new();
    if let Some(at) = mark {
        let (before, after) = answer.split_at(at);
        // The message that contains the nonce grows with it.
        socket.write_all(before)?;
        // A client that still waits for more does not send a nonce, and both would wait.
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let nonce = loop {
            if let Some(at) = received.windows(5).position(|bytes| bytes == b"n,,n=") {
                let nonce = received.split_at(at).1;
                if let Some(at) = nonce.windows(3).position(|bytes| bytes == b",r=") {
                    break nonce.split_at(at + 3).1.to_vec();
                }
            }
            let mut buffer = [0; 1_024];
            let count = socket.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            received.extend_from_slice(buffer.split_at(count).0);
        };
        socket.write_all(&nonce)?;
        socket.write_all(after.split_at(NONCE.len()).1)?;
    } else {
        socket.write_all(answer)?;
    }
    socket.set_read_timeout(None)?;
    socket.shutdown(std::net::Shutdown::Write)?;
    io::copy(&mut socket, &mut io::sink()).map(drop)
}
