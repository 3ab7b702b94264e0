"""Runs the contestants side by side and prints medians with their spread. scripts/bench.sh calls it.

The database has one core, server and generator share the other; the generator has the same real-time
priority for all. Repetitions alternate between contestants, each in the opposite order of the one
before, so that what else the machine does meets all of them.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEV = pathlib.Path(os.environ["DEV"])
SECRETS = DEV / "secrets"
POOL_SIZE = "8"
DATABASE_CORE, SERVER_CORE = "1", "0"
FLOOR = "wire loop"
TICKS = os.sysconf("SC_CLK_TCK")

CONTESTANTS = {
    "payment-latency-api": [os.environ["SERVICE"]],
    "axum + deadpool": [str(ROOT / "target/peers/release/axum-deadpool")],
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pin_database():
    for port in (DEV / "port").read_text().split():
        postmaster = subprocess.run(
            ["pgrep", "-f", f"postgres.*-p {port}"], capture_output=True, text=True, check=True
        ).stdout.split()
        for process in postmaster:
            subprocess.run(["taskset", "-acp", DATABASE_CORE, process], capture_output=True, check=False)


class Server:
    """A contestant, started and warm when the block begins, ended with it."""

    def __init__(self, command):
        self.port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(self.port),
            "LISTEN_ADDRESS": "127.0.0.1",
            "DATABASE_URL_FILE": str(SECRETS / "database_url"),
            "API_SECRET_KEY_FILE": str(SECRETS / "api_key"),
            "POOL_SIZE": POOL_SIZE,
            "STATEMENT_MODE": "named",
            "DRAIN_MS": "0",
            "REGION": "local",
            "ENVIRONMENT": "bench",
            "MIMALLOC_ARENA_EAGER_COMMIT": "0",
        }
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *command], env=environment, stdout=subprocess.DEVNULL
        )

    def __enter__(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{self.process.args} did not start")
                time.sleep(0.05)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def generate(program, arguments):
    command = ["taskset", "-c", SERVER_CORE, "chrt", "-f", "10", str(ROOT / "target/harness/release" / program)]
    output = subprocess.run(command + arguments, capture_output=True, text=True, check=False)
    if output.returncode != 0:
        return {"error": output.stderr.strip()}
    return json.loads(output.stdout)


def run_once(name, rate, options, seed):
    times = ["--rate", str(rate), "--duration-s", str(options.duration), "--warm-up-s", "1", "--seed", str(seed)]
    if name == FLOOR:
        return generate("floor", times + ["--url-file", str(SECRETS / "database_url")])
    with Server(CONTESTANTS[name]) as server:
        before = server.cpu_seconds()
        load = [f"127.0.0.1:{server.port}", "--key-file", str(SECRETS / "api_key")]
        result = generate("load", load + times)
        # The warm-up counts on both sides.
        result["cpu_us"] = (server.cpu_seconds() - before) * 1e6 / (rate * (options.duration + 1))
        return result


def verdict(result):
    """Why a run does not count, or None."""
    if "error" in result:
        return result["error"]
    if result["failed"]:
        return f"{result['failed']} failed"
    lag, median = result["lag_us"]["p99"], result["latency_us"]["p50"]
    if lag > median / 4:
        return f"the generator was late: p99 {lag:.0f} us beside a p50 of {median:.0f} us"
    return None


def spread(values):
    middle = statistics.median(values)
    return f"{middle:9.0f} ({min(values):.0f} to {max(values):.0f})"


def table(rate, runs):
    print(f"\n{rate} payments/s, microseconds: median of the runs (least to most)")
    print(f"{'':22} {'p50':>24} {'p99':>26} {'CPU for each':>22} {'runs':>5}")
    for name, results in runs.items():
        if not results:
            print(f"{name:22} no run counts")
            continue
        columns = [spread([run["latency_us"][q] for run in results]) for q in ("p50", "p99")]
        cpu = [run["cpu_us"] for run in results if "cpu_us" in run]
        columns.append(spread(cpu) if cpu else "")
        print(f"{name:22} {columns[0]:>24} {columns[1]:>26} {columns[2]:>22} {len(results):>5}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rates, three repetitions")
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")])
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--commit-delay-us", type=int, default=0, help="what the database was told")
    parser.add_argument("--duration", type=float, help="seconds of each run")
    options = parser.parse_args()
    options.rates = options.rates or ([200, 2000] if options.quick else [50, 200, 1000, 3000])
    options.repetitions = options.repetitions or (3 if options.quick else 7)
    options.duration = options.duration or (5.0 if options.quick else 10.0)
    pin_database()
    print(f"\ncommit_delay {options.commit_delay_us} us, pool of {POOL_SIZE}, {options.duration:.0f} s a run")
    recorded = []
    for rate in options.rates:
        # One connection cannot keep up with more: the floor is where latency begins, not throughput.
        names = list(CONTESTANTS) + ([FLOOR] if rate <= 200 else [])
        runs = {name: [] for name in names}
        for repetition in range(options.repetitions):
            order = names if repetition % 2 == 0 else names[::-1]
            for name in order:
                result = run_once(name, rate, options, seed=repetition + 1)
                reason = verdict(result) if name != FLOOR else result.get("error")
                recorded.append({"contestant": name, "repetition": repetition, "rejected": reason, **result})
                if reason:
                    print(f"  {name} at {rate}/s, run {repetition + 1}: {reason}")
                else:
                    runs[name].append(result)
        table(rate, runs)
    out = ROOT / "target/bench"
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"results-{options.commit_delay_us}.json"
    file.write_text(json.dumps(recorded, indent=1))
    print(f"\nAll runs: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
