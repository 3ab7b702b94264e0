//! Private PostgreSQL servers for tests: real ones, started in milliseconds, gone with the test.
//!
//! Use it from a suite in `tests/` with
//!
//! ```ignore
//! #[path = "support/postgres.rs"]
//! mod postgres;
//! use postgres::{Cluster, OWNER, Tls};
//!
//! let cluster = Cluster::start(Tls::for_localhost());
//! cluster.url(OWNER, "verify-full");         // with sslrootcert and the password
//! cluster.psql("SELECT count(*) FROM payments");   // as superuser, over the private Unix socket
//! cluster.stop();                            // an orderly shutdown, as in a fail-over
//! cluster.crash();                           // an abrupt one; sessions are not told
//! cluster.start_again();                     // same port, same data
//! ```
//!
//! What every server has: database [`DATABASE`], owned by the role [`OWNER`] (login, may create
//! roles, not a superuser: as on a managed database); SCRAM-SHA-256 for every TCP connection, over
//! TLS or not, and no password on the Unix socket. Every role's password is [`PASSWORD`].
//! `fsync` is off: a crash of processes loses nothing, only a crash of the machine would.
//!
//! The programs come from the folder that `PG_BINDIR` names, else from the newest of
//! `/usr/lib/postgresql/*/bin`. If run as root, the server runs as the system's user `postgres`.
//!
//! A server ends when its `Cluster` is dropped, and also when the test's process dies in any way: a
//! supervising shell holds the other end of a pipe; when the pipe closes, it stops the server and
//! removes its folder. So a `Cluster` may live in a `static`, which is never dropped.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "each suite uses its own part of this, and a failure here is the test's failure"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The database that every server has.
pub const DATABASE: &str = "payments";
/// The role that owns [`DATABASE`].
pub const OWNER: &str = "payments_owner";
/// Password of every role that this helper or a test makes.
pub const PASSWORD: &str = "correct-horse-battery";

const START_TIMEOUT: Duration = Duration::from_secs(60);
const PORT_ATTEMPTS: u32 = 5;

/// Whether a server accepts TLS, and with which certificate.
#[derive(Clone)]
pub enum Tls {
    /// `ssl = off`.
    Off,
    /// `ssl = on`, with this certificate and key.
    On(Identity),
}

impl Tls {
    /// A certificate for `localhost`, 127.0.0.1 and ::1 by a new authority.
    pub fn for_localhost() -> Self {
        let names = ["localhost", "127.0.0.1", "::1"];
        Self::On(Authority::new("Test Authority").issue(&names, Validity::Current))
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 to 2049.
    Current,
    /// The year 2020.
    Expired,
}

/// A certificate with its key and the root that it chains to, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// What the server presents.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The root that a client has to trust.
    pub root: String,
}

impl Identity {
    /// A server's certificate that is its own root, as `openssl req -x509` makes them.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = leaf_params(names, Validity::Current);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self {
            root: certificate.clone(),
            certificate,
            key: key.serialize_pem(),
        }
    }
}

/// A certificate authority made for the test.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one, with a new key.
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::CrlSign,
        ];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server's certificate for `names` (host names or addresses).
    pub fn issue(&self, names: &[&str], validity: Validity) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = leaf_params(names, validity)
            .signed_by(&key, &self.issuer)
            .unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            root: self.pem.clone(),
        }
    }
}

fn leaf_params(names: &[&str], validity: Validity) -> rcgen::CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names.clone()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, names.first().unwrap().as_str());
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = match validity {
        Validity::Current => rcgen::date_time_ymd(2049, 1, 1),
        Validity::Expired => rcgen::date_time_ymd(2021, 1, 1),
    };
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// How a server differs from the usual one.
#[derive(Clone)]
pub struct Options {
    /// Whether it accepts TLS.
    pub tls: Tls,
    /// Lines for `postgresql.conf`; a later one wins over an earlier one.
    pub settings: Vec<String>,
    /// Replaces the TCP lines of `pg_hba.conf`.
    pub host_rules: Vec<String>,
}

impl Options {
    /// The usual server.
    pub fn new(tls: Tls) -> Self {
        Self {
            tls,
            settings: Vec::new(),
            host_rules: vec![
                "host all all 127.0.0.1/32 scram-sha-256".to_owned(),
                "host all all ::1/128 scram-sha-256".to_owned(),
            ],
        }
    }

    /// Adds a line for `postgresql.conf`, such as `ssl_max_protocol_version = 'TLSv1.2'`.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// Replaces the TCP lines of `pg_hba.conf`.
    #[must_use]
    pub fn host_rules(mut self, lines: &[&str]) -> Self {
        self.host_rules = lines.iter().map(ToString::to_string).collect();
        self
    }
}

/// One private server.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    server: Mutex<Option<Server>>,
    log: Arc<Mutex<Vec<String>>>,
}

/// The supervising shell; closing its stdin ends the server.
struct Server {
    shell: Child,
}

/// A session in the middle of a transaction.
pub struct Held {
    session: Child,
    _stdin: ChildStdin,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Ending the session rolls back, which releases the lock.
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

impl Cluster {
    /// Makes a cluster and starts its server; returns when it accepts connections.
    pub fn start(tls: Tls) -> Self {
        Self::start_with(&Options::new(tls))
    }

    /// The same with other settings.
    pub fn start_with(options: &Options) -> Self {
        let folder = make_folder();
        make_data(&folder);
        for attempt in 1.. {
            let cluster = Self {
                folder: folder.clone(),
                port: free_port(),
                server: Mutex::new(None),
                log: Arc::default(),
            };
            cluster.configure(options);
            match cluster.launch() {
                Ok(()) => {
                    cluster.psql_in(
                        "postgres",
                        &format!("CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'"),
                    );
                    cluster.psql_in(
                        "postgres",
                        &format!("CREATE DATABASE {DATABASE} OWNER {OWNER}"),
                    );
                    return cluster;
                }
                // Another process may have taken the port since it was chosen.
                Err(log) if log.contains("could not bind") && attempt < PORT_ATTEMPTS => {
                    std::mem::forget(cluster);
                }
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        unreachable!("the loop ends by its attempts")
    }

    /// The TCP port on 127.0.0.1 and ::1; the same for the whole life of the cluster.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of `user` at host `localhost`, with [`PASSWORD`]. For `verify-ca` and `verify-full`
    /// it names the server's root as `sslrootcert`.
    pub fn url(&self, user: &str, sslmode: &str) -> String {
        let mut url = self.url_at("localhost", user, sslmode);
        if sslmode.starts_with("verify") {
            url += &format!("&sslrootcert={}", self.root_cert().display());
        }
        url
    }

    /// A URL with another spelling of the host, and no `sslrootcert`.
    pub fn url_at(&self, host: &str, user: &str, sslmode: &str) -> String {
        let port = self.port;
        format!("postgres://{user}:{PASSWORD}@{host}:{port}/{DATABASE}?sslmode={sslmode}")
    }

    /// The root certificate that the server's own chains to; absent without TLS.
    pub fn root_cert(&self) -> PathBuf {
        self.folder.join("root.crt")
    }

    /// A folder of this cluster that a test may write to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs statements as superuser in [`DATABASE`] and returns what they print: rows as lines,
    /// columns separated by `|`. An error is the test's failure.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in(DATABASE, sql)
    }

    /// Holds what a statement locks, until it is dropped and rolled back.
    pub fn hold(&self, statement: &str) -> Held {
        let mut session = Command::new(programs().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", DATABASE])
            .args(["-p", &self.port().to_string(), "-h"])
            .arg(self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = session.stdin.take().unwrap();
        writeln!(stdin, "BEGIN; {statement};\n\\echo held").unwrap();
        let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "held"));
        Held {
            session,
            _stdin: stdin,
        }
    }

    /// The same in another database.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let printed = run(self.client(database).args(["-c", sql]));
        printed.trim_end().to_owned()
    }

    fn client(&self, database: &str) -> Command {
        let mut command = Command::new(programs().join("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-U", "postgres", "-d", database])
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(&self.folder);
        command
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// An orderly shutdown, as in a planned fail-over: sessions are told (SQLSTATE 57P01) and closed.
    /// Returns when the server has ended.
    pub fn stop(&self) {
        self.end("INT");
    }

    /// An abrupt end: the server's processes exit without a checkpoint, as in a crash.
    pub fn crash(&self) {
        self.end("QUIT");
    }

    /// Starts the server again after [`stop`](Self::stop) or [`crash`](Self::crash).
    pub fn start_again(&self) {
        if let Err(log) = self.launch() {
            panic!("PostgreSQL did not start again:\n{log}");
        }
    }

    /// Stops all processes of the server where they are (SIGSTOP), as a host that hangs does;
    /// [`thaw`](Self::thaw) lets them go on. Connections stay open and get no answer.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Ends [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    /// A standby of `primary` that has to confirm its commits from now on. The primary's `host_rules`
    /// need `local replication all trust`. Its folder is copied between two calls of PostgreSQL's
    /// low-level API for backups: pg_basebackup would have to be as new as the server.
    pub fn standby_of(primary: &Self) -> Self {
        let folder = make_folder();
        let data = folder.join("data");
        fs::create_dir(&data).unwrap();
        let copy = format!(
            r"\! tar -c -C {} --exclude=./pg_wal/* --exclude=./postmaster.* . | tar -x -C {}",
            primary.folder.join("data").display(),
            data.display()
        );
        let began = "DO $$ BEGIN PERFORM pg_backup_start('standby', fast => true); END $$";
        let ended = "SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)";
        let label = run(primary
            .client("postgres")
            .args(["-c", began, "-c", &copy, "-c", ended]));
        write(&data.join("backup_label"), &label, 0o600);
        write(&data.join("standby.signal"), "", 0o600);
        let standby = Self {
            port: free_port(),
            server: Mutex::new(None),
            log: Arc::default(),
            folder,
        };
        let settings = data.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap();
        text += &format!(
            "primary_conninfo = 'user=postgres host={} port={}'\nport = {}\nunix_socket_directories = '{}'\n",
            primary.folder.display(),
            primary.port,
            standby.port,
            standby.folder.display()
        );
        write(&settings, &text, 0o600);
        fs::copy(primary.root_cert(), standby.root_cert()).unwrap();
        standby.start_again();
        primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.reload();
        standby
    }

    /// Whether the server accepts connections.
    pub fn is_up(&self) -> bool {
        let status = Command::new(programs().join("pg_isready"))
            .args(["-q", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .status();
        status.expect("pg_isready runs").success()
    }

    /// Makes a standby the primary; returns when it accepts writes.
    pub fn promote(&self) {
        self.psql("SELECT pg_promote()");
    }

    /// Makes the server read its settings and its certificate again.
    pub fn reload(&self) {
        self.psql("SELECT pg_reload_conf()");
    }

    /// Replaces the server's certificate; connections made from now on see it.
    pub fn present(&self, identity: &Identity) {
        let data = self.folder.join("data");
        write(&data.join("server.crt"), &identity.certificate, 0o644);
        write(&data.join("server.key"), &identity.key, 0o600);
        self.reload();
    }

    fn configure(&self, options: &Options) {
        let folder = &self.folder;
        let data = folder.join("data");
        let mut settings = vec![
            "listen_addresses = '127.0.0.1, ::1'".to_owned(),
            format!("port = {}", self.port),
            format!("unix_socket_directories = '{}'", folder.display()),
            "password_encryption = 'scram-sha-256'".to_owned(),
            "fsync = off".to_owned(),
            "shared_buffers = '16MB'".to_owned(),
            "lc_messages = 'C'".to_owned(),
        ];
        if let Tls::On(identity) = &options.tls {
            write(&folder.join("root.crt"), &identity.root, 0o644);
            write(&data.join("server.crt"), &identity.certificate, 0o644);
            write(&data.join("server.key"), &identity.key, 0o600);
            settings.push("ssl = on".to_owned());
        }
        settings.extend(options.settings.iter().cloned());
        let mut rules = vec!["local all all trust".to_owned()];
        rules.extend(options.host_rules.iter().cloned());
        write(
            &data.join("postgresql.auto.conf"),
            &(settings.join("\n") + "\n"),
            0o600,
        );
        write(&data.join("pg_hba.conf"), &(rules.join("\n") + "\n"), 0o600);
    }

    /// Starts the server under its shell. The error is the server's log.
    fn launch(&self) -> Result<(), String> {
        const SUPERVISE: &str = r#"
            "$1" -D "$2/data" & server=$!
            read -r signal
            kill -s "${signal:-QUIT}" "$server"
            wait "$server"
            [ -n "$signal" ] || rm -rf "$2"
        "#;
        let mut server = self.server.lock().unwrap();
        assert!(server.is_none(), "the server is already running");
        let mut shell = as_server_user(Command::new("/bin/sh"))
            .args(["-c", SUPERVISE, "sh"])
            .arg(programs().join("postgres"))
            .arg(&self.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("/bin/sh runs");
        let ready = self.collect_log(&mut shell);
        *server = Some(Server { shell });
        drop(server);
        match ready.recv_timeout(START_TIMEOUT) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                self.crash();
                Err(self.log())
            }
        }
    }

    /// Reads the server's log in a thread, for [`log`](Self::log); the receiver gets a message when
    /// the server accepts connections, and is disconnected if it ends before that.
    fn collect_log(&self, shell: &mut Child) -> mpsc::Receiver<()> {
        let lines = BufReader::new(shell.stderr.take().unwrap()).lines();
        let log = Arc::clone(&self.log);
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut starting = true;
            for line in lines.map_while(Result::ok) {
                // A standby says "read-only connections".
                let ready = line.contains("database system is ready to accept");
                // Clients that connect too early are also refused with FATAL; that is not a failed start.
                let failed = line.contains("could not bind IPv4")
                    || line.contains("FATAL: ") && !line.contains("the database system is");
                log.lock().unwrap().push(line);
                if starting && failed {
                    break;
                }
                if ready {
                    starting = false;
                    let _ = sender.send(());
                }
            }
        });
        receiver
    }

    fn end(&self, signal: &str) {
        if let Some(mut server) = self.server.lock().unwrap().take() {
            // An error means that the shell has ended, and the server with it.
            let _ = writeln!(server.shell.stdin.take().unwrap(), "{signal}");
            let _ = server.shell.wait();
        }
    }

    fn signal_all(&self, signal: &str) {
        let guard = self.server.lock().unwrap();
        let shell = guard.as_ref().expect("the server runs").shell.id();
        let send = |process: u32| {
            let status = Command::new("/bin/kill")
                .args(["-s", signal, &process.to_string()])
                .stderr(Stdio::null())
                .status();
            // A backend may have ended since it was listed.
            let _ = status.expect("kill runs");
        };
        for postmaster in children(shell) {
            send(postmaster);
            // Once stopped, it starts no more children, so these are all of them.
            while signal == "STOP" && !stands_still(postmaster) {
                std::thread::yield_now();
            }
            children(postmaster).into_iter().for_each(send);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A frozen server, as a failing test leaves it, does not end.
        if std::thread::panicking() && self.server.lock().is_ok_and(|server| server.is_some()) {
            self.thaw();
        }
        self.end("QUIT");
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// Whether a process is stopped, or gone.
fn stands_still(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    state.is_empty() || state.starts_with('T')
}

/// The folder of PostgreSQL's programs.
pub fn programs() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        if let Some(folder) = std::env::var_os("PG_BINDIR") {
            return PathBuf::from(folder);
        }
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let newest = versions
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .max();
        let Some(newest) = newest else {
            panic!(
                "these tests need PostgreSQL's server programs (initdb, postgres, psql): install \
                 the package postgresql, or name their folder in PG_BINDIR"
            );
        };
        PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
    })
}

/// Copies a data folder that initdb made once, which takes a tenth of initdb's time. The pattern is
/// kept between runs in Cargo's folder for tests, one for each version of PostgreSQL.
fn make_data(folder: &Path) {
    let version = run(Command::new(programs().join("postgres")).arg("--version"));
    let version = version.split_whitespace().nth(2).unwrap().to_owned();
    let pattern = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgresql-{version}"));
    let data = folder.join("data");
    if !pattern.exists() {
        initdb(&data);
        // Complete or not at all, even if another process does the same; its copy is as good.
        let name = folder.file_name().unwrap();
        let unfinished = pattern.with_file_name(name);
        copy(&data, &unfinished);
        if fs::rename(&unfinished, &pattern).is_err() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
        return;
    }
    copy(&pattern, &data);
    if let Some((uid, gid)) = server_user() {
        run(Command::new("chown")
            .args(["-R", &format!("{uid}:{gid}")])
            .arg(&data));
    }
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Runs a command, which must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn initdb(data: &Path) {
    let mut command = as_server_user(Command::new(programs().join("initdb")));
    command
        .args(["--no-sync", "--locale=C", "--encoding=UTF8"])
        .args(["-A", "trust", "-U", "postgres", "-D"])
        .arg(data)
        .current_dir(data.parent().unwrap());
    run(&mut command);
}

/// PostgreSQL refuses to run as root; for root, it runs as the system's user `postgres`.
fn server_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        if own_uid() != 0 {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let user = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == "postgres").then_some((uid, gid))
        });
        Some(user.expect("as root, these tests need the system's user postgres"))
    })
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}

/// The command as the user that servers run as.
pub fn as_server_user(mut command: Command) -> Command {
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command
}

fn make_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("payments-test-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    // A test that was killed may have left a folder under the same process number.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    give_to_server(&folder, 0o755);
    folder
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    give_to_server(path, mode);
}

fn give_to_server(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
