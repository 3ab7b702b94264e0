"""What the service does with more than it can carry, and with a table that has grown.

`overload` sends 3 and 10 times what a database-bound set-up carries, then more than the processor
does. `growth` compares payments into an empty table with payments into one of millions of rows, and
then beside `prune`. Both record in docs/reliability/results.json.
"""

import argparse
import concurrent.futures
import contextlib
import json
import operator
import os
import statistics
import subprocess
import threading
import time

import stage
from stage import SERVICE

RECORD = stage.ROOT / "docs/reliability/results.json"
COMMIT_US = 3000
# A pool of 2, commits of 3 ms, batches of 1: full queues do the refusing. They are short enough for a
# machine that carries half as much: otherwise the checkout's time limit refuses, half a second later.
BOUND = {"POOL_SIZE": "2", "BATCH_MAX": "1", "WAITERS_MAX": "64"}
BOUND_RATE = 660
# The same without refusals: a queue for all callers there are, and a minute to wait in it.
PATIENT = BOUND | {"WAITERS_MAX": "65536", "CHECKOUT_TIMEOUT_MS": "60000", "PAYMENT_DEADLINE_MS": "60000"}
# More than one core carries, generator included, by more callers than the pool and its queue hold.
FLOOD_FACTOR, FLOOD_CALLERS = 1.5, 2048
# No service carries this much; fewer callers than the queue holds, so that nothing is refused.
ENDLESS_RATE, PATIENT_CALLERS = 200_000, 256
CALLERS = 1024
# Payments a second of `growth`.
RATE = 500


def record(section, name, figures):
    print(section, name, json.dumps(figures), flush=True)
    results = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    results.setdefault(section, {})[name] = figures
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(results, indent=2) + "\n")


def load(server, rate, seconds, *options, seed=1, warm_up=1.0, callers=CALLERS):
    run = stage.harness(
        "load", f"127.0.0.1:{server.port}", "--key-file", stage.SECRETS / "api_key", "--rate", rate, "--duration-s",
        seconds, "--warm-up-s", warm_up, "--seed", seed, "--connections", callers, "--server-timing", *options,
    )  # fmt: skip
    if "error" in run:
        raise SystemExit(run["error"])
    return run


def milliseconds(run, what, quantile="p99"):
    return round(run[what][quantile] / 1e3, 2)


def calm(server, seconds):
    return load(server, 100, seconds, warm_up=0)


def goodput(run, seconds):
    """Payments a second over the time that they took: longer than the load where the generator falls behind."""
    return run["answered"] / max(run["took_s"], seconds)


def flooded(server, rate, seconds, callers=CALLERS):
    """A flood, the calm before it, and the first second and the next five after it, as figures."""
    quiet = calm(server, 5)
    before, most = server.resident_kib(), [0]
    over = threading.Event()

    def watch():
        while not over.wait(0.25):
            most.append(server.resident_kib())

    watching = threading.Thread(target=watch)
    watching.start()
    run = load(server, rate, seconds, callers=callers)
    over.set()
    watching.join()
    after = server.resident_kib()
    calms = [quiet, calm(server, 1), calm(server, 5)]
    return {
        "rate": rate,
        "seconds": seconds,
        "goodput": round(goodput(run, seconds)),
        "took_s": round(run["took_s"], 1),
        "refused": run["refused"],
        "unsent": run["unsent"],
        "failed_otherwise": run["failed"] - run["refused"] - run["unsent"],
        "p99_ms": milliseconds(run, "latency_us"),
        "max_ms": milliseconds(run, "latency_us", "max"),
        # Without the wait for the generator or for one of its connections.
        "answer_p99_ms": milliseconds(run, "answer_us"),
        "answer_max_ms": milliseconds(run, "answer_us", "max"),
        # By the service's own clock.
        "service_p99_ms": milliseconds(run, "service_us"),
        "service_max_ms": milliseconds(run, "service_us", "max"),
        "refusal_p99_ms": milliseconds(run, "refusal_us"),
        "lag_p99_ms": milliseconds(run, "lag_us"),
        "resident_kib": [before, max(most), after],
        "calm_p99_ms": [milliseconds(run, "latency_us") for run in calms],
        "calm_failed": sum(run["failed"] for run in calms),
    }


def flood(name, most, *load_of_it):
    """Records a flood; how many of its answers were neither 200 nor 503 with Retry-After."""
    figures = flooded(*load_of_it)
    figures["share_of_maximum"] = round(figures["goodput"] / most, 3)
    record("overload", name, figures)
    return figures["failed_otherwise"] + figures["calm_failed"]


def overload(seconds):
    stage.configure_database()
    stage.set_commit_delay(COMMIT_US)
    wrong = 0
    with stage.Server(SERVICE, BOUND) as server:
        most = max(load(server, BOUND_RATE * share, max(3, seconds // 3))["achieved"] for share in (0.9, 1.0, 1.1))
        record("overload", "maximum", {"goodput": round(most)})
        for factor in (3, 10):
            stage.empty_table()
            wrong += flood(f"{factor} times", most, server, BOUND_RATE * factor, seconds)
    with stage.Server(SERVICE, PATIENT) as server:
        stage.empty_table()
        wrong += flood("3 times, all wait", most, server, BOUND_RATE * 3, seconds)
    stage.set_commit_delay(0)
    stage.empty_table()
    with stage.Server(SERVICE) as server:
        most = goodput(load(server, ENDLESS_RATE, 1, warm_up=0, callers=PATIENT_CALLERS), 1)
        rate = round(most * FLOOD_FACTOR, -3)
        # The second one shows whether memory goes on growing.
        for name in ("processor", "processor, again"):
            wrong += flood(name, most, server, rate, seconds, FLOOD_CALLERS)
    stage.empty_table()
    if wrong:
        raise SystemExit(f"{wrong} answers were neither 200 nor 503 with Retry-After")


def growth(rows, seconds, rounds):
    stage.configure_database()
    full = "payments_grown"
    stage.sql(f"CREATE DATABASE {full} OWNER payments_owner")
    urls = {}
    for name in ("database_url", "migrate_database_url"):
        url = (stage.SECRETS / name).read_text().replace("/payments?", f"/{full}?")
        urls[name] = stage.SECRETS / f"grown_{name}"
        urls[name].write_text(url)
    owner = {"MIGRATE_DATABASE_URL_FILE": str(urls["migrate_database_url"])}
    verb(["migrate"], {**owner, "DATABASE_URL_FILE": str(urls["database_url"])})
    began = time.monotonic()
    owner_sql = lambda statement: subprocess.run(
        [stage.postgres_program("psql"), "-XAtqc", statement, urls["migrate_database_url"].read_text().strip()],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # Both indices are put back behind the fill, which is several times as fast.
    by_key = owner_sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'payments_idempotency_key'").strip()
    owner_sql("ALTER TABLE payments DROP CONSTRAINT payments_pkey; DROP INDEX payments_idempotency_key")
    for first in range(1, rows + 1, 1_000_000):
        owner_sql(stage.FILL.format(first=first, last=min(rows, first + 999_999)))
    owner_sql(f"ALTER TABLE payments ADD PRIMARY KEY (transaction_id); {by_key}")
    owner_sql("VACUUM (ANALYZE) payments")
    print(f"filled in {time.monotonic() - began:.0f} s", flush=True)
    runs = {"empty": [], "grown": [], "at rest": [], "pruned": []}
    with contextlib.ExitStack() as stack:
        servers = {
            "empty": stack.enter_context(stage.Server(SERVICE)),
            "grown": stack.enter_context(stage.Server(SERVICE, {"DATABASE_URL_FILE": str(urls["database_url"])})),
        }
        # At the same time: the machine's speed changes from second to second, but is the same for both.
        with concurrent.futures.ThreadPoolExecutor() as both:
            for round_ in range(rounds):
                beside = {
                    name: both.submit(load, servers[name], RATE // 2, seconds, "--keyed", seed=2 * round_ + first)
                    for first, name in enumerate(sorted(servers, reverse=round_ % 2 == 1))
                }
                for name, run in beside.items():
                    runs[name].append(run.result())
        removed = []
        for round_ in range(rounds):
            for name in ("at rest", "pruned")[:: 1 if round_ % 2 == 0 else -1]:
                with contextlib.ExitStack() as verbs:
                    if name == "pruned":
                        # A share of what is there, old enough to go.
                        age = 400 * 24 - (round_ + 1) * rows // rounds * 2 // 3600
                        prune = verbs.enter_context(Verb(["prune", "--older-than", f"{age}h"], owner))
                    runs[name].append(load(servers["grown"], RATE, seconds, "--keyed", seed=round_))
                    if name == "pruned":
                        removed.append(prune.process.poll() is not None)
    at = lambda name, what: [round(run["latency_us"][what] / 1e3, 3) for run in runs[name]]
    # By rounds, for the same reason.
    ratio = lambda name, of, what: round(statistics.median(map(operator.truediv, at(name, what), at(of, what))), 3)
    figures = {"rows": rows, "rate": RATE, "seconds": seconds, "rounds": rounds}
    for what in ("mean", "p50", "p99"):
        figures[what] = {name: at(name, what) for name in runs}
        figures[f"{what}_ratio"] = {"grown": ratio("grown", "empty", what), "pruned": ratio("pruned", "at rest", what)}
    figures["failed"] = sum(run["failed"] for found in runs.values() for run in found)
    figures["prune_ended_within_run"] = removed
    figures["rows_pruned"] = rows - int(owner_sql("SELECT count(*) FROM payments WHERE request_hash = sha256('x')"))
    record("growth", "growth", figures)
    if figures["failed"]:
        raise SystemExit(f"{figures['failed']} payments failed")
    stage.sql(f"DROP DATABASE {full} WITH (FORCE)")


class Verb(stage.Process):
    """A verb of the service beside a load; on the database's core, where an operator's job does no harm."""

    def __init__(self, arguments, environment):
        super().__init__([os.environ["SERVICE"], *arguments], stage.DATABASE_CORE, environment)


def verb(arguments, environment):
    subprocess.run([os.environ["SERVICE"], *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["overload", "growth"])
    parser.add_argument("--seconds", type=int, default=None)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    if options.what == "overload":
        overload(options.seconds or 60)
    else:
        growth(options.rows, options.seconds or 5, options.rounds)


if __name__ == "__main__":
    main()
