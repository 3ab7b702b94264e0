//! Callers that attack, or are just very slow, beside others that pay: memory stays bounded and nobody
//! else is refused. How much longer the others wait is recorded, not judged.

use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ledger::{Ledger, Plan, Traffic};
use crate::record::{asked_for, record, rounded};
use crate::support::{Caller, Service, database, eventually};

/// Memory that no crowd may make the process exceed: half of the pod's limit in the chart, which the
/// kernel's memory for the callers' sockets counts against, too. The buffers' budget is a quarter of it; the
/// rest is for 12,000 connections that are being served, and for the process itself.
const RESIDENT_MAX_KIB: u64 = 128 * 1024;

struct Abuse {
    /// Connections, or requests in a pipeline, for a test and for a full run.
    crowd: [u64; 2],
    /// Starts, reports it through `Field::begun`, and continues until told to stop.
    attack: fn(&Field),
}

/// The place of an attack.
struct Field {
    address: SocketAddr,
    crowd: u64,
    begun: AtomicBool,
    stop: AtomicBool,
    /// What it has done: connections made, bytes dripped, answers read.
    operations: AtomicU64,
}

macro_rules! abuses {
    ($($name:ident: $crowd:expr, $attack:expr;)*) => {
        $(#[test] fn $name() {
            try_abuse(stringify!($name), &Abuse { crowd: $crowd, attack: $attack });
        })*
    };
}

abuses! {
    connections_that_say_nothing: [2_000, 10_000], |field| {
        let crowd = field.connect(b"");
        field.until_stopped(|| std::thread::sleep(TICK));
        drop(crowd);
    };

    // More of them than fit in the buffers.
    heads_that_never_end: [9_000, 10_000], |field| {
        field.drip(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    };

    bodies_that_never_end: [2_000, 10_000], |field| {
        field.drip(b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    };

    readers_that_do_not_read: [200, 1_000], |field| {
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
        let mut crowd = field.connect(&request);
        field.until_stopped(|| {
            std::thread::sleep(TICK);
            for stream in &mut crowd {
                if stream.write(b"G").is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
                    *stream = field.connect_one(&request);
                }
            }
        });
    };

    connections_that_are_reset: [1, 1], |field| {
        field.begun.store(true, Ordering::Relaxed);
        field.until_stopped(|| {
            let stream = field.connect_one(b"GET /livez HTTP/1.1\r\nHo");
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        });
    };

    a_deep_pipeline: [20_000, 1_000_000], |field| {
        field.begun.store(true, Ordering::Relaxed);
        field.until_stopped(|| field.pipeline());
    };

    a_crowd_of_pipelines: [200, 5_000], |field| {
        let requests = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
        let mut crowd: Vec<(TcpStream, usize)> = Vec::new();
        crowd.extend(field.connect(b"").into_iter().map(|stream| (stream, 0)));
        let mut answers = vec![0; 65_536];
        field.until_stopped(|| {
            for (stream, at) in &mut crowd {
                let done = [stream.read(&mut answers), stream.write(&requests[*at..])];
                let ended = done.iter().any(|done| match done {
                    Ok(count) => *count == 0,
                    Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
                });
                *at = (*at + done[1].as_ref().unwrap_or(&0)) % requests.len();
                if ended {
                    (*stream, *at) = (field.connect_one(b""), 0);
                }
                field.operations.fetch_add(1, Ordering::Relaxed);
            }
        });
    };

    heads_one_byte_at_a_time: [8, 64], |field| {
        let mut callers: Vec<Caller> = (0..field.crowd).map(|_| Caller::connect(field.address)).collect();
        field.begun.store(true, Ordering::Relaxed);
        field.until_stopped(|| {
            for byte in b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" {
                callers.iter_mut().for_each(|caller| caller.send(&[*byte]));
            }
            for caller in &mut callers {
                assert_eq!(caller.receive().status, 200);
                field.operations.fetch_add(1, Ordering::Relaxed);
            }
        });
    };
}

/// Time after an attack before memory is read again; longer than it takes to park a connection.
const CALM: Duration = Duration::from_secs(10);
/// Between two bytes of a slow caller.
const TICK: Duration = Duration::from_secs(1);

impl Field {
    fn new(address: SocketAddr, crowd: u64) -> Self {
        Self {
            address,
            crowd,
            begun: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            operations: AtomicU64::new(0),
        }
    }

    fn until_stopped(&self, mut step: impl FnMut()) {
        while !self.stop.load(Ordering::Relaxed) {
            step();
        }
    }

    fn connect_one(&self, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(4_096);
        let _ = stream.write(first);
        self.operations.fetch_add(1, Ordering::Relaxed);
        stream
    }

    fn connect(&self, first: &[u8]) -> Vec<TcpStream> {
        let crowd = (0..self.crowd).map(|_| self.connect_one(first)).collect();
        self.begun.store(true, Ordering::Relaxed);
        crowd
    }

    /// As many requests in a row as the crowd is large.
    fn pipeline(&self) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut sending = stream.try_clone().unwrap();
        let crowd = self.crowd;
        let sender = std::thread::spawn(move || {
            let many = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
            (0..crowd / 100).for_each(|_| sending.write_all(&many).unwrap());
            sending.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let (mut bytes, mut answers) = (vec![0; 65_536], 0);
        while let count @ 1.. = stream.read(&mut bytes).unwrap() {
            // Each answer's body has one, and nothing else does.
            answers += bytes[..count].iter().filter(|byte| **byte == b'{').count() as u64;
        }
        sender.join().unwrap();
        assert_eq!(answers, crowd, "each request has its answer");
        self.operations.fetch_add(answers, Ordering::Relaxed);
    }

    /// One more byte on each connection, again and again; a caller that is disconnected reconnects.
    fn drip(&self, first: &[u8]) {
        let mut crowd = self.connect(first);
        self.until_stopped(|| {
            std::thread::sleep(TICK);
            for stream in &mut crowd {
                match stream.write(b"x") {
                    Ok(count) => drop(self.operations.fetch_add(count as u64, Ordering::Relaxed)),
                    Err(_) => *stream = self.connect_one(first),
                }
            }
        });
    }
}

fn try_abuse(name: &str, abuse: &Abuse) {
    let asked = asked_for("ABUSE_SECONDS");
    let full = usize::from(asked.is_some());
    let time = Duration::from_secs(asked.unwrap_or(1));
    let cluster = database();
    let service = Service::start(&cluster, &[]);
    let plan = Plan::new(100.0, 4, service.address);
    // Only for the record.
    let quiet = (full == 1).then(|| pay_for(time, plan.clone(), &service));
    let before = resident_kib(&service);
    let field = Field::new(service.address, abuse.crowd[full]);
    let beside = pay_beside(abuse, &field, time, plan.from(1 << 32), &service);
    if asked.is_some() {
        std::thread::sleep(CALM);
    }
    let counts = beside.ledger.counts();
    let most = beside.most_kib;
    let both: Vec<&Paid> = quiet.iter().chain([&beside]).collect();
    let of_both = |figure: &dyn Fn(&Paid) -> f64| {
        let figures = both.iter().map(|paid| rounded(figure(paid)));
        figures.collect::<Vec<f64>>()
    };
    let figures = json!({
        "crowd": field.crowd,
        "operations": field.operations.load(Ordering::Relaxed),
        "seconds": time.as_secs(),
        "paid": counts.paid,
        "not_paid": counts.sent - counts.paid,
        "p50_ms": of_both(&|paid| paid.ledger.quantile_ms(0.5)),
        "p99_ms": of_both(&|paid| paid.ledger.quantile_ms(0.99)),
        "own_p99_ms": of_both(&|paid| paid.ledger.own_quantile_ms(0.99)),
        "cpu_percent": of_both(&|paid| paid.cpu_percent),
        "resident_kib": [before, most, resident_kib(&service)],
    });
    record("abuse", name, figures);
    for paid in both {
        paid.ledger.assert_agrees_with(&cluster);
    }
    assert_eq!(
        counts.paid, counts.sent,
        "nobody else is refused: {counts:?}"
    );
    assert!(most <= RESIDENT_MAX_KIB, "{most} KiB");
    let operations = field.operations.load(Ordering::Relaxed);
    assert!(
        operations >= field.crowd,
        "there was an attack: {operations} of {}",
        field.crowd
    );
    assert_eq!(
        service.pay("amount=99999999.99").status,
        200,
        "the service still works"
    );
}

/// Pays `service` while `field` is attacked.
fn pay_beside(abuse: &Abuse, field: &Field, time: Duration, plan: Plan, service: &Service) -> Paid {
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            // In a test, on a busy machine, an attack would never get to run.
            if asked_for("ABUSE_SECONDS").is_some() {
                only_when_nobody_else_runs();
            }
            (abuse.attack)(field);
        });
        eventually("the attack has begun", || {
            field.begun.load(Ordering::Relaxed) || attacker.is_finished()
        });
        let paid = pay_for(time, plan, service);
        field.stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap();
        paid
    })
}

/// Real attackers have machines of their own: here this thread runs only while nothing else on its
/// core wants to. That holds only within a session (sched(7), autogroups), and each of PostgreSQL's
/// processes has its own session: for the record, everything but the attackers and the service gets a
/// real-time priority (scripts/reliability.sh).
fn only_when_nobody_else_runs() {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let idle = Command::new("chrt")
        .args(["--idle", "--pid", "0"])
        .arg(thread.file_name().unwrap())
        .status();
    assert!(idle.expect("chrt runs").success(), "util-linux has it");
}

/// What callers were told while they paid, and what the service used meanwhile.
struct Paid {
    ledger: Ledger,
    most_kib: u64,
    /// Of one core.
    cpu_percent: f64,
}

fn pay_for(time: Duration, plan: Plan, service: &Service) -> Paid {
    let traffic = Traffic::start(plan);
    let mut most_kib = 0;
    let (begun, cpu) = (Instant::now(), cpu_seconds(service));
    while begun.elapsed() < time {
        std::thread::sleep(Duration::from_millis(50));
        most_kib = most_kib.max(resident_kib(service));
    }
    let cpu_percent = 100.0 * (cpu_seconds(service) - cpu) / begun.elapsed().as_secs_f64();
    Paid {
        ledger: traffic.stop(),
        most_kib,
        cpu_percent,
    }
}

/// CPU time of the service's process, user and system (proc_pid_stat(5)).
fn cpu_seconds(service: &Service) -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.id())).unwrap();
    let (_, behind_the_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<f64> = behind_the_name
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    (fields[11] + fields[12]) / TICKS
}

/// The memory of the service's process.
pub fn resident_kib(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let line = status
        .split("VmRSS:")
        .nth(1)
        .expect("there is a line for it");
    line.split_whitespace().next().unwrap().parse().unwrap()
}
