"""Runs the contestants side by side and prints medians with their spread. scripts/bench.sh calls it.

Repetitions go through all scenarios and, within one, through its contestants, each time in the
opposite order: what else the machine does meets all of them. Refused and late runs are named.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile
import time

import figures
import stage
from stage import BARE, PEERS, PGBENCH, SERVICE, WIRE

RECORD = stage.ROOT / "docs/performance/results.json"
PARTIAL = stage.ROOT / "target/bench/partial.json"
SIZES = stage.ROOT / "docs/performance/sizes.json"
# Nobody fails at the first step when commits take no time, so it is left out there.
LADDER = [2000, 4000, 6000, 8000, 10000, 12500, 16000, 20000, 25000, 30000, 36000, 42000, 50000, 60000, 72000]
LADDER_SECONDS = 1.5
P99_LIMIT_US = 25_000
MANAGED_COMMIT_US = 3000
# https://docs.kernel.org/virt/guest-halt-polling.html
HALT_POLL_NS = pathlib.Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")


@dataclasses.dataclass
class Scenario:
    name: str
    rate: int
    seconds: float
    contestants: list
    repetitions: int
    load: tuple = ()
    settings: dict = dataclasses.field(default_factory=dict)
    """Of the service; the peers have none."""
    companions: tuple = ()
    """Paths that are asked for once a second during the load."""
    pooler: bool = False
    commit_delay_us: int = 0
    beyond_knee: bool = False


def scenarios(quick, peers, best):
    """What is run before anything is known of saturation."""
    everybody, both = [SERVICE, *peers], [SERVICE, best]
    if quick:
        return [
            Scenario("200/s", 200, 4, [*everybody, WIRE, PGBENCH], 3),
            Scenario("1,000/s", 1000, 4, [*everybody, WIRE, PGBENCH], 3),
            Scenario("commits of 3 ms, 1,000/s", 1000, 4, both, 3, commit_delay_us=MANAGED_COMMIT_US),
        ]
    delayed = {"commit_delay_us": MANAGED_COMMIT_US, "repetitions": 3}
    return [
        Scenario("50/s", 50, 5, [*everybody, WIRE], 7),
        Scenario("200/s", 200, 6, [*everybody, WIRE, PGBENCH], 7),
        Scenario("1,000/s", 1000, 15, [*everybody, WIRE, PGBENCH], 7),
        Scenario("3,000/s", 3000, 5, everybody, 7),
        Scenario("burst: 500/s, 10 times as many for 200 ms of each second", 500, 8, both, 3, load=("--burst", 10)),
        Scenario("200/s beside 1,000 idle connections", 200, 6, both, 3, load=("--idle", 1000)),
        Scenario("200/s beside 10,000 idle connections", 200, 6, both, 3, load=("--idle", 10000)),
        Scenario("200/s, a new connection for each", 200, 6, both, 3, load=("--fresh",)),
        Scenario("1,000/s, scraped each second", 1000, 15, [SERVICE], 7, companions=("/metrics", "/health")),
        Scenario("200/s, unnamed statements", 200, 6, [SERVICE], 3, settings={"STATEMENT_MODE": "unnamed"}),
        Scenario("1,000/s, unnamed statements", 1000, 8, [SERVICE], 3, settings={"STATEMENT_MODE": "unnamed"}),
        Scenario("1,000/s, connections replaced, about two a second", 1000, 15, [SERVICE], 7,
                 settings={"CONNECTION_LIFETIME_S": "4"}),
        Scenario("200/s through pgbouncer, unnamed", 200, 6, [SERVICE], 3, settings={"STATEMENT_MODE": "unnamed"},
                 pooler=True),
        Scenario("commits of 3 ms, 50/s", 50, 6, [*both, WIRE], **delayed),
        Scenario("commits of 3 ms, 200/s", 200, 6, both, **delayed),
        Scenario("commits of 3 ms, 1,000/s", 1000, 10, both, **delayed),
    ]  # fmt: skip


def run_once(scenario, name, seed, program=None):
    stage.empty_table()
    if name == WIRE:
        return stage.wire_loop(scenario.rate, scenario.seconds, seed)
    if name == PGBENCH:
        return stage.pgbench(scenario.rate, scenario.seconds, seed)
    settings = dict(scenario.settings) if name == SERVICE else {}
    with contextlib.ExitStack() as stack:
        if scenario.pooler:
            settings["DATABASE_URL_FILE"] = str(stack.enter_context(stage.PgBouncer()).url_file)
        server = stack.enter_context(stage.Server(name, settings, program=program))
        companions = [
            stage.Process(
                [stage.ROOT / "target/harness/release/load", f"127.0.0.1:{server.port}", "--rate", 1, "--connections",
                 1, "--duration-s", scenario.seconds, "--target", path], stage.SERVER_CORE, output=subprocess.PIPE)
            for path in scenario.companions
        ]  # fmt: skip
        for companion in companions:
            stack.enter_context(companion)
        before = server.cpu_seconds()
        run = stage.generate(server.port, scenario.rate, scenario.seconds, seed, *scenario.load)
        for path, companion in zip(scenario.companions, companions, strict=True):
            asked = json.loads(companion.process.communicate(timeout=30)[0])
            if asked.get("failed", 1) or not asked.get("served"):
                return {"error": f"{path} was not answered beside the payments: {asked}"}
        if run.get("served"):
            run["cpu_us"] = (server.cpu_seconds() - before) * 1e6 / run["served"]
            run["resident_kib"] = server.resident_kib()
        return run


def climb(name, seed, delay_us, settings=None, ladder=None, warming=0):
    """Rates up to the first that is not sustained: every payment answered, p99 under 25 ms. Before them a second at
    the `warming` rate, if there is one, has each connection prepare its statement and fill its caches."""
    stage.set_commit_delay(delay_us)
    steps = []
    with stage.Server(name, settings) as server:
        if warming:
            stage.generate(server.port, warming, 1, seed, warm_up=0)
        for rate in ladder or (LADDER if delay_us else LADDER[1:]):
            stage.empty_table()
            before = server.cpu_seconds()
            run = stage.generate(server.port, rate, LADDER_SECONDS, seed, warm_up=0.5)
            if "error" in run:
                # The generator's own fault, not a contestant's.
                raise SystemExit(run["error"])
            sustained = not run["failed"] and run["latency_us"]["p99"] < P99_LIMIT_US
            steps.append({
                "rate": rate,
                "achieved": round(run["achieved"]),
                "failed": run["failed"],
                "p50_us": run["latency_us"]["p50"],
                "p99_us": run["latency_us"]["p99"],
                "lag_p99_us": run["lag_us"]["p99"],
                "cpu_us": round((server.cpu_seconds() - before) * 1e6 / max(run["served"], 1), 1),
                "sustained": sustained,
            })  # fmt: skip
            if not sustained:
                break
    return steps


def sustained_rates(climbs):
    """The highest rate that each climb sustained."""
    return [max((step["rate"] for step in steps if step["sustained"]), default=0) for steps in climbs]


class Bench:
    def __init__(self, options):
        self.quick, self.trial = options.quick, options.trial
        self.peers = [name for name in PEERS if name not in stage.missing()]
        self.runs, self.rejected, self.climbs, self.scenarios = {}, {}, {}, {}
        self.began = time.monotonic()

    def say(self, text):
        print(f"[{(time.monotonic() - self.began) / 60:4.1f} min] {text}", flush=True)

    def add(self, scenario, repetition):
        self.scenarios.setdefault(scenario.name, scenario)
        stage.set_commit_delay(scenario.commit_delay_us)
        names, seconds = scenario.contestants, 1 if self.trial else scenario.seconds
        for name in names if repetition % 2 == 0 else names[::-1]:
            # A run that does not count is repeated once.
            for _ in range(2):
                run = run_once(dataclasses.replace(scenario, seconds=seconds), name, repetition + 1)
                reason = figures.verdict(run, scenario.beyond_knee)
                if not reason:
                    self.runs.setdefault((scenario.name, name), []).append(run)
                    break
                self.say(f"{scenario.name}, {name}, repetition {repetition + 1} does not count: {reason}")
                self.rejected.setdefault((scenario.name, name), []).append(reason)

    def climb_all(self, repetition, names, delay_us):
        for name in names if repetition % 2 == 0 else names[::-1]:
            self.climbs.setdefault((delay_us, name), []).append(climb(name, repetition + 1, delay_us))

    def best_peer(self):
        """The one that takes the least CPU at 1,000/s, which a single run tells better than its p99."""
        costs = {
            name: figures.median([run["cpu_us"] for run in self.runs.get(("1,000/s", name), [])])
            for name in self.peers
        }
        known = {name: cost for name, cost in costs.items() if cost is not None}
        return min(known, key=known.get) if known else self.peers[0]

    def again(self, names, best):
        """Runs some scenarios anew."""
        plan = [scenario for scenario in scenarios(False, self.peers, best) if scenario.name in names]
        if unknown := set(names) - {scenario.name for scenario in plan}:
            raise SystemExit(f"unknown scenario “{'”, “'.join(sorted(unknown))}”")
        for repetition in range(7):
            for scenario in plan:
                if repetition < scenario.repetitions:
                    self.add(scenario, repetition)
            self.say(f"repetition {repetition + 1} is done")

    def best_rate(self):
        """The rate that the strongest peer sustains, and its name."""
        rates = {name: figures.median(sustained_rates(self.climbs[0, name])) for name in self.peers}
        name = max(rates, key=rates.get)
        return name, int(rates[name])

    def everything(self):
        best = None
        for repetition in range(1 if self.trial else 3 if self.quick else 7):
            # Once the first repetition has shown it, the best peer stays the same.
            plan = scenarios(self.quick, self.peers, best or self.peers[0])
            main = [scenario for scenario in plan if set(self.peers) <= set(scenario.contestants)]
            for scenario in main:
                if repetition < scenario.repetitions:
                    self.add(scenario, repetition)
            best = best or self.best_peer()
            plan = scenarios(self.quick, self.peers, best)
            for scenario in plan:
                if scenario.name not in [done.name for done in main] and repetition < scenario.repetitions:
                    self.add(scenario, repetition)
            if not self.quick:
                self.climb_everybody(repetition, best)
            # Saved, so that a later error of the generator loses nothing.
            PARTIAL.parent.mkdir(parents=True, exist_ok=True)
            PARTIAL.write_text(json.dumps(self.result()))
            self.say(f"repetition {repetition + 1} is done")
        if not self.quick:
            self.overload()

    def saturation(self, best):
        """The ladders, and what lies beyond them, anew."""
        for repetition in range(7):
            self.climb_everybody(repetition, best)
            self.say(f"repetition {repetition + 1} is done")
        self.overload()

    def climb_everybody(self, repetition, best):
        self.climb_all(repetition, [SERVICE, *self.peers], 0)
        if repetition < 3:
            self.climb_all(repetition, [SERVICE, best], MANAGED_COMMIT_US)

    def overload(self):
        peer, rate = self.best_rate()
        beyond = next(step for step in LADDER if step > rate)
        for name, wanted, seconds in (
            (f"{beyond:,}/s, where {peer} is past its knee", beyond, 10),
            (f"{3 * rate:,}/s, three times what {peer} sustains", 3 * rate, 4),
        ):
            for repetition in range(1 if self.trial else 3):
                self.add(Scenario(name, wanted, seconds, [SERVICE, peer], 3, beyond_knee=True), repetition)

    def result(self):
        contestants = lambda scenario: {
            name: figures.summary(
                self.runs.get((scenario.name, name), []), self.rejected.get((scenario.name, name), [])
            )
            for name in scenario.contestants
        }
        return {
            "machine": machine(),
            "pool_size": stage.POOL_SIZE,
            "connections": stage.CONNECTIONS,
            "missing": stage.missing(),
            "scenarios": {
                name: {
                    "rate": scenario.rate,
                    "seconds": scenario.seconds,
                    "commit_delay_us": scenario.commit_delay_us,
                    "beyond_knee": scenario.beyond_knee,
                    "contestants": contestants(scenario),
                }
                for name, scenario in self.scenarios.items()
            },
            "ladders": [
                {"commit_delay_us": delay, "contestant": name, "sustained": sustained_rates(climbs), "climbs": climbs}
                for (delay, name), climbs in self.climbs.items()
            ],
        }


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def machine():
    output = lambda *command: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "postgresql": stage.sql("SHOW server_version"),
        "rust": output("rustc", "--version"),
        "go": output("go", "version") or "missing",
        "revision": revision(),
        "date": time.strftime("%Y-%m-%d"),
        "binary_bytes": os.stat(os.environ["SERVICE"]).st_size,
    }


def revision():
    return figures.revision(stage.ROOT)


def sizes():
    """The contestants' files as they are run, and what is left of each without its symbols."""
    found = {}
    programs = {SERVICE: pathlib.Path(os.environ["SERVICE"]), **PEERS}
    for name, program in programs.items():
        if name in stage.missing():
            continue
        headers = subprocess.run(["readelf", "--program-headers", program], capture_output=True, text=True, check=True)
        with tempfile.TemporaryDirectory() as folder:
            stripped = pathlib.Path(folder) / "stripped"
            subprocess.run(["strip", "-o", stripped, program], check=True)
            found[name] = {
                "bytes": program.stat().st_size,
                "stripped_bytes": stripped.stat().st_size,
                "dynamic": "INTERP" in headers.stdout,
            }
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "contestants": found}


def facts(_):
    """What needs no contestant: start, memory, system calls, and what coalescing brings."""
    managed, cores = {"commit_delay_us": MANAGED_COMMIT_US}, []
    rows = [
        ("p99 in µs at 200/s", Scenario("", 200, 5, [], 3), "p99_us"),
        ("p99 in µs at 1,000/s", Scenario("", 1000, 4, [], 3), "p99_us"),
        ("p99 in µs at 1,000/s, commits of 3 ms", Scenario("", 1000, 4, [], 3, **managed), "p99_us"),
        ("payments/s with p99 under 25 ms", 0, "sustained"),
        ("payments/s with p99 under 25 ms, commits of 3 ms", MANAGED_COMMIT_US, "sustained"),
    ]
    for name, what, figure in rows:
        values = {"1": [], "32": []}
        for repetition in range(2 if figure == "sustained" else 3):
            for batch in list(values) if repetition % 2 == 0 else list(values)[::-1]:
                settings = {"BATCH_MAX": batch}
                if figure == "sustained":
                    values[batch] += sustained_rates([climb(SERVICE, repetition + 1, what, settings, LADDER[::2])])
                else:
                    stage.set_commit_delay(what.commit_delay_us)
                    run = run_once(dataclasses.replace(what, settings=settings), SERVICE, repetition + 1)
                    values[batch].append(round(run["latency_us"]["p99"]))
        cores.append({"name": name, "without": values["1"], "with": values["32"]})
        print(cores[-1], flush=True)
    stage.set_commit_delay(0)
    names = [SERVICE, *(name for name in PEERS if name not in stage.missing())]
    return {
        "revision": revision(),
        "coalescing": cores,
        "start_to_ready_ms": [stage.start_to_ready_ms() for _ in range(10)],
        "segments_us": stage.segments(),
        "connecting_us": [stage.connecting() for _ in range(3)],
        "steps_ns": stage.steps(),
        "system_calls_per_payment": {name: stage.system_calls(name) for name in names},
    }


def memory(_):
    """Resident memory of the service: with nothing to do, and the most beside a crowd that is idle."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "revision": revision(),
        "cpu": processor(),
        "idle_kib": [stage.resident_idle_kib() for _ in range(3)],
        "crowd_kib": [stage.resident_crowd_kib() for _ in range(3)],
    }


def instructions(_):
    """Instructions for one payment: of each contestant, and by the part of the service."""
    names = [SERVICE, *(name for name in PEERS if name not in stage.missing())]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "revision": revision(),
        "cpu": processor(),
        "per_payment": {name: stage.instructions(name) for name in names},
        "groups": stage.instruction_groups(),
    }


def cpu_in_turns(rate, contestants):
    """CPU microseconds for a payment, of contestants that are each given as name and settings."""
    costs = {label: [] for label in contestants}
    for repetition in range(7):
        for label in list(costs) if repetition % 2 == 0 else list(costs)[::-1]:
            with stage.Server(*contestants[label]) as server:
                costs[label].append(round(stage.cpu_us(server, rate, 3, repetition + 1), 1))
    print(rate, costs, flush=True)
    return costs


def three_times(result):
    """The rate that is three times what the best peer sustains, and that peer."""
    scenario = next(scenario for name, scenario in result["scenarios"].items() if "three times" in name)
    return scenario["rate"], next(name for name in scenario["contestants"] if name != SERVICE)


def cpu_floor(result):
    """CPU time beside a loop that makes the system calls of a payment and nothing else."""
    beyond, peer = three_times(result)
    found = {
        str(rate): cpu_in_turns(rate, {SERVICE: (SERVICE,), peer: (peer,), BARE: (BARE, floor)})
        for rate, floor in ((1000, {}), (beyond, {"DATABASE_URL_FILE": None}))
    }
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu_us": found}


def kernel(result):
    """How much of a payment's CPU time is the kernel's, beside all that the best peer takes, in turns."""
    beyond, peer = three_times(result)
    loads = []
    for rate in (1000, beyond):
        rounds = []
        for repetition in range(7):
            found = {}
            for name in (SERVICE, peer) if repetition % 2 == 0 else (peer, SERVICE):
                with stage.Server(name) as server:
                    found[name] = [round(cost, 1) for cost in stage.cpu_and_kernel_us(server, rate, 5, repetition + 1)]
            rounds.append(found)
            print(rate, found, flush=True)
        loads.append({"rate": rate, "rounds": rounds})
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "peer": peer, "loads": loads}


def threads(_):
    """What a second thread costs: Tokio's runtime of a peer with one worker thread, and with two, on one core."""
    peer, workers = "axum + deadpool", {count: {"TOKIO_WORKER_THREADS": count} for count in ("1", "2")}
    contestants = {count: (peer, settings) for count, settings in workers.items()}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "revision": revision(),
        "peer": peer,
        "cpu_us": {str(rate): cpu_in_turns(rate, contestants) for rate in (1000, 6000)},
        "system_calls": {count: stage.system_calls(peer, settings=settings) for count, settings in workers.items()},
    }


def pools(_):
    """The service with pools of different sizes, in turns."""
    sizes, loads = [1, 2, 4, 8, 16], [(0, 1000), (0, 10000), (MANAGED_COMMIT_US, 1000), (MANAGED_COMMIT_US, 10000)]
    found = []
    for delay, rate in loads:
        stage.set_commit_delay(delay)
        runs = {size: [] for size in sizes}
        for repetition in range(5):
            for size in sizes if repetition % 2 == 0 else sizes[::-1]:
                runs[size].append(stage.exchanges({"POOL_SIZE": str(size)}, rate, 4, repetition + 1))
        for size in sizes:
            figures_of = {name: [run[name] for run in runs[size]] for name in runs[size][0]}
            found.append({"commit_delay_us": delay, "rate": rate, "pool_size": size, **figures_of})
            print(found[-1], flush=True)
    stage.set_commit_delay(0)
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "loads": found}


def pools_climbing(_):
    """What pools of different sizes sustain with commits of 3 ms: a peer's, and the service's without and with
    coalescing, each with all its connections warm."""
    peer, sizes = "axum + deadpool", [8, 16, 32, 64]
    contestants = {
        (label, size): (name, {"POOL_SIZE": str(size)} | settings)
        for size in sizes
        for label, name, settings in (
            (peer, peer, {}),
            ("BATCH_MAX=1", SERVICE, {"BATCH_MAX": "1"}),
            ("BATCH_MAX=32", SERVICE, {"BATCH_MAX": "32"}),
        )
    }
    found = {key: [] for key in contestants}
    for repetition in range(3):
        for key in list(found) if repetition % 2 == 0 else list(found)[::-1]:
            name, settings = contestants[key]
            steps = climb(name, repetition + 1, MANAGED_COMMIT_US, settings, warming=18_000)
            found[key] += sustained_rates([steps])
            print(*key, found[key], flush=True)
    stage.set_commit_delay(0)
    return {
        "date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "commit_delay_us": MANAGED_COMMIT_US,
        "sustained": [
            {"contestant": label, "pool_size": size, "rates": rates} for (label, size), rates in found.items()
        ],
    }  # fmt: skip


@contextlib.contextmanager
def halt_poll_us(most):
    """How long, at most, this guest's idle processors poll for work before they halt."""
    former = HALT_POLL_NS.read_text()
    # The former value is restored even when it is told to end in between.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    HALT_POLL_NS.write_text(str(most * 1000))
    try:
        yield
    finally:
        HALT_POLL_NS.write_text(former)


def wakes(_):
    """What the ratios at a low rate owe to the price of a wake-up: measured in turns where idle processors halt at once
    and where they poll for work first."""
    if not os.access(HALT_POLL_NS, os.W_OK):
        raise SystemExit(f"cannot write {HALT_POLL_NS}: run this as root, in a guest with the haltpoll governor")
    names = [SERVICE, "axum + deadpool", WIRE]
    scenario = Scenario("1,000/s", 1000, 6, names, 5)
    runs, late = {(most, name): {} for most in (0, 200, 2000) for name in names}, []
    for repetition in range(scenario.repetitions):
        for most, name in list(runs)[:: 1 if repetition % 2 == 0 else -1]:
            with halt_poll_us(most):
                run = run_once(scenario, name, repetition + 1)
            if reason := figures.verdict(run):
                late.append(f"{name}, {most} µs: {reason}")
                print("does not count:", late[-1], flush=True)
            else:
                runs[most, name][repetition + 1] = run
        print(f"round {repetition + 1} of {scenario.repetitions} is done", flush=True)
    kept = ("runs", "p50_us", "p99_us", "cpu_us")
    found = [
        {"halt_poll_us": most, "contestant": name, "rounds": list(made)}
        | {figure: value for figure, value in figures.summary([*made.values()], []).items() if figure in kept}
        for (most, name), made in runs.items()
    ]
    return {
        "date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "rate": scenario.rate,
        "rounds": scenario.repetitions, "late": late, "loads": found,
    }  # fmt: skip


# The service's share of its core: alone without a limit; alone with a limit equal to its request, and to twice that;
# beside a process of the same weight that computes without end.
QUOTA_US = {"250m": 25_000, "500m": 50_000}
ALONE, BUSY = "alone, no limit", "a busy neighbour, no limit"


def neighbours(_):
    """What a processor limit and a busy neighbour cost a payment, in turns with a run that has neither."""
    shares = [ALONE, *(f"alone, a limit of {limit}" for limit in QUOTA_US), BUSY]
    loads = [("1,000/s", 1000, ()), ("6,000/s", 6000, ()), ("2,000/s, bursts", 2000, ("--burst", 10))]
    runs = {(load, share): [] for load, _, _ in loads for share in shares}
    rounds = 5
    for repetition in range(rounds):
        for name, rate, burst in loads:
            for share in shares[:: 1 if repetition % 2 == 0 else -1]:
                runs[name, share].append(beside(share, rate, burst, repetition + 1))
        print(f"round {repetition + 1} of {rounds} is done", flush=True)
    found = [
        {"load": load, "share": share, **{figure: [run[figure] for run in made] for figure in made[0]}}
        for (load, share), made in runs.items()
    ]
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "rounds": rounds, "loads": found}


def beside(share, rate, burst, seed):
    stage.empty_table()
    quota = next((quota for limit, quota in QUOTA_US.items() if share.endswith(limit)), None)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(stage.CpuGroup("service", quota))
        server = stack.enter_context(stage.Server(SERVICE))
        group.add(server.process)
        if share == BUSY:
            others = stack.enter_context(stage.CpuGroup("neighbour"))
            neighbour = stack.enter_context(stage.Process(["sh", "-c", "while :; do :; done"], stage.SERVER_CORE))
            others.add(neighbour.process)
        stage.warm(server, seed)
        stage.generate(server.port, rate, 1, seed, *burst, warm_up=0)
        before, cpu = group.periods(), server.cpu_seconds()
        run = stage.generate(server.port, rate, 5, seed + 1, *burst, warm_up=0)
        cpu = server.cpu_seconds() - cpu
        passed, stopped = (after - former for after, former in zip(group.periods(), before, strict=True))
        return {
            "p50_us": round(run["latency_us"]["p50"]),
            "p99_us": round(run["latency_us"]["p99"]),
            "p99.9_us": round(run["latency_us"]["p99.9"]),
            "failed": run["failed"],
            "of_a_core": round(cpu / 5, 3),
            "stopped": round(stopped / passed, 3) if passed else 0,
            "lag_p99_us": round(run["lag_us"]["p99"]),
        }


def statements(_):
    """What is sustained with the statements' mode of the regions, and with a pooler in between, in turns."""
    found = []
    with stage.PgBouncer() as pooler:
        through = {"STATEMENT_MODE": "unnamed", "DATABASE_URL_FILE": str(pooler.url_file)}
        modes = {"`named`": {}, "`unnamed`": {"STATEMENT_MODE": "unnamed"}, "`unnamed`, through pgbouncer": through}
        for delay in (0, MANAGED_COMMIT_US):
            climbs = {mode: [] for mode in modes}
            for repetition in range(3):
                for mode in list(modes)[:: 1 if repetition % 2 == 0 else -1]:
                    climbs[mode].append(climb(SERVICE, repetition + 1, delay, modes[mode], LADDER[::2]))
                print(f"commits of {delay} µs, round {repetition + 1} of 3 is done", flush=True)
            for mode, steps in climbs.items():
                found.append({"commit_delay_us": delay, "mode": mode, "sustained": sustained_rates(steps), "climbs": steps})
    stage.set_commit_delay(0)
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "climbs": found}


def wal(_):
    """What a payment writes to the write-ahead log: with and without a key, with each page's first change after a
    checkpoint in it, and with whole pages compressed."""
    rate, seconds, rows = 1000, 5, 1_000_000
    loads = [(0, ()), (0, ("--keyed",)), (rows, ()), (rows, ("--keyed",))]
    found = []
    for filled, keyed in loads:
        for compression in ("off", "lz4", "zstd"):
            stage.sql(f"ALTER SYSTEM SET wal_compression = '{compression}'")
            stage.sql("SELECT pg_reload_conf()")
            stage.empty_table()
            if filled:
                stage.sql(stage.FILL.format(first=1, last=filled))
                stage.sql("CHECKPOINT")
            with stage.Server(SERVICE) as server:
                before = stage.log_written()
                served = stage.generate(server.port, rate, seconds, 1, *keyed, warm_up=0)["served"]
            time.sleep(1)
            size, pages = (after - former for after, former in zip(stage.log_written(), before, strict=True))
            found.append({
                "rows": filled, "keyed": bool(keyed), "compression": compression, "payments": served,
                "bytes": round(size / served), "whole_pages": round(pages / served, 3),
            })  # fmt: skip
            print(found[-1], flush=True)
    stage.sql("ALTER SYSTEM RESET wal_compression")
    stage.sql("SELECT pg_reload_conf()")
    stage.empty_table()
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "rate": rate, "seconds": seconds, "loads": found}


def driver(_):
    """A payment's way to the database and back: through this service's pool, and through a driver with a task of its
    own, in turns."""
    ways, rounds = ("pool", "driver"), []
    for repetition in range(9):
        found = {way: stage.payments_alone(way)[0] for way in (ways if repetition % 2 == 0 else ways[::-1])}
        rounds.append({way: {figure: round(value, 1) for figure, value in found[way].items()} for way in ways})
        print(rounds[-1], flush=True)
    costs = {way: stage.exchange_costs(way) for way in ways}
    return {"date": time.strftime("%Y-%m-%d"), "revision": revision(), "cpu": processor(), "rounds": rounds, "costs": costs}


# Parts of the record that can be measured alone; `make bench` measures those in PARTS, too.
PARTS = {"facts": facts, "memory": memory, "instructions": instructions, "cpu_floor": cpu_floor}
EXTRA_PARTS = {
    "kernel": kernel,
    "threads": threads,
    "pools": pools,
    "pools_climbing": pools_climbing,
    "wakes": wakes,
    "neighbours": neighbours,
    "statements": statements,
    "wal": wal,
    "driver": driver,
}


def saturated_anew(result, bench):
    """The record with new ladders, and new scenarios beyond the knee."""
    bench.saturation(next(
        ladder["contestant"] for ladder in result["ladders"]
        if ladder["commit_delay_us"] and ladder["contestant"] != SERVICE
    ))  # fmt: skip
    fresh = bench.result()
    beyond = [name for name, scenario in result["scenarios"].items() if scenario.get("beyond_knee")]
    for name in beyond:
        del result["scenarios"][name]
    for name, scenario in fresh["scenarios"].items():
        result["scenarios"][name] = scenario | {"revision": revision()}
    return result | {
        "ladders": fresh["ladders"],
        "saturation_revision": revision(),
    }


def report(result):
    for name, scenario in result["scenarios"].items():
        print(figures.latency_table(name, scenario["contestants"]))
    rows = [
        [f"{ladder['contestant']}, commits of {ladder['commit_delay_us'] / 1000:g} ms",
         figures.spread(ladder["sustained"])] for ladder in result["ladders"]
    ]  # fmt: skip
    if rows:
        print(figures.table("Payments/s sustained with p99 under 25 ms", ["", "payments/s"], rows))
    for name, reason in result["missing"].items():
        print(f"\nMISSING: {name}: {reason}")


def write(path, result):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, ensure_ascii=False) + "\n")
    print(f"\nrecorded in {path.relative_to(stage.ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the essential scenarios in about five minutes")
    parser.add_argument("--try", dest="trial", action="store_true", help="all of them once and short, to try the harness")
    parser.add_argument("--part", choices=[*PARTS, *EXTRA_PARTS], help="this part alone, put into the record")
    parser.add_argument("--sizes", action="store_true", help="how large the contestants' files are; recorded by itself")
    parser.add_argument("--saturation", action="store_true", help="the ladders and beyond anew, put into the record")
    parser.add_argument("--again", nargs="+", metavar="SCENARIO", help="these anew, put into the record")
    options = parser.parse_args()
    if options.sizes:
        write(SIZES, sizes())
        return
    stage.configure_database()
    if options.again:
        result, bench = json.loads(RECORD.read_text()), Bench(options)
        bench.again(options.again, "axum + deadpool")
        fresh = bench.result()
        for name, scenario in fresh["scenarios"].items():
            result["scenarios"][name] = scenario | {"revision": revision(), "cpu": processor()}
        write(RECORD, result)
        return
    if options.saturation:
        write(RECORD, saturated_anew(json.loads(RECORD.read_text()), Bench(options)))
        return
    if options.part:
        result = json.loads(RECORD.read_text())
        result[options.part] = (PARTS | EXTRA_PARTS)[options.part](result)
        write(RECORD, result)
        return
    former = json.loads(RECORD.read_text())
    bench = Bench(options)
    bench.everything()
    result = bench.result()
    report(result)
    short = options.quick or options.trial
    if short:
        write(stage.ROOT / "target/bench/results.json", result)
        return
    result |= {name: former[name] for name in EXTRA_PARTS if name in former}
    write(RECORD, result)
    for name, measure in PARTS.items():
        result[name] = measure(result)
        bench.say(f"measured: {name}")
    write(RECORD, result)
    write(SIZES, sizes())


if __name__ == "__main__":
    main()
