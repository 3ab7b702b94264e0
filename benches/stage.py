"""Starts and stops what is measured, each on the core it belongs to.

The database has one core; servers, floors and the load generator share the other. The generator has
the same real-time priority for all.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import figures

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEV = pathlib.Path(os.environ["PAYMENTS_DEV"])
SECRETS = DEV / "secrets"
SERVICE = "payment-latency-api"
WIRE, PGBENCH, BARE = "wire loop", "pgbench", "bare loop"
PEERS = {
    "axum + deadpool": ROOT / "target/peers/release/axum-deadpool",
    "axum + sqlx": ROOT / "target/peers/release/axum-sqlx",
    "go + pgxpool": ROOT / "target/peers/go-pgxpool",
}
POOL_SIZE = 8
CONNECTIONS = 256
DATABASE_CORE, SERVER_CORE = "1", "0"
PRIORITY = ["taskset", "-c", SERVER_CORE, "chrt", "-f", "10"]


def missing():
    """Contestants that could not be built here, with the reason."""
    return {name: f"{path.name} is not built" for name, path in PEERS.items() if not path.exists()}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def sql(text):
    command = [str(ROOT / "scripts/postgres.sh"), "sql", text]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def allocator_settings():
    """As the image sets them."""
    line = re.search(r"^ENV (MIMALLOC_.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return dict(setting.split("=") for setting in line[1].split())


def configure_database():
    """Lets nothing but payments happen during a run: no checkpoint, no vacuum."""
    for setting, value in {
        "autovacuum": "off",
        "checkpoint_timeout": "1h",
        "max_wal_size": "8GB",
        "commit_siblings": "0",
    }.items():
        sql(f"ALTER SYSTEM SET {setting} = '{value}'")
    sql("SELECT pg_reload_conf()")
    for process in database_processes():
        subprocess.run(["taskset", "-acp", DATABASE_CORE, process], capture_output=True, check=False)


def database_processes():
    port = (DEV / "port").read_text().strip()
    found = subprocess.run(["pgrep", "-o", "-f", f"postgres.*-p {port}"], capture_output=True, text=True, check=True)
    postmaster = found.stdout.strip()
    children = subprocess.run(["pgrep", "-P", postmaster], capture_output=True, text=True, check=False)
    return [postmaster, *children.stdout.split()]


def cpu_seconds(processes):
    tasks = (task for process in processes for task in pathlib.Path(f"/proc/{process}/task").glob("*/schedstat"))
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def set_commit_delay(microseconds):
    sql(f"ALTER SYSTEM SET commit_delay = {microseconds}")
    sql("SELECT pg_reload_conf()")


def empty_table():
    sql("TRUNCATE payments")
    sql("CHECKPOINT")


# Payments of past days, two seconds apart, each with an Idempotency-Key.
FILL = """
INSERT INTO payments (transaction_id, request_hash, amount_minor, amount_exponent, currency, region, status,
  processing_ms, created_at, idempotency_key)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
  sha256('x'), 1234, 2, 'EUR', 'local', 'approved', 0, at, md5(n::text)
FROM generate_series({first}, {last}) n, LATERAL (SELECT now() - interval '400 days' + n * interval '2 seconds' AS at) t
"""


def log_written():
    """Bytes of the write-ahead log so far, and whole pages among them; of sessions that have ended."""
    return [int(figure) for figure in sql("SELECT pg_current_wal_lsn() - '0/0', wal_fpi FROM pg_stat_wal").split("|")]


class Process:
    """A program that is ended with its block."""

    def __init__(self, command, core, environment=None, output=subprocess.DEVNULL):
        environment = {"PATH": os.environ["PATH"], **(environment or {})}
        self.process = subprocess.Popen(
            ["taskset", "-c", core, *map(str, command)],
            env=environment,
            stdout=output,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_for(self, port):
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                return socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise SystemExit(f"{self.process.args} did not start listening on port {port}")


class CpuGroup:
    """A control group of a process, as the kubelet makes one for a container: with a quota where that has a limit."""

    ROOT, CPU = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/cpu")

    def __init__(self, name, quota_us=None, period_us=100_000):
        name, alone = f"payment-latency-api-{name}-{os.getpid()}", self.CPU.is_dir()
        self.folder = (self.CPU if alone else self.ROOT) / name
        self.settings = {}
        if quota_us and alone:
            self.settings = {"cpu.cfs_period_us": period_us, "cpu.cfs_quota_us": quota_us}
        elif quota_us:
            self.settings = {"cpu.max": f"{quota_us} {period_us}"}

    def __enter__(self):
        try:
            self.folder.mkdir()
            for file, value in self.settings.items():
                (self.folder / file).write_text(str(value))
        except OSError as error:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            raise SystemExit(f"cannot create a CPU control group, which needs root: {error}") from None
        return self

    def add(self, process):
        (self.folder / "cgroup.procs").write_text(str(process.pid))

    def periods(self):
        """In how many periods it could run, and in how many of them it was throttled."""
        counts = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(counts.get("nr_periods", 0)), int(counts.get("nr_throttled", 0))

    def __exit__(self, *_):
        self.folder.rmdir()


class Server(Process):
    """A contestant that listens, warm when the block begins."""

    def __init__(self, name, settings=None, under=(), program=None):
        self.port = free_port()
        programs = {SERVICE: os.environ["SERVICE"], BARE: ROOT / "target/harness/release/bare", **PEERS}
        program = program or programs[name]
        command = [*under, program]
        chosen = {
            "PORT": str(self.port),
            "LISTEN_ADDRESS": "127.0.0.1",
            "DATABASE_URL_FILE": str(SECRETS / "database_url"),
            "API_SECRET_KEY_FILE": str(SECRETS / "api_key"),
            "POOL_SIZE": str(POOL_SIZE),
            "STATEMENT_MODE": "named",
            "DRAIN_MS": "0",
            "REGION": "local",
            "ENVIRONMENT": "bench",
            **(allocator_settings() if name == SERVICE else {}),
            **(settings or {}),
        }
        environment = {setting: value for setting, value in chosen.items() if value is not None}
        super().__init__(command, SERVER_CORE, environment)

    def __enter__(self):
        self.wait_for(self.port)
        time.sleep(0.2)
        return self

    def cpu_seconds(self):
        return cpu_seconds([self.process.pid])

    def resident_kib(self, most=False):
        """Resident memory now, or the most that there was so far."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:" if most else "VmRSS:")[1].split()[0])


def generate(port, rate, seconds, seed, *extra, warm_up=1.0):
    """Runs the load generator against a server and returns what it measured."""
    return harness(
        "load", f"127.0.0.1:{port}", "--key-file", SECRETS / "api_key", "--rate", rate, "--duration-s", seconds,
        "--warm-up-s", warm_up, "--seed", seed, "--connections", CONNECTIONS, *extra,
    )  # fmt: skip


def instructions(name, payments_a_second=100, seconds=10, settings=None, program=None):
    """Instructions in user space for one payment: a run with payments less one that makes its connections alone."""
    if name.startswith("go "):
        return None
    counts = []
    for paying in (0, seconds):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
            with Server(name, settings, under=tool, program=program) as server:
                time.sleep(5)
                served = generate(server.port, payments_a_second, paying, 1, warm_up=0)["served"]
                time.sleep(seconds - paying)
            counts.append(int(log.read_text().split("Collected : ")[1].split()[0]))
    return round((counts[1] - counts[0]) / served)


# Where an instruction belongs, by the file that it was compiled from; the first that matches. Names of this project's
# files have no slash before `src`: callgrind_annotate takes the folder that it runs in away.
GROUPS = [
    ("http, server, handlers: request and answer", r"^src/(http|server|handlers|route|random|clock|hex)|httparse|serde|itoa|zmij|uuid|arrayvec"),
    ("config, payment: keys and parameters", r"^src/(config|payment)|subtle|percent-encoding|iso_currency"),
    ("metrics, log", r"^src/(metrics|log)"),
    ("pool", r"^src/pool"),
    ("pg: the wire", r"^src/pg|postgres-protocol|/bytes-"),
    ("rustls, ring: TLS and SHA-256", r"rustls|/ring-"),
    ("tokio, mio: waiting and timers", r"tokio|/mio-|slab|parking_lot"),
    ("core, alloc, std, inlined into all of these", r"/rustc/|library/"),
    ("libc and mimalloc: copies, clocks, system calls", r""),
]  # fmt: skip


def instruction_groups(seconds=10):
    """Instructions for one payment by the part of the program, from a build with symbols; as above."""
    (idle, _), (busy, served) = (instructions_by_group(paying, seconds) for paying in (0, seconds))
    return {name: round((busy[name] - idle[name]) / served) for name in busy}


def instructions_by_group(paying, seconds, payments_a_second=100):
    """Of a run with its connections that pays for `paying` of its seconds: its instructions, and its payments made."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind"
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        with Server(SERVICE, under=tool, program=os.environ["SERVICE_WITH_SYMBOLS"]) as server:
            time.sleep(5)
            generate(server.port, payments_a_second, 2, 1, warm_up=0)
            control = ["callgrind_control", "-i"]
            subprocess.run([*control, "on", str(server.process.pid)], capture_output=True, check=True)
            served = generate(server.port, payments_a_second, paying, 2, warm_up=0)["served"]
            # Under valgrind the server accepts connections later than they were made.
            time.sleep(2 + seconds - paying)
            subprocess.run([*control, "off", str(server.process.pid)], capture_output=True, check=True)
        listed = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", str(out)], capture_output=True, text=True, check=True
        ).stdout
    counts = dict.fromkeys((name for name, _ in GROUPS), 0)
    for line in listed.splitlines():
        found = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S.*)", line)
        if found and "PROGRAM TOTALS" not in line:
            place = found.group(2).split(":")[0]
            name = next(name for name, pattern in GROUPS if re.search(pattern, place))
            counts[name] += int(found.group(1).replace(",", ""))
    if served and (empty := [name for name, count in counts.items() if not count]):
        raise SystemExit(f"no instructions were counted for: {'; '.join(empty)}")
    return counts, served


def segments(rate=1000, seconds=10):
    """Mean times of a payment's parts in microseconds, by the caller's clock and the service's own."""
    with Server(SERVICE) as server:
        warm(server, 1)
        before, database = samples(server.port), database_processes()
        database_cpu = cpu_seconds(database)
        run = generate(server.port, rate, seconds, 1, warm_up=0)
        database_cpu = cpu_seconds(database) - database_cpu
        after = samples(server.port)
        return {
            "caller": round(run["latency_us"]["mean"], 1),
            "request": mean_us("http_request_duration_seconds", before, after),
            "exchange": mean_us("database_exchange_duration_seconds", before, after),
            "database_cpu": round(database_cpu * 1e6 / run["served"], 1),
        }


def warm(server, seed):
    """Uses each connection of the pool: a session's first payment takes a millisecond more."""
    generate(server.port, 10_000, 1, seed, warm_up=0)


def exchanges(settings, rate, seconds, seed):
    """Latency, payments in an exchange, and processor time of the service and of the database for each of them."""
    empty_table()
    with Server(SERVICE, settings) as server:
        warm(server, seed)
        database, before = database_processes(), samples(server.port)
        service_cpu, database_cpu = server.cpu_seconds(), cpu_seconds(database)
        run = generate(server.port, rate, seconds, seed)
        service_cpu, database_cpu = server.cpu_seconds() - service_cpu, cpu_seconds(database) - database_cpu
        if run["failed"]:
            raise SystemExit(f"{run['failed']} payments failed at {rate}/s with {settings}")
        return {
            "p50_us": round(run["latency_us"]["p50"]),
            "p99_us": round(run["latency_us"]["p99"]),
            "in_an_exchange": round(mean("database_batch_size", before, samples(server.port)), 1),
            "cpu_us": round(service_cpu * 1e6 / run["served"], 1),
            "database_cpu_us": round(database_cpu * 1e6 / run["served"], 1),
        }


def connecting(rate=200, seconds=6):
    """Mean times in microseconds of making a connection to the database, and of an exchange on an open one meanwhile."""
    with Server(SERVICE, {"CONNECTION_LIFETIME_S": "2"}) as server:
        before = samples(server.port)
        generate(server.port, rate, seconds, 1, warm_up=0)
        after = samples(server.port)
        return {
            "connect": mean_us("pool_connect_duration_seconds", before, after),
            "exchange": mean_us("database_exchange_duration_seconds", before, after),
        }


def mean_us(histogram, before, after):
    return round(mean(histogram, before, after) * 1e6, 1)


def mean(histogram, before, after):
    """The mean of a histogram between two scrapes."""
    total, count = (
        sum(value for sample, value in after.items() if sample.startswith(f"{histogram}_{part}"))
        - sum(value for sample, value in before.items() if sample.startswith(f"{histogram}_{part}"))
        for part in ("sum", "count")
    )
    return total / count


def steps():
    """Median times of a payment's steps alone, in nanoseconds, as benches/harness/benches/micro.rs has them."""
    command = ["taskset", "-c", SERVER_CORE, ROOT / "scripts/bench-micro.sh"]
    output = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout
    units = {"ps": 1e-3, "ns": 1, "µs": 1e3, "ms": 1e6}
    found, parent = {}, ""
    for line in output.splitlines():
        heading = re.match(r"^(│?\s*)[├╰]─ (\w+)", line)
        if not heading:
            continue
        nested, name = bool(heading.group(1)), heading.group(2)
        times = re.findall(r"([\d.]+) (ps|ns|µs|ms)", line)
        if not nested:
            parent = name
        if len(times) >= 3:
            value, unit = times[2]
            found[f"{parent}, {name}" if nested else name] = round(float(value) * units[unit], 1)
    return found


def samples(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b""
        while chunk := connection.recv(65536):
            text += chunk
    lines = text.decode().split("\r\n\r\n", 1)[1].splitlines()
    lines = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    payments = lambda name: "endpoint=" not in name or "/api/payment/simulate" in name
    return {name: float(value) for name, value in lines if payments(name)}


def cpu_us(server, rate, seconds, seed):
    """CPU time of the process for one payment, in microseconds, after a second that does not count."""
    empty_table()
    generate(server.port, rate, 1, seed, warm_up=0)
    before = server.cpu_seconds()
    served = generate(server.port, rate, seconds, seed + 1, warm_up=0)["served"]
    return (server.cpu_seconds() - before) * 1e6 / served


def cpu_and_kernel_us(server, rate, seconds, seed):
    """The same, and how much of it the kernel takes, by its share of the ticks of both, the second before included."""
    stat = pathlib.Path(f"/proc/{server.process.pid}/stat")
    # utime and stime, see proc_pid_stat(5).
    ticks = lambda: [int(field) for field in stat.read_text().rpartition(")")[2].split()[11:13]]
    before = ticks()
    cpu = cpu_us(server, rate, seconds, seed)
    user, kernel = (after - former for after, former in zip(ticks(), before, strict=True))
    return cpu, cpu * kernel / (user + kernel)


def system_calls(name, payments_a_second=200, seconds=5, settings=None):
    """System calls of the process for one payment, by strace."""
    with tempfile.TemporaryDirectory() as folder, Server(name, settings) as server:
        counts = pathlib.Path(folder) / "counts"
        tool = ["strace", "-f", "-c", "-p", str(server.process.pid), "-o", str(counts)]
        with Process(tool, DATABASE_CORE) as tracer:
            time.sleep(1)
            served = generate(server.port, payments_a_second, seconds, 1, warm_up=0)["served"]
            tracer.process.send_signal(signal.SIGINT)
            tracer.process.wait()
        rows = [line.split() for line in counts.read_text().splitlines()[2:-2]]
    # Connections come and go once, whatever the number of payments.
    ignored = {"accept4", "accept", "epoll_ctl", "setsockopt", "close", "getsockname", "getpeername"}
    calls = {row[-1]: int(row[3]) / served for row in rows if row[-1] not in ignored}
    return {call: round(number, 2) for call, number in calls.items() if number >= 0.05}


def payments_alone(way, count=20_000, under=()):
    """Payments one after the other with no HTTP, through the `pool` or a `driver`: its report, and what `under` says."""
    empty_table()
    command = ["taskset", "-c", SERVER_CORE, *under, ROOT / "target/harness/release/exchanges", "--way", way,
               "--url-file", SECRETS / "database_url", "--count", count]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr


def exchange_costs(way, count=2_000):
    """Instructions in user space and system calls for one payment: a run with payments less one without."""
    counted = []
    for payments in (0, count):
        _, said = payments_alone(way, payments, ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"])
        _, table = payments_alone(way, payments, ["strace", "-f", "-c"])
        total = next(line for line in table.splitlines() if line.endswith(" total"))
        counted.append((int(said.split("Collected : ")[1].split()[0]), int(total.split()[3])))
    (idle, idle_calls), (busy, busy_calls) = counted
    return {"instructions": round((busy - idle) / count), "system_calls": round((busy_calls - idle_calls) / count, 2)}


def start_to_ready_ms():
    """From the start of the process to the first 200 of /readyz."""
    began = time.monotonic()
    server = Server(SERVICE)
    try:
        while time.monotonic() - began < 10:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as probe:
                probe.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                if b" 200 " in probe.recv(1024):
                    return round((time.monotonic() - began) * 1000, 1)
            time.sleep(0.001)
        raise SystemExit("the service did not become ready within 10 s")
    finally:
        server.__exit__()


def resident_idle_kib():
    with Server(SERVICE) as server:
        time.sleep(1)
        return server.resident_kib()


def resident_crowd_kib(idle=10_000):
    """The most resident memory beside so many idle connections."""
    with Server(SERVICE) as server:
        generate(server.port, 200, 6, 1, "--idle", idle)
        return server.resident_kib(most=True)


def wire_loop(rate, seconds, seed):
    return harness(
        "floor", "--url-file", SECRETS / "database_url", "--rate", rate, "--duration-s", seconds, "--seed", seed
    )


def harness(program, *arguments):
    command = [*PRIORITY, ROOT / "target/harness/release" / program, *arguments]
    output = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if output.returncode != 0:
        return {"error": output.stderr.strip()}
    return json.loads(output.stdout)


def pgbench(rate, seconds, seed):
    """PostgreSQL's own load generator, which counts from when a transaction was due, too."""
    warm_up = 1
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *PRIORITY, postgres_program("pgbench"), "-n", "-M", "prepared", "-f", ROOT / "benches/pgbench.sql",
            "-c", POOL_SIZE, "-j", 1, "-R", rate, "-T", round(seconds) + warm_up, "-l",
            "--random-seed", seed, (SECRETS / "database_url").read_text().strip(),
        ]  # fmt: skip
        output = subprocess.run(
            [str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False
        )
        if output.returncode != 0:
            return {"error": output.stderr.strip()}
        lines = [line.split() for log in pathlib.Path(folder).iterdir() for line in log.read_text().splitlines()]
    # client, transaction, latency, script, second, microsecond, lag
    lines = [(int(second) + int(micro) / 1e6, int(time_us)) for _, _, time_us, _, second, micro, *_ in lines]
    begin = min(at for at, _ in lines) + warm_up
    values = [time_us for at, time_us in lines if at >= begin]
    histogram = sorted(collections.Counter(values).items())
    at = lambda quantile: figures.at(histogram, quantile)
    return {
        "rate": rate,
        "answered": len(values),
        "failed": 0,
        "latency_us": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999), "max": max(values),
                       "mean": statistics.fmean(values)},
        "histogram": histogram,
    }  # fmt: skip


def postgres_program(name):
    folder = subprocess.run(
        [str(ROOT / "scripts/postgres.sh"), "bindir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    path = pathlib.Path(folder) / name
    return str(path) if path.exists() else shutil.which(name)


class PgBouncer(Process):
    """A pooler in transaction mode in front of the database, as RDS Proxy is one."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.port = free_port()
        url = (SECRETS / "database_url").read_text().strip()
        login, place = url.removeprefix("postgresql://").split("@")
        user, password = login.split(":")
        address = place.split("/")[0].split(":")[1]
        certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                       "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                       "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"]  # fmt: skip
        subprocess.run([str(part) for part in certificate], capture_output=True, check=True)
        shutil.copy(SECRETS / "ca.crt", self.folder)
        (self.folder / "users").write_text(f'"{user}" "{password}"\n')
        (self.folder / "pgbouncer.ini").write_text(f"""[databases]
payments = host=localhost port={address} dbname=payments
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = {POOL_SIZE}
auth_type = scram-sha-256
auth_file = {self.folder}/users
client_tls_sslmode = require
client_tls_key_file = {self.folder}/key.pem
client_tls_cert_file = {self.folder}/cert.pem
server_tls_sslmode = verify-full
server_tls_ca_file = {self.folder}/ca.crt
""")
        self.url_file = self.folder / "database_url"
        self.url_file.write_text(
            f"postgresql://{user}:{password}@localhost:{self.port}/payments"
            f"?sslmode=verify-full&sslrootcert={self.folder}/cert.pem"
        )
        program = ["pgbouncer", self.folder / "pgbouncer.ini"]
        if os.getuid() == 0:
            # It refuses to run as root.
            shutil.chown(self.folder, "postgres")
            for file in self.folder.iterdir():
                shutil.chown(file, "postgres")
            program = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *program]
        super().__init__(program, DATABASE_CORE)

    def __enter__(self):
        self.wait_for(self.port)
        return self

    def __exit__(self, *error):
        super().__exit__(*error)
        shutil.rmtree(self.folder)
