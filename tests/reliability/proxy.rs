//! A network between the service and its database that can be cut, silenced, slowed and switched.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to bytes in transit.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Forward,
    /// Nobody gets through: a new connection ends at once.
    Refuse,
    /// Bytes are silently dropped: a half-open connection.
    Swallow,
    /// Bytes are passed on this much later.
    Delay,
    /// One byte at a time.
    Dribble,
}

const MODES: [Mode; 5] = [
    Mode::Forward,
    Mode::Refuse,
    Mode::Swallow,
    Mode::Delay,
    Mode::Dribble,
];
const DELAY: Duration = Duration::from_millis(30);

pub struct Proxy {
    pub port: u16,
    network: Arc<Network>,
}

struct Network {
    target: Mutex<SocketAddr>,
    mode: AtomicU8,
    pairs: Mutex<Vec<Arc<Pair>>>,
    ended: AtomicBool,
}

struct Pair {
    near: TcpStream,
    far: TcpStream,
    /// It was reset: its end is not passed on as an orderly close.
    torn: AtomicBool,
}

impl Proxy {
    pub fn start(target_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Network {
            target: Mutex::new(SocketAddr::from(([127, 0, 0, 1], target_port))),
            mode: AtomicU8::new(Mode::Forward as u8),
            pairs: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = network.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                accepting.connect(near);
            }
        });
        Self { port, network }
    }

    /// Sets what happens to bytes from now on, also on old connections.
    pub fn set(&self, mode: Mode) {
        self.network.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// New connections lead to it.
    pub fn switch(&self, target_port: u16) {
        self.network.target.lock().unwrap().set_port(target_port);
    }

    /// Closes all connections in an orderly way.
    pub fn cut(&self) {
        for pair in self.network.pairs.lock().unwrap().drain(..) {
            let _ = pair.near.shutdown(Shutdown::Both);
            let _ = pair.far.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections with a reset on both sides.
    pub fn reset(&self) {
        for pair in self.network.pairs.lock().unwrap().drain(..) {
            pair.torn.store(true, Ordering::Relaxed);
            for stream in [&pair.near, &pair.far] {
                // With a linger time of zero, the close that follows sends a reset.
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.ended.store(true, Ordering::Relaxed);
        // A connection wakes the accepting thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut();
    }
}

impl Network {
    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::Relaxed))]
    }

    fn connect(self: &Arc<Self>, near: TcpStream) {
        if self.mode() == Mode::Refuse {
            return;
        }
        let target = *self.target.lock().unwrap();
        let Ok(far) = TcpStream::connect(target) else {
            return;
        };
        let pair = Arc::new(Pair {
            near,
            far,
            torn: AtomicBool::new(false),
        });
        {
            let mut pairs = self.pairs.lock().unwrap();
            pairs.retain(|pair| Arc::strong_count(pair) > 1);
            pairs.push(pair.clone());
        }
        for back in [false, true] {
            let (network, pair) = (self.clone(), pair.clone());
            std::thread::spawn(move || network.carry(&pair, back));
        }
    }

    fn carry(&self, pair: &Pair, back: bool) {
        let (mut from, mut to) = match back {
            true => (&pair.far, &pair.near),
            false => (&pair.near, &pair.far),
        };
        let _ = to.set_nodelay(true);
        let mut bytes = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let bytes = &bytes[..count];
            let carried = match self.mode() {
                Mode::Swallow => Ok(()),
                Mode::Dribble => bytes.chunks(1).try_for_each(|byte| to.write_all(byte)),
                mode => {
                    if mode == Mode::Delay {
                        std::thread::sleep(DELAY);
                    }
                    to.write_all(bytes)
                }
            };
            if carried.is_err() {
                break;
            }
        }
        if !pair.torn.load(Ordering::Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Read);
        }
    }
}
