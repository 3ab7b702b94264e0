//! Where new connections come from: threads that do handshakes, one at a time each.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::config::{DatabaseTarget, SecretSource, StatementMode};
use crate::limits::{CONNECTOR_NICENESS, OPENING_MAX_COUNT};
use crate::pg::connection::Connection;
use crate::pg::error::{ConnectError, ConnectStep};
use crate::pg::handshake::{self, Established};

/// A connection that is being made.
pub type Connecting<S> = Pin<Box<dyn Future<Output = Result<Connection<S>, ConnectError>>>>;

/// Makes connections for a pool.
pub trait Connect<S> {
    /// Makes one connection, logged in and idle.
    fn connect(&self) -> Connecting<S>;

    /// A random number for the jitter of pauses and lifetimes. A simulation draws it from its seed.
    fn draw(&self) -> u16 {
        let mut random = [0_u8; 2];
        // Without randomness there is no jitter, which harms nobody.
        let _ = crate::random::fill(&mut random);
        u16::from_le_bytes(random)
    }
}

/// Where the database is and how to log in; replaced when the secret changes.
#[derive(Clone)]
pub struct Credentials {
    target: Rc<RefCell<Arc<DatabaseTarget>>>,
    source: Arc<SecretSource>,
    region: Arc<str>,
}

impl Credentials {
    /// Credentials as read at start, and where they come from.
    pub fn new(target: DatabaseTarget, source: SecretSource, region: &str) -> Self {
        Self {
            target: Rc::new(RefCell::new(Arc::new(target))),
            source: Arc::new(source),
            region: region.into(),
        }
    }

    /// Those in force.
    pub fn current(&self) -> Arc<DatabaseTarget> {
        self.target.borrow().clone()
    }

    /// Puts other credentials in force, for connections made from now on.
    pub fn replace(&self, target: Arc<DatabaseTarget>) {
        *self.target.borrow_mut() = target;
    }
}

struct Job {
    target: Arc<DatabaseTarget>,
    source: Arc<SecretSource>,
    region: Arc<str>,
    mode: StatementMode,
    timeout: Duration,
    reply: oneshot::Sender<Made>,
}

/// A connection, and the credentials that it was made with.
type Made = (Result<Established, ConnectError>, Arc<DatabaseTarget>);

/// Connects over TCP, in threads of its own: payments on the runtime's thread must not wait for
/// what a handshake computes.
pub struct TcpConnector {
    jobs: mpsc::Sender<Job>,
    credentials: Credentials,
    mode: StatementMode,
    timeout: Duration,
    region: Rc<str>,
}

impl TcpConnector {
    /// Starts the threads. They end when this is dropped.
    pub fn start(
        credentials: Credentials,
        mode: StatementMode,
        timeout: Duration,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..OPENING_MAX_COUNT {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name("connector".into())
                .spawn(move || {
                    step_back();
                    while let Some(job) = next(&queue) {
                        job.run();
                    }
                })?;
        }
        Ok(Self {
            jobs,
            region: Rc::from(&*credentials.region),
            credentials,
            mode,
            timeout,
        })
    }
}

/// Lowers the priority of the current thread: where it shares a core with the runtime's, payments go
/// first.
fn step_back() {
    // `None` is process 0: to Linux, the calling thread (setpriority(2)). A failure leaves the
    // priority as it was.
    let _ = rustix::process::setpriority_process(None, CONNECTOR_NICENESS);
}

/// The next job, for whichever thread is free; `None` when there will be no more.
fn next(queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    queue.lock().ok()?.recv().ok()
}

impl Job {
    fn run(self) {
        let _ = self.reply.send(make(
            &self.target,
            &self.source,
            &self.region,
            self.mode,
            self.timeout,
        ));
    }
}

/// Connects with `target`. When its login is refused and its source has other credentials for the
/// same database, connects with those. No connection goes to another database before all of them
/// do.
fn make(
    target: &Arc<DatabaseTarget>,
    source: &SecretSource,
    region: &str,
    mode: StatementMode,
    timeout: Duration,
) -> Made {
    let made = handshake::connect(target, mode, timeout);
    if !matches!(&made, Err(error) if error.step == ConnectStep::Authentication) {
        return (made, target.clone());
    }
    let again = source
        .read()
        .and_then(|url| DatabaseTarget::parse(url.expose(), region));
    match again {
        Ok(again) if again != **target && again.leads_where(target) => {
            (handshake::connect(&again, mode, timeout), again.into())
        }
        _ => (made, target.clone()),
    }
}

impl Connect<TcpStream> for TcpConnector {
    fn connect(&self) -> Connecting<TcpStream> {
        let (reply, made) = oneshot::channel();
        let asked_with = self.credentials.target.borrow().clone();
        let job = Job {
            target: asked_with.clone(),
            source: self.credentials.source.clone(),
            region: self.credentials.region.clone(),
            mode: self.mode,
            timeout: self.timeout,
            reply,
        };
        let sent = self.jobs.send(job).is_ok();
        let (credentials, mode, region) =
            (self.credentials.clone(), self.mode, self.region.clone());
        Box::pin(async move {
            let gone =
                || ConnectError::new(ConnectStep::Protocol, "the connector thread has ended");
            if !sent {
                return Err(gone());
            }
            let (made, used) = made.await.map_err(|_| gone())?;
            // Unless the file's watcher has replaced them already.
            if !Arc::ptr_eq(&used, &asked_with)
                && Arc::ptr_eq(&asked_with, &credentials.target.borrow())
            {
                credentials.replace(used);
            }
            let made = made?;
            let stream = TcpStream::from_std(made.socket)
                .map_err(|error| ConnectError::new(ConnectStep::Connect, error.to_string()))?;
            Ok(Connection::new(stream, made.transport, mode, region))
        })
    }
}
