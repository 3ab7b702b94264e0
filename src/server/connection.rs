//! One connection of a caller: reads requests, has them handled, writes answers in order.

use socket2::SockRef;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::Server;
use super::buffers::Buffer;
use super::registry::{Ending, Phase, Place};
use crate::handlers::{self, App, Caller, Deferred, HungUp, Next};
use crate::http::response::{CONTINUE, Status};
use crate::http::{BodyLength, BodyReader, HeadScan, Method, Refusal, request};
use crate::limits::{
    LINGER_MAX_BYTES, PIPELINE_FLUSH_BYTES, PIPELINE_TURN_COUNT, RETRY_AFTER_S, RETRY_SPREAD_MS,
};
use crate::metrics::ConnectionEnd;

/// Why no further request is read.
enum Stop {
    /// The connection has ended.
    End(ConnectionEnd),
    /// The request is refused: it is answered, and the connection closed. Its method, if its head
    /// has been consumed already.
    Refuse(Refusal, Option<Method>),
    /// The last answer is written, or about to be.
    Close(ConnectionEnd),
    /// No request came for a while.
    Park,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal, None)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::End(match error.kind() {
            // The kernel's own limit, for an answer that it had taken: `TCP_USER_TIMEOUT`.
            io::ErrorKind::TimedOut => ConnectionEnd::WriteTimeout,
            _ => ConnectionEnd::Error,
        })
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    server: Rc<Server>,
    place: Place,
    /// What was received and not yet handled; an idle connection has no buffer.
    input: Option<Buffer>,
    /// Answers not yet written.
    output: Option<Buffer>,
    scan: HeadScan,
    /// The body of the request at the beginning of the input has already been discarded.
    body_is_read: bool,
    /// Its place was given away just as a request came in: that request is its last.
    evicted: bool,
    /// Requests that may be answered before others have their turn.
    left: u32,
    /// When it may ask again, if its last answer was a 503.
    refused_until: Option<Instant>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, server: Rc<Server>, place: Place) -> Self {
        Self {
            stream,
            server,
            place,
            input: None,
            output: None,
            scan: HeadScan::new(),
            body_is_read: false,
            evicted: false,
            left: 1,
            refused_until: None,
        }
    }

    /// Serves the connection to its end. The state of serving is in a box that lives as long as
    /// requests come; a parked connection is a socket and this small future.
    // No `async fn`: that would hold the connection twice, as its argument and as what it is moved to.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let end = loop {
                let stop = match self.park().await {
                    Ok(()) => Box::pin(self.serve()).await,
                    Err(stop) => stop,
                };
                let end = match stop {
                    Stop::Park => continue,
                    Stop::End(end) => break end,
                    Stop::Close(end) => end,
                    Stop::Refuse(refusal, method) => {
                        self.refuse(refusal, method);
                        ConnectionEnd::Refused
                    }
                };
                break Box::pin(self.close(end)).await;
            };
            let Self { server, place, .. } = self;
            drop(place);
            let http = &server.app.metrics().http;
            http.closed(end);
            http.connections.set(server.registry.len());
        }
    }

    /// Waits for the beginning of a request.
    async fn park(&mut self) -> Result<(), Stop> {
        self.place.set(Phase::Parked);
        self.scan = HeadScan::new();
        self.read_more().await
    }

    /// Serves requests until none comes for a while, or none may come any more.
    async fn serve(&mut self) -> Stop {
        loop {
            if let Err(stop) = self.serve_one().await {
                return stop;
            }
        }
    }

    /// Reads one request and answers it. The answer may stay in the buffer when more requests have
    /// arrived already; it is written before anything is waited for.
    async fn serve_one(&mut self) -> Result<(), Stop> {
        let app = self.server.app.clone();
        let head = self.read_head().await?;
        self.refused_until = None;
        self.place.set(Phase::Busy);
        // Both are made where they stay, since they are large.
        let mut caller;
        let mut next = loop {
            let output = buffer(&mut self.output, &self.server)?;
            let bytes = self.input.as_deref().and_then(|input| input.get(..head));
            let request = request::parse(bytes.unwrap_or_default())?;
            if request.body != BodyLength::None && !self.body_is_read {
                let (body, expects) = (request.body, request.expect_continue);
                self.read_body(head, body, expects).await?;
                self.body_is_read = true;
                continue;
            }
            caller = Caller::new(&app, &request, Instant::now());
            caller.keep_alive &= !self.evicted;
            break handlers::handle(&app, &request, &caller, output);
        };
        self.body_is_read = false;
        self.consume(head);
        let status = match &mut next {
            Next::Answered(status) => *status,
            Next::Deferred(deferred) => {
                self.flush().await?;
                // The time limit of earlier answers ends here; the payment's answer gets one of its
                // own.
                self.place.enter_phase(Phase::Busy);
                self.prepare_to_wait(caller.method)?;
                match deferred.begin(&app, &caller, buffer(&mut self.output, &self.server)?) {
                    Some(status) => status,
                    None => self.wait_for(&app, deferred, &mut caller).await?,
                }
            }
        };
        app.note(&caller, status, &next);
        // The payment is over, whether or not its caller takes the answer.
        drop(next);
        self.left = self.left.saturating_sub(1);
        self.after_answer().await?;
        if status == Status::ServiceUnavailable {
            self.flush().await?;
            self.refused_until = Some(Instant::now() + self.retry_after());
        }
        let asks = self.input.as_deref().is_some_and(|input| !input.is_empty());
        if asks && caller.keep_alive {
            let too_soon = self.asks_too_soon();
            self.give_way(too_soon).await?;
        }
        match (caller.keep_alive, app.is_draining()) {
            (true, _) => Ok(()),
            (false, _) if self.evicted => Err(Stop::Close(ConnectionEnd::Evicted)),
            (false, true) => Err(Stop::Close(ConnectionEnd::Drain)),
            (false, false) => Err(Stop::Close(ConnectionEnd::Requested)),
        }
    }

    /// Runs a deferred request and writes its answer.
    async fn wait_for(
        &mut self,
        app: &App,
        deferred: &mut Deferred,
        caller: &mut Caller,
    ) -> Result<Status, Stop> {
        for buffer in [&mut self.input, &mut self.output].into_iter().flatten() {
            buffer.lend_memory();
        }
        let hang_up = HangUp {
            stream: &mut self.stream,
            input: &mut self.input,
        };
        match deferred.run(app, hang_up).await {
            Ok(over) => caller.now = over,
            Err(HungUp) => return Err(Stop::End(ConnectionEnd::Peer)),
        }
        // A drain that began in the meantime closes this connection, too.
        caller.keep_alive &= !app.is_draining();
        let output = buffer(&mut self.output, &self.server)?;
        Ok(deferred.write(app, caller, output))
    }

    /// Checked before a request has an effect: there must be room for its answer, and waiting
    /// requests must not hold buffers that others need.
    fn prepare_to_wait(&mut self, method: Method) -> Result<(), Stop> {
        let small = self.input.as_mut().is_none_or(Buffer::shrink);
        let is_ready = (small || self.server.buffers.are_ample())
            && buffer(&mut self.output, &self.server).is_ok();
        if is_ready {
            return Ok(());
        }
        // The input holds the next request; the refusal is of this one.
        self.input = None;
        Err(Stop::Refuse(Refusal::BuffersExhausted, Some(method)))
    }

    async fn after_answer(&mut self) -> Result<(), Stop> {
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        output.recount();
        if output.len() >= PIPELINE_FLUSH_BYTES {
            self.flush().await?;
            self.left = 0;
        }
        Ok(())
    }

    /// Called when the next request has already arrived: callers that ask for one thing come before
    /// those that ask for many, thousands of which may become readable at once. So a request that
    /// was waited for is answered as it comes; those behind it wait in the lane, and then some are
    /// answered together. Nothing is lost if the connection ends meanwhile.
    async fn give_way(&mut self, too_soon: Option<Instant>) -> Result<(), Stop> {
        if too_soon.is_none() && self.left > 0 {
            return Ok(());
        }
        self.flush().await?;
        self.left = PIPELINE_TURN_COUNT;
        self.place.set(match self.input {
            Some(_) => Phase::Turn,
            None => Phase::Unread,
        });
        let (place, lane) = (&self.place, &self.server.lane);
        let mut turn = pin!(async {
            match too_soon {
                Some(until) => drop(timeout_at(until.into(), lane.turn()).await),
                None => lane.turn().await,
            }
        });
        // Its room may be needed: what was not answered yet, the caller may ask elsewhere.
        let ended = poll_fn(|cx| match place.poll_ending(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => turn.as_mut().poll(cx).map(|()| false),
        });
        match ended.await {
            true => Err(Stop::Close(ConnectionEnd::Evicted)),
            false => Ok(()),
        }
    }

    /// `Retry-After`, less a part that differs between connections: a crowd that was refused
    /// together must not come back together.
    fn retry_after(&self) -> Duration {
        let spread_ms = self.place.number() as u64 % RETRY_SPREAD_MS;
        Duration::from_millis(RETRY_AFTER_S * 1_000 - spread_ms)
    }

    /// Until when a refused caller that asks again before `Retry-After` goes behind all others:
    /// otherwise refusals would take the time that payments need.
    fn asks_too_soon(&self) -> Option<Instant> {
        self.refused_until.filter(|until| Instant::now() < *until)
    }

    /// Forgets a request that has been read.
    fn consume(&mut self, length: usize) {
        if let Some(input) = &mut self.input {
            let length = length.min(input.len());
            input.drain(..length);
        }
    }

    /// Waits for a complete request head at the beginning of the input and returns its length.
    async fn read_head(&mut self) -> Result<usize, Stop> {
        self.scan = HeadScan::new();
        loop {
            if let Some(input) = &self.input {
                if let Some(length) = self.scan.scan(input)? {
                    return Ok(length);
                }
                if input.is_empty() {
                    self.input = None;
                }
            }
            self.flush().await?;
            let phase = match self.scan.has_begun() {
                true => Phase::Head,
                false => Phase::Idle,
            };
            self.place.enter_phase(phase);
            match (self.read_more().await, phase) {
                (Err(Stop::End(ConnectionEnd::KeepAlive)), Phase::Head) => {
                    return Err(Refusal::HeadTimeout.into());
                }
                (Err(Stop::End(ConnectionEnd::KeepAlive)), _) => {
                    // Blank lines, at most, which mean nothing before a request.
                    self.input = None;
                    return Err(Stop::Park);
                }
                (result, _) => result?,
            }
        }
    }

    /// Reads the body behind the head of `head` bytes and throws it away.
    async fn read_body(
        &mut self,
        head: usize,
        length: BodyLength,
        expects_continue: bool,
    ) -> Result<(), Stop> {
        let mut body = BodyReader::new(length);
        // RFC 9110 section 10.1.1: no interim answer once some of the body has arrived.
        let mut announce = expects_continue;
        self.place.set(Phase::Body);
        loop {
            let Some(input) = &mut self.input else {
                return Err(Stop::End(ConnectionEnd::Error));
            };
            let progress = body.feed(input.get(head..).unwrap_or_default())?;
            input.drain(head..head + progress.consumed);
            if progress.complete {
                self.place.set(Phase::Busy);
                return Ok(());
            }
            if std::mem::take(&mut announce) && progress.consumed == 0 {
                let output = buffer(&mut self.output, &self.server)?;
                output.extend_from_slice(CONTINUE);
                output.recount();
            }
            self.flush().await?;
            self.place.enter_phase(Phase::Body);
            match self.read_more().await {
                Err(Stop::End(ConnectionEnd::KeepAlive)) => {
                    return Err(Refusal::BodyTimeout.into());
                }
                result => result?,
            }
        }
    }

    /// Waits for bytes and appends them to the input.
    async fn read_more(&mut self) -> Result<(), Stop> {
        let phase = self.place.phase();
        loop {
            let mut waited = false;
            let ready = poll_fn(|cx| {
                let ready = self.poll_readable(cx);
                waited |= ready.is_pending();
                ready
            });
            let ended = ready.await.err();
            if waited {
                self.left = 1;
            }
            let too_soon = self.asks_too_soon();
            let comes_at_once = !waited || too_soon.is_some();
            match ended {
                // In a box, as below, since parked connections hold this future, too.
                None if comes_at_once && !self.scan.has_begun() => {
                    Box::pin(self.give_way(too_soon)).await?;
                    self.place.enter_phase(phase);
                }
                None => {}
                // An idle connection that is to end is looked at once more: a request that came in at the
                // same moment is still answered.
                Some(_) if !self.scan.has_begun() && self.has_arrived() => {
                    self.evicted |= matches!(ended, Some(Stop::End(ConnectionEnd::Evicted)));
                }
                Some(stop) => return Err(stop),
            }
            if self.scan.has_begun() {
                // A caller that sends a request in pieces waits behind those that do not.
                Box::pin(self.server.lane.turn_of(&self.place)).await?;
            }
            if self.input.is_none() && self.server.buffers.are_tight() && !self.sends().await? {
                self.place.enter_phase(phase);
                continue;
            }
            let input = room_to_read(&mut self.input, &self.server, &self.place)?;
            match read_now(&mut self.stream, input).await {
                Poll::Ready(Ok(0)) => return Err(Stop::End(ConnectionEnd::Peer)),
                Poll::Ready(Ok(_)) => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending if input.is_empty() => self.input = None,
                Poll::Pending => {}
            }
            self.place.enter_phase(phase);
        }
    }

    /// Ready when there is something to read, or when the connection is to end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        match self.place.poll_ending(cx) {
            Poll::Ready(ending) => Poll::Ready(Err(ending.into())),
            Poll::Pending => self.stream.poll_read_ready(cx).map_err(Stop::from),
        }
    }

    /// Whether there are bytes to read. A socket also looks readable before a newcomer has sent
    /// any, and after the caller has left. While buffers are tight neither takes one, since another
    /// caller would have to give it up.
    async fn sends(&self) -> Result<bool, Stop> {
        let mut byte = [0];
        let peeked = poll_fn(|cx| {
            let mut byte = ReadBuf::new(&mut byte);
            Poll::Ready(self.stream.poll_peek(cx, &mut byte))
        });
        match peeked.await {
            Poll::Ready(Ok(0)) => Err(Stop::End(ConnectionEnd::Peer)),
            Poll::Ready(result) => Ok(result? > 0),
            Poll::Pending => Ok(false),
        }
    }

    /// Whether the caller has sent something that is not read yet.
    fn has_arrived(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(SockRef::from(&self.stream).peek(&mut byte), Ok(count) if count > 0)
    }

    /// Writes all answers that are ready.
    async fn flush(&mut self) -> Result<(), Stop> {
        let Some(output) = &self.output else {
            return Ok(());
        };
        let (mut written, mut waited) = (0, false);
        while let Some(rest) = output.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let (place, stream) = (&self.place, &self.stream);
                    place.enter_phase(Phase::Write);
                    waited = true;
                    poll_fn(|cx| match place.poll_ending(cx) {
                        Poll::Ready(ending) => Poll::Ready(Err(not_taken(ending))),
                        Poll::Pending => stream.poll_write_ready(cx).map_err(Stop::from),
                    })
                    .await?;
                    let turn = self.server.lane.turn_of(&self.place).await;
                    turn.map_err(not_taken)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.output = None;
        if waited {
            self.place.set(Phase::Busy);
        }
        Ok(())
    }

    /// The method, as far as it can be told from bytes that may be no request.
    fn method_asked(&self) -> Method {
        let input = self.input.as_deref().map_or(&[][..], |input| input);
        let begins = input.iter().position(|byte| !b"\r\n".contains(byte));
        let request = begins.and_then(|begins| input.get(begins..));
        match request.is_some_and(|request| request.starts_with(b"HEAD ")) {
            true => Method::Head,
            false => Method::Other,
        }
    }

    fn refuse(&mut self, refusal: Refusal, method: Option<Method>) {
        let method = method.unwrap_or_else(|| self.method_asked());
        let app = &self.server.app;
        app.metrics().http.refusal(refusal);
        // Nothing more of it is read: its answer takes that room, and nobody is ended for it.
        self.input = None;
        if self.output.is_none() {
            self.output = self.server.buffers.take();
        }
        if let Some(output) = &mut self.output {
            handlers::refuse(app, refusal, method, output);
            return output.recount();
        }
        // The budget is used up: this answer is made outside of it, and only what the socket takes
        // at once is sent.
        let mut answer = Vec::new();
        handlers::refuse(app, refusal, method, &mut answer);
        let _ = self.stream.try_write(&answer);
    }

    /// Writes what is left, says that nothing more will come, and waits a little for the caller to
    /// close: unread bytes would turn the close into a reset, which may destroy the answer on its
    /// way (RFC 9112 section 9.6).
    async fn close(&mut self, end: ConnectionEnd) -> ConnectionEnd {
        if let Err(Stop::End(failed)) = self.flush().await {
            return failed;
        }
        if SockRef::from(&self.stream)
            .shutdown(Shutdown::Write)
            .is_err()
        {
            return end;
        }
        self.place.set(Phase::Linger);
        self.input = None;
        let mut left = LINGER_MAX_BYTES;
        let mut scrap = [0; 512];
        loop {
            if poll_fn(|cx| self.poll_readable(cx)).await.is_err() {
                return end;
            }
            match self.stream.try_read(&mut scrap) {
                Ok(count) if count > 0 && left > count as u64 => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return end,
            }
        }
    }
}

impl From<Ending> for Stop {
    fn from(ending: Ending) -> Self {
        Self::End(match ending {
            Ending::TimedOut => ConnectionEnd::KeepAlive,
            Ending::Evicted => ConnectionEnd::Evicted,
            Ending::Drained => ConnectionEnd::Drain,
        })
    }
}

/// What an ending means for a connection whose caller has not read its answer.
fn not_taken(ending: Ending) -> Stop {
    Stop::End(match ending {
        Ending::Evicted => ConnectionEnd::Evicted,
        Ending::TimedOut | Ending::Drained => ConnectionEnd::WriteTimeout,
    })
}

fn buffer<'a>(slot: &'a mut Option<Buffer>, server: &Server) -> Result<&'a mut Buffer, Stop> {
    if slot.is_none() {
        *slot = server.buffers.take();
        server.keep_room();
    }
    slot.as_mut().ok_or(Refusal::BuffersExhausted.into())
}

/// The input, with room for at least one more byte.
fn room_to_read<'a>(
    input: &'a mut Option<Buffer>,
    server: &Server,
    place: &Place,
) -> Result<&'a mut Buffer, Stop> {
    let input = buffer(input, server)?;
    let before = input.capacity();
    let fits = input.make_room();
    if !fits || input.capacity() > before {
        server.keep_room();
        // The one that was ended may be this one.
        if let Some(ending) = place.ended() {
            return Err(ending.into());
        }
    }
    match fits {
        true => Ok(input),
        false => Err(Refusal::BuffersExhausted.into()),
    }
}

/// Reads what is there, without waiting.
///
/// Uses `poll_read`, not `try_read`: a read that does not fill the buffer tells tokio that the
/// socket is empty, which saves the system call that would find out.
async fn read_now(stream: &mut TcpStream, input: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    poll_fn(|cx| Poll::Ready(pin!(stream.read_buf(input)).poll(cx))).await
}

/// Ready when the caller has hung up. Until then it takes in what the caller sends ahead, as far as
/// there is room.
struct HangUp<'a> {
    stream: &'a mut TcpStream,
    input: &'a mut Option<Buffer>,
}

impl Future for HangUp<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stream, input } = &mut *self;
        loop {
            let Some(input) = input
                .as_mut()
                .filter(|input| input.len() < input.capacity())
            else {
                return Poll::Pending;
            };
            // Memory is taken only once bytes have come.
            if ready!(stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let read = pin!(stream.read_buf(&mut **input)).poll(cx);
            input.lend_memory();
            match ready!(read) {
                Ok(count) if count > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}
