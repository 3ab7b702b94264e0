//! Sockets of callers: accepting them, bounding them, ending them.
//!
//! `connection` serves one; `registry` knows all of them and ends those whose time is over;
//! `buffers` is the memory that they share; `lane` is where the slow and the greedy wait; `secrets`
//! watches the files that keys and credentials come from.

mod buffers;
mod connection;
mod descriptors;
mod lane;
mod registry;
mod secrets;

use rustix::io::Errno;
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::buffers::Buffers;
use self::connection::Connection;
use self::lane::Lane;
use self::registry::Registry;
use crate::config::Config;
use crate::handlers::{self, App};
use crate::http::{Method, Refusal};
use crate::limits::{
    ACCEPT_PAUSE_MS, BUFFER_BYTES, FINISH_MARGIN_MS, LAG_INTERVAL_MS, LISTEN_BACKLOG_COUNT,
    PROCESSING_MAX_MS, RECEIVE_BUFFER_BYTES, RESERVED_DESCRIPTORS_COUNT, SEND_BUFFER_BYTES,
    SWEEP_GAP_MAX_MS, SWEEP_INTERVAL_MS, WRITE_TIMEOUT_MS,
};
use crate::log;
use crate::metrics::{Build, ConnectionEnd, Metrics};
use crate::pool::{Credentials, Pool, TcpConnector};

/// What all connections share.
struct Server {
    app: Rc<App>,
    buffers: Rc<Buffers>,
    registry: Rc<Registry>,
    lane: Lane,
    max_connections: usize,
    /// Told when the listener is to close.
    stop_accepting: Notify,
}

/// Serves until a signal has come and the drain is over.
///
/// # Errors
/// When it cannot listen, or cannot start a thread.
pub async fn run(mut config: Config, build: Build) -> io::Result<()> {
    let signals = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    config.max_connections = fit_descriptors(&config);
    let max_connections = config.max_connections;
    let listener = listen(config.listen)?;
    let metrics = Arc::new(Metrics::new(build));
    let credentials = Credentials::new(
        config.database.clone(),
        config.database_source.clone(),
        &config.region,
    );
    let connector = TcpConnector::start(
        credentials.clone(),
        config.pool.statement_mode,
        config.pool.connect_timeout,
    )?;
    let pool = Pool::start(config.pool, Box::new(connector), metrics.clone());
    let app = Rc::new(App::new(&config, pool.clone(), metrics.clone()));
    secrets::watch(&config, app.clone(), credentials)?;
    let server = Rc::new(Server {
        buffers: Rc::new(Buffers::new(metrics)),
        registry: Rc::new(Registry::new()),
        lane: Lane::new(),
        stop_accepting: Notify::new(),
        max_connections,
        app,
    });
    log::info("listening")
        .field("address", &listener.local_addr()?.to_string())
        .field("version", server.app.metrics().build().version)
        .emit();
    tokio::task::spawn_local(announce_ready(pool.clone()));
    tokio::task::spawn_local(sweep(server.clone()));
    tokio::task::spawn_local(watch_lag(server.clone()));
    let listener = Rc::new(listener);
    let accepting = tokio::task::spawn_local(accept(listener.clone(), server.clone()));
    // The longest that a payment which has just begun can take.
    let finish =
        config.payment_deadline + Duration::from_millis(PROCESSING_MAX_MS + FINISH_MARGIN_MS);
    drain(
        &server,
        (listener, accepting),
        signals,
        config.drain,
        finish,
    )
    .await;
    pool.close();
    Ok(())
}

/// Raises the limit of descriptors, and lowers the number of connections if it still allows fewer.
fn fit_descriptors(config: &Config) -> usize {
    let besides = RESERVED_DESCRIPTORS_COUNT + config.pool.size as u64;
    let wanted = config.max_connections as u64 + besides;
    let limit = descriptors::raise_limit(wanted);
    if limit >= wanted {
        return config.max_connections;
    }
    let connections = limit.saturating_sub(besides).max(1);
    log::warn("descriptor_limit_low")
        .field("limit", &limit)
        .field("wanted", &wanted)
        .field("connections", &connections)
        .emit();
    usize::try_from(connections).unwrap_or(config.max_connections)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier process may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Callers' sockets inherit both. Without them the kernel buffers megabytes from a caller that
    // waits for its turn, and for one that does not read its answers; these count against the pod's
    // memory.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    // An answer that fits into the send buffer counts as taken. If its caller never reads it, the
    // kernel would keep it for minutes, also after the connection was closed.
    SockRef::from(&socket).set_tcp_user_timeout(Some(Duration::from_millis(WRITE_TIMEOUT_MS)))?;
    socket
        .bind(address)
        .and_then(|()| socket.listen(LISTEN_BACKLOG_COUNT))
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })
}

async fn announce_ready(pool: Pool<TcpStream>) {
    pool.ready().await;
    log::info("ready")
        .field("connections", &pool.figures().open)
        .emit();
}

/// Time in which the process ran. While it stood still no caller could be served, so that time is
/// not counted.
struct Awake {
    time: Duration,
    looked: Instant,
}

impl Awake {
    fn since(now: Instant) -> Self {
        Self {
            time: Duration::ZERO,
            looked: now,
        }
    }

    /// In milliseconds.
    fn until(&mut self, now: Instant) -> u64 {
        self.time += (now - self.looked).min(Duration::from_millis(SWEEP_GAP_MAX_MS));
        self.looked = now;
        u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Ends connections whose time is over, one at a time, polling the sockets in between: a crowd that
/// came at once, and so is overdue at once, does not hold up payments.
async fn sweep(server: Rc<Server>) {
    let mut awake = Awake::since(Instant::now());
    let mut ticks = interval(Duration::from_millis(SWEEP_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while server.registry.end_overdue(awake.until(Instant::now())) {
            yield_now().await;
        }
    }
}

/// Observes how late the thread comes to a timer. After a long delay it observes every tick that
/// was missed: otherwise the longest delay would weigh as little as a short one.
async fn watch_lag(server: Rc<Server>) {
    let mut ticks = interval(Duration::from_millis(LAG_INTERVAL_MS));
    loop {
        let due = ticks.tick().await.into_std();
        let lags = &server.app.metrics().http.event_loop_lags;
        lags.observe(Instant::now().saturating_duration_since(due));
    }
}

/// Accepts connections, polling the other sockets after each: a flood does not hold up payments.
async fn accept(listener: Rc<TcpListener>, server: Rc<Server>) {
    let mut warnings = log::Limited::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = server.stop_accepting.notified() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                server.clone().admit(stream);
                yield_now().await;
            }
            Err(error) => {
                if let Some(line) = warnings.warn("accept_failed") {
                    line.field("reason", &error.to_string()).emit();
                }
                // When descriptors run out, one connection is ended for each newcomer. A newcomer
                // that has already gone needs no pause; other errors pass with time.
                let pause = match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::MFILE) => !server.registry.evict(),
                    Some(Errno::CONNABORTED) => false,
                    _ => true,
                };
                match pause {
                    true => sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await,
                    false => yield_now().await,
                }
            }
        }
    }
}

/// Accepts callers that have already connected: closing the listener would reset them.
fn take_last(listener: &TcpListener, server: &Rc<Server>) {
    for _ in 0..LISTEN_BACKLOG_COUNT {
        // By the system call: tokio may not have heard of them yet.
        let accepted = SockRef::from(listener).accept().and_then(|(socket, _)| {
            socket.set_nonblocking(true)?;
            TcpStream::from_std(socket.into())
        });
        match accepted {
            Ok(stream) => server.clone().admit(stream),
            // That one has left already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return,
        }
    }
}

/// Sends a newcomer its only answer and reads what it has sent so far: unread bytes would turn the
/// close into a reset, which may destroy the answer. By system calls: tokio may not know yet what
/// the socket is ready for.
fn turn_away(stream: &TcpStream, answer: &[u8]) {
    let socket = SockRef::from(stream);
    let _ = socket.send(answer);
    let _ = socket.shutdown(Shutdown::Write);
    let mut scrap = [MaybeUninit::uninit(); 512];
    for _ in 0..BUFFER_BYTES / scrap.len() {
        if !matches!(socket.recv(&mut scrap), Ok(count) if count > 0) {
            break;
        }
    }
}

impl Server {
    /// While buffers are tight, each use of more of them ends the caller that can best be spared.
    fn keep_room(&self) {
        if self.buffers.are_tight() {
            self.registry.end_slowest();
        }
    }

    fn admit(self: Rc<Self>, stream: TcpStream) {
        let http = &self.app.metrics().http;
        http.accepted.increment();
        let _ = stream.set_nodelay(true);
        // An evicted connection ends a moment later; the newcomer does not wait for that.
        if self.registry.len() >= self.max_connections && !self.registry.evict() {
            let mut answer = Vec::new();
            handlers::refuse(
                &self.app,
                Refusal::TooManyConnections,
                Method::Other,
                &mut answer,
            );
            http.refusal(Refusal::TooManyConnections);
            http.closed(ConnectionEnd::Refused);
            return turn_away(&stream, &answer);
        }
        let place = self.registry.enter();
        http.connections.set(self.registry.len());
        tokio::task::spawn_local(Connection::new(stream, self.clone(), place).run());
    }
}

/// Waits for a signal, then for the load balancer to stop sending and for requests to finish. A
/// second signal ends the process at once.
async fn drain(
    server: &Rc<Server>,
    (listener, accepting): (Rc<TcpListener>, JoinHandle<()>),
    (mut terminate, mut interrupt): (Signal, Signal),
    duration: Duration,
    finish: Duration,
) {
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    server.app.begin_drain();
    log::info("draining")
        .field("signal", name)
        .field(
            "drain_ms",
            &u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        )
        .emit();
    let finished = async {
        sleep(duration).await;
        server.stop_accepting.notify_one();
        // The task holds the listener, too: after its end the one below is the last, and nobody
        // comes between.
        let _ = accepting.await;
        take_last(&listener, server);
        drop(listener);
        // The new connections begin to wait before idle ones are ended.
        yield_now().await;
        let empty = async {
            let look = Duration::from_millis(SWEEP_INTERVAL_MS);
            loop {
                while server.registry.drain() {
                    yield_now().await;
                }
                // A connection that was writing its answer, or waiting for its turn, becomes idle
                // later.
                let left = poll_fn(|cx| server.registry.poll_empty(cx));
                if timeout(look, left).await.is_ok() {
                    break;
                }
            }
        };
        timeout(finish, empty).await.is_ok()
    };
    let in_time = tokio::select! {
        in_time = finished => in_time,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    let left = server.registry.len();
    log::info("stopped")
        .field("finished", &in_time)
        .field("connections_left", &left)
        .emit();
    // Connections that are still open are cut off: their tasks end with the runtime.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_on_callers_that_take_nothing() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (_caller, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.unwrap();
        assert_eq!(
            SockRef::from(&stream).tcp_user_timeout().unwrap(),
            Some(Duration::from_millis(WRITE_TIMEOUT_MS))
        );
    }

    #[test]
    fn time_in_which_the_process_stood_still_does_not_count() {
        let began = Instant::now();
        let mut awake = Awake::since(began);
        let later = |ms| began + Duration::from_millis(ms);
        assert_eq!(awake.until(later(100)), 100);
        assert_eq!(awake.until(later(600)), 600, "a busy turn");
        assert_eq!(awake.until(later(60_000)), 600 + SWEEP_GAP_MAX_MS);
        assert_eq!(awake.until(later(60_100)), 700 + SWEEP_GAP_MAX_MS);
    }
}
