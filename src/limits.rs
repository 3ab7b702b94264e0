//! Every bound of the service, in one place: its value, its unit (last in the name) and its reason.
//!
//! Nothing else in the crate may hold a bound. Settings that operators can change take their default
//! and range from here; the assertions at the end tie the bounds together at compile time.

/// A bound that an operator can change: its default and the range that is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Value in force when the variable is absent.
    pub default: u64,
    /// Least accepted value.
    pub min: u64,
    /// Greatest accepted value.
    pub max: u64,
}

const fn bound(default: u64, min: u64, max: u64) -> Bound {
    assert!(min <= default && default <= max);
    Bound { default, min, max }
}

// --- HTTP -------------------------------------------------------------------------------------

/// Longest request target. RFC 9112 section 3 recommends at least 8,000 octets for the whole line.
pub const TARGET_MAX_BYTES: usize = 8 * 1024;
/// Header fields in one request; four times what browsers and load balancers send together.
pub const HEADERS_MAX_COUNT: usize = 64;
/// Header fields that the first parse has room for; with more, the header block is parsed again.
pub const USUAL_HEADERS_COUNT: usize = 16;
/// All header lines of one request together; Node's and HAProxy's default.
pub const HEADERS_MAX_BYTES: usize = 16 * 1024;
/// Longest method token; the longest registered one (UPDATEREDIRECTREF) has 17 letters.
pub const METHOD_MAX_BYTES: usize = 32;
/// Blank lines tolerated before a request line (RFC 9112 section 2.2 asks for at least one).
pub const LEADING_CRLF_MAX_COUNT: usize = 2;
/// A whole request head: method, target, version, headers, their line ends.
pub const HEAD_MAX_BYTES: usize =
    METHOD_MAX_BYTES + TARGET_MAX_BYTES + HEADERS_MAX_BYTES + 16 + 2 * LEADING_CRLF_MAX_COUNT;
/// Longest request body. No endpoint uses one; it is read so that the connection can be kept.
pub const BODY_MAX_BYTES: u64 = 64 * 1024;
/// One chunk-size line with its extensions (RFC 9112 section 7.1.1 asks for a limit on these).
pub const CHUNK_LINE_MAX_BYTES: usize = 256;
/// All chunk-size lines of one body together: one-byte chunks without extensions fit, a body that is
/// mostly extensions does not.
pub const CHUNK_LINES_MAX_BYTES: usize = 256 * 1024;
/// All trailer lines of one chunked body together.
pub const TRAILERS_MAX_BYTES: usize = 4 * 1024;
/// A request head that is not complete this long after its first byte is answered 408.
pub const HEAD_TIMEOUT_MS: u64 = 5_000;
/// A request body that is not complete this long after its head is answered 408.
pub const BODY_TIMEOUT_MS: u64 = 10_000;
/// A connection that is idle for this long is parked: it gives up the memory that serving takes.
pub const PARK_AFTER_MS: u64 = 5_000;
/// A parked connection is closed after this; longer than a load balancer's 60 s, so that the
/// balancer closes first and never sends a request into a closing connection.
pub const KEEP_ALIVE_MS: u64 = 75_000;
/// An answer that the peer does not take in this time ends the connection.
pub const WRITE_TIMEOUT_MS: u64 = 10_000;
/// After its last answer on a connection, the service reads and discards what still arrives for
/// this long: a close with unread data causes a reset, which can destroy the answer (RFC 9112
/// section 9.6).
pub const LINGER_MS: u64 = 1_000;
/// Bytes thrown away while lingering.
pub const LINGER_MAX_BYTES: u64 = 256 * 1024;
/// Initial size of a connection's buffers, one for each direction; most requests and every
/// payment's answer fit.
pub const BUFFER_BYTES: usize = 4 * 1024;
/// Answers to pipelined requests are collected up to this size before they are written.
pub const PIPELINE_FLUSH_BYTES: usize = 4 * 1024;
/// Pipelined requests answered in one turn. After them, or a flush of `PIPELINE_FLUSH_BYTES`, other
/// connections have theirs.
pub const PIPELINE_TURN_COUNT: u32 = 16;
/// `SO_RCVBUF`: what the kernel holds of a caller that is not read from. It doubles this for its
/// own records; that is the size it begins with anyway. With less it drops what comes in one piece,
/// and the caller sends it again.
pub const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;
/// `SO_SNDBUF`: the same for answers that a caller does not read. Beyond it no further request of
/// that caller is answered.
pub const SEND_BUFFER_BYTES: u32 = 16 * 1024;
/// All bytes buffered for connections, process-wide; beyond it 503 and close.
pub const BUFFERED_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Above this, each buffer that is taken or enlarged ends a caller, usually the one that has been
/// sending a request or reading an answer for longest: slow callers do not use up what others need.
pub const BUFFERED_TIGHT_BYTES: usize = BUFFERED_MAX_BYTES / 4 * 3;
/// Up to this much in use, a payment may wait with more than `BUFFER_BYTES` sent ahead by its
/// caller; above it, such a payment gets 503 and close. All waiting ones together then do not
/// exceed `BUFFERED_TIGHT_BYTES`.
pub const BUFFERED_AMPLE_BYTES: usize = BUFFERED_MAX_BYTES / 8;
/// Buffers kept for reuse; more than that are freed.
pub const SPARE_BUFFERS_MAX_COUNT: usize = 256;
/// When all connections are in use and none is idle, a newcomer takes the place of the caller that
/// has been sending a request or reading an answer for longest, if for at least this long: slow
/// callers together do not keep others out. With the default of `MAX_CONNECTIONS`, buffers become
/// tight earlier.
pub const SLOW_AFTER_MS: u64 = 1_000;
/// Pending connections in the kernel's queue; the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG_COUNT: u32 = 4_096;
/// Pause after a failed accept, unless a connection was ended to free a descriptor or the newcomer
/// has gone.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Open connections. At the bound, one ends for a newcomer: one that only lingers, else the one
/// idle for longest, else the slowest if it is slow, else one that waits for its turn. Without any, the
/// newcomer gets 503.
pub const MAX_CONNECTIONS: Bound = bound(12_000, 1, 1_000_000);
/// Descriptors besides those of callers: the pool, the log, the runtime, files being re-read.
pub const RESERVED_DESCRIPTORS_COUNT: u64 = 128;
/// Granularity of the sweep that ends connections whose time is over.
pub const SWEEP_INTERVAL_MS: u64 = 100;

/// `event_loop_lag_seconds` is observed this often.
pub const LAG_INTERVAL_MS: u64 = 100;
/// A gap between two sweeps counts against callers only up to this: beyond it the process did not
/// run.
pub const SWEEP_GAP_MAX_MS: u64 = 500;
/// Longest accepted `X-Request-Id`; a longer one is replaced.
pub const REQUEST_ID_MAX_BYTES: usize = 128;
/// Longest `Idempotency-Key`; a UUID has 36, and the index entry stays small.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

// --- Payments ---------------------------------------------------------------------------------

/// Time a payment has from the end of its simulated processing to its answer.
pub const PAYMENT_DEADLINE_MS: Bound = bound(2_000, 10, 60_000);
/// Part of the deadline that may be spent waiting for a connection.
pub const CHECKOUT_TIMEOUT_MS: Bound = bound(500, 1, 60_000);
/// Time one exchange with PostgreSQL may take; less than half a deadline, so that a retry fits.
pub const EXCHANGE_TIMEOUT_MS: Bound = bound(900, 10, 30_000);
/// Payments waiting for a connection; beyond it 503 at once. Four times what the pool writes in one go (8 connections
/// with 32 each): a burst of a thousand is carried instead of refused.
pub const WAITERS_MAX: Bound = bound(1_024, 0, 65_536);
/// Longest simulated acquirer time.
pub const PROCESSING_MAX_MS: u64 = 2_000;
/// Payments in simulated processing or being written, all together. Each keeps room for two buffers
/// of the usual size; all of them leave enough for other requests, `/livez` among them.
pub const IN_FLIGHT_MAX_COUNT: usize = 2_560;
/// Health checks that wait for the database's answer, all together. One more is answered at once,
/// by whether the database has answered within `HEALTH_FRESH_MS`.
pub const HEALTH_WAITING_MAX_COUNT: usize = 512;
/// With few connections, how many of them payments in flight leave to other requests: an eighth, at
/// most this many.
pub const OTHERS_MAX_COUNT: usize = 16;
/// `Retry-After` on a 503; the pool recovers in less.
pub const RETRY_AFTER_S: u64 = 1;
/// A refused caller that asks again within `Retry-After`, less up to this much by connection, goes
/// behind all others.
pub const RETRY_SPREAD_MS: u64 = 500;
/// Amounts are stored as a bigint of minor units; this many digits always fit.
pub const AMOUNT_MAX_DIGITS: usize = 15;
/// Longest decoded name or value of a query parameter; the longest valid one, an amount, has 16
/// characters. Also where an unknown name is cut before it is repeated in an answer.
pub const PARAMETER_MAX_BYTES: usize = 32;
/// Longest API key; what a caller presents is hashed on every request.
pub const API_KEY_MAX_BYTES: usize = 256;
/// Shortest API key: 128 bits written as hexadecimal take 32, in base64 22; 16 is the floor.
pub const API_KEY_MIN_BYTES: usize = 16;
/// API keys valid at the same time: the old and the new one.
pub const API_KEYS_MAX_COUNT: usize = 2;

// --- Pool and PostgreSQL ----------------------------------------------------------------------

/// Connections to PostgreSQL. Durable commits overlap on the server's side, so a few are enough.
pub const POOL_SIZE: Bound = bound(8, 1, 512);
/// A connection is replaced after this; RDS Proxy ends one at 24 h.
pub const CONNECTION_LIFETIME_S: Bound = bound(3_600, 1, 82_800);
/// A connection's life when no replacement authenticates: RDS Proxy's 24 h less a margin.
pub const CONNECTION_LIFETIME_MAX_S: u64 = 86_100;
/// Lifetimes differ by up to this part of themselves, so that connections do not age together.
pub const LIFETIME_JITTER_PERCENT: u64 = 10;
/// A connection is validated this often; RDS Proxy ends idle ones at 30 min, and NAT gateways forget
/// a flow after 350 s.
pub const IDLE_PROBE_INTERVAL_MS: Bound = bound(30_000, 100, 300_000);
/// The pool looks at the ages of idle connections this often.
pub const MAINTENANCE_INTERVAL_MS: u64 = 1_000;
/// Resolving, connecting, TLS and authentication of one connection, together.
pub const CONNECT_TIMEOUT_MS: Bound = bound(5_000, 100, 60_000);
/// Of this, the time that one address of the host has to accept the connection: as long as the
/// kernel waits before it repeats a SYN. Then the next address is tried, or the name is resolved
/// anew.
pub const CONNECT_ADDRESS_TIMEOUT_MS: u64 = 1_000;
/// Rounds of HMAC that a server may ask for; 25 times PostgreSQL's default, and pgjdbc's bound.
pub const SCRAM_ITERATIONS_MAX_COUNT: u32 = 100_000;
/// Random bytes of a login's nonce, as many as libpq takes.
pub const SCRAM_NONCE_BYTES: usize = 18;
/// Connections being opened at the same time: one waits for the server while the other computes.
pub const OPENING_MAX_COUNT: usize = 2;
/// Niceness of the threads that open connections, so that payments go first (nice(2)).
pub const CONNECTOR_NICENESS: i32 = 10;
/// First pause after a failed connection attempt; doubles, jittered.
pub const RECONNECT_BACKOFF_MIN_MS: u64 = 50;
/// Longest pause between connection attempts; a fail-over must be noticed within a second.
pub const RECONNECT_BACKOFF_MAX_MS: u64 = 1_000;
/// `TCP_USER_TIMEOUT` of database sockets: unacknowledged data this old ends the connection.
pub const TCP_USER_TIMEOUT_MS: u32 = 5_000;
/// A connection of `migrate` or `prune` that is silent for this long is probed by the kernel (TCP
/// keep-alive).
pub const OWNER_KEEPALIVE_MS: u64 = 10_000;
/// `migrate` waits this long for another `migrate`, and tries this long to get its locks.
pub const MIGRATE_LOCK_TIMEOUT_MS: u64 = 10_000;
/// A statement of `migrate` waits this long for a table, while payments queue behind it. Less than
/// the `lock_timeout` of payments, which is 750 ms in the regions, and than the time of an
/// exchange.
pub const MIGRATE_STATEMENT_LOCK_TIMEOUT_MS: u64 = 200;
/// Longest time of a `migrate` statement, since payments may wait for what it has locked. A
/// statement that they do not wait for sets a `statement_timeout` of its own.
pub const MIGRATE_STATEMENT_TIMEOUT_MS: u64 = 2_000;
/// Pause of `migrate` before it tries again: payments that have queued are through by then.
pub const MIGRATE_RETRY_PAUSE_MS: u64 = 500;
/// First pause between two attempts; doubles. The first retry after a lost answer does not wait.
pub const RETRY_PAUSE_MIN_MS: u64 = 10;
/// Longest pause between two attempts.
pub const RETRY_PAUSE_MAX_MS: u64 = 200;
/// Longest message accepted from PostgreSQL; the answers that are expected have a few hundred
/// bytes.
pub const PG_MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// What is kept of the text with which PostgreSQL refuses: enough to recognise it in a log.
pub const PG_REFUSAL_MAX_BYTES: usize = 160;
/// A database connection's buffers as first taken; every payment's exchange fits.
pub const PG_BUFFER_BYTES: usize = 4 * 1024;
/// A TLS record's ciphertext: 2^14 bytes, expansion and header (RFC 8446 section 5.2, RFC 5246 6.2.3).
pub const TLS_RECORD_MAX_BYTES: usize = 16_384 + 2_048 + 5;
/// Ciphertext buffered before the peer is refused: handshake messages span records.
pub const TLS_INCOMING_MAX_BYTES: usize = 4 * TLS_RECORD_MAX_BYTES;
/// The file of `sslrootcert`; AWS's bundle of all regions has about 170 KiB.
pub const ROOT_CERT_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// `/health` asks the database again when its last success is older than this.
pub const HEALTH_FRESH_MS: u64 = 1_000;
/// `/health` waits this long for the database; kubelet and load balancers give up after a second.
pub const HEALTH_TIMEOUT_MS: u64 = 500;
/// Payments written in one round trip when every connection was busy. More of them save little: a
/// commit is shared by 32 already, and the first waits for the last one's row.
pub const BATCH_MAX: Bound = bound(32, 1, BATCH_MAX_COUNT as u64);
/// Room for such a batch.
pub const BATCH_MAX_COUNT: usize = 32;

// --- Process ----------------------------------------------------------------------------------

/// The listen port; 0 lets the kernel pick a free one.
pub const PORT: Bound = bound(8_080, 0, 65_535);
/// `/metrics` reads the figures of the process again when they are older than this.
pub const PROCESS_FRESH_MS: u64 = 1_000;
/// Longest `REGION` and `ENVIRONMENT`; a Kubernetes label's length, so that both can be labels.
pub const DEPLOYMENT_NAME_MAX_BYTES: usize = 63;
/// Longest `application_name`; PostgreSQL cuts it there (NAMEDATALEN less its NUL).
pub const APPLICATION_NAME_MAX_BYTES: usize = 63;
/// Longest host name, as RFC 1035 section 2.3.4 has it, in its dotted form.
pub const HOST_MAX_BYTES: usize = 253;
/// Time between the first signal and the listener's close; a load balancer needs it to stop
/// sending.
pub const DRAIN_MS: Bound = bound(15_000, 0, 300_000);
/// After the drain, requests under way have this long to finish, on top of the longest processing
/// and the payment's deadline: 5 s by default.
pub const FINISH_MARGIN_MS: u64 = 1_000;
/// Secret files are compared with what is in force this often.
pub const SECRET_POLL_INTERVAL_MS: u64 = 1_000;
/// A secret file; longer ones are refused.
pub const SECRET_FILE_MAX_BYTES: u64 = 64 * 1024;
/// Log lines waiting for the writer; beyond it lines are dropped and counted.
pub const LOG_QUEUE_COUNT: usize = 1_024;
/// The end of the process waits this long for the last log lines to be taken.
pub const LOG_FLUSH_TIMEOUT_MS: u64 = 1_000;
/// A repeated warning is written this often, with the number of those left out.
pub const LOG_REPEAT_INTERVAL_MS: u64 = 1_000;
/// SQLSTATEs whose lines are limited apart; the last slot also has all further ones.
pub const REFUSALS_APART_COUNT: usize = 8;
/// Rows removed by one statement of `prune`: so few that a payment beside it hardly waits longer.
pub const PRUNE_BATCH_COUNT: Bound = bound(100, 1, 100_000);
/// `prune` pauses for this many times the duration of a batch: payments have the database for 98 %
/// of the time.
pub const PRUNE_PAUSE_FACTOR: u32 = 49;
/// Longest such pause: a batch that had to wait for its lock or for a stalled disk says nothing
/// about the next one.
pub const PRUNE_PAUSE_MAX_MS: u64 = 60_000;
/// `prune` waits this long for a lock on the table; a session that changes the table may hold it
/// for long.
pub const PRUNE_LOCK_TIMEOUT_MS: u64 = 5_000;
/// A batch that takes longer is given up: it holds its locks, and holds vacuum back.
pub const PRUNE_STATEMENT_TIMEOUT_MS: u64 = 60_000;
/// `prune` also looks at ids up to this much younger than its age: a pod whose clock is ahead makes
/// such ids, and few clocks are further ahead. Payments in this window are read once in a run, most
/// of them needlessly.
pub const PRUNE_CLOCK_MARGIN_S: u64 = 300;
/// Age past which `prune` removes payments.
pub const PRUNE_AGE_HOURS: Bound = bound(90 * 24, 1, 36_500 * 24);

// --- Probe ------------------------------------------------------------------------------------

/// Requests a second that `probe` may be told to send; one machine does not serve more.
pub const PROBE_RATE_MAX: u64 = 100_000;
/// Its least rate; the time to the next request has to be one that a clock can hold.
pub const PROBE_RATE_MIN: f64 = 0.001;
/// Requests of one `probe`.
pub const PROBE_REQUESTS_MAX: u64 = 10_000_000;
/// Connections of `probe`, one thread each. A request that finds none free waits, and its wait counts.
pub const PROBE_CONNECTIONS: Bound = bound(32, 1, 1_024);
/// Time that `probe` gives one request, connecting included.
pub const PROBE_TIMEOUT_MS: Bound = bound(5_000, 1, 600_000);
/// Time in which `probe` sends requests; the default is enough for percentiles. With `--count` and
/// no `--duration`, requests may take the maximum: a day.
pub const PROBE_DURATION_MS: Bound = bound(10_000, 1, 24 * 3_600_000);
/// Longest body of an answer that `probe` reads.
pub const PROBE_BODY_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Longest line of an answer's head, or of its chunks.
pub const PROBE_LINE_MAX_BYTES: usize = 16 * 1024;

const _: () = {
    assert!(CHECKOUT_TIMEOUT_MS.default < PAYMENT_DEADLINE_MS.default);
    assert!(2 * EXCHANGE_TIMEOUT_MS.default < PAYMENT_DEADLINE_MS.default);
    assert!(PROCESSING_MAX_MS < HEAD_TIMEOUT_MS);
    assert!(SWEEP_INTERVAL_MS < SLOW_AFTER_MS && SLOW_AFTER_MS < HEAD_TIMEOUT_MS);
    assert!(PARK_AFTER_MS < KEEP_ALIVE_MS);
    assert!(PAYMENT_DEADLINE_MS.max + PROCESSING_MAX_MS < KEEP_ALIVE_MS);
    assert!(BUFFER_BYTES <= HEAD_MAX_BYTES);
    assert!(HEAD_MAX_BYTES < BUFFERED_MAX_BYTES);
    assert!(CONNECTION_LIFETIME_S.max < CONNECTION_LIFETIME_MAX_S);
    assert!(CONNECTION_LIFETIME_MAX_S < 24 * 3_600);
    assert!(IDLE_PROBE_INTERVAL_MS.max < 350_000);
    assert!(RETRY_PAUSE_MIN_MS < RETRY_PAUSE_MAX_MS);
    assert!(RECONNECT_BACKOFF_MIN_MS < RECONNECT_BACKOFF_MAX_MS);
    assert!(RETRY_SPREAD_MS < RETRY_AFTER_S * 1_000);
    assert!(SPARE_BUFFERS_MAX_COUNT * BUFFER_BYTES < BUFFERED_MAX_BYTES);
    assert!(BUFFERED_AMPLE_BYTES + 2 * IN_FLIGHT_MAX_COUNT * BUFFER_BYTES <= BUFFERED_TIGHT_BYTES);
    assert!(
        BUFFERED_TIGHT_BYTES + 2 * HEALTH_WAITING_MAX_COUNT * BUFFER_BYTES < BUFFERED_MAX_BYTES
    );
    assert!(WAITERS_MAX.default < IN_FLIGHT_MAX_COUNT as u64);
    assert!(BATCH_MAX_COUNT as u64 <= WAITERS_MAX.default);
    assert!(MIGRATE_STATEMENT_LOCK_TIMEOUT_MS < EXCHANGE_TIMEOUT_MS.default);
    assert!(MIGRATE_STATEMENT_LOCK_TIMEOUT_MS + MIGRATE_RETRY_PAUSE_MS < MIGRATE_LOCK_TIMEOUT_MS);
    assert!(MIGRATE_STATEMENT_TIMEOUT_MS <= PAYMENT_DEADLINE_MS.default);
    assert!(PRUNE_LOCK_TIMEOUT_MS < PRUNE_STATEMENT_TIMEOUT_MS);
};
