"""Writes the tables of docs/PERFORMANCE.md from docs/performance/results.json.

With --check it changes nothing and fails when the document says something else.
"""

import json
import pathlib
import re
import sys

import figures
from figures import SAMPLES_MIN, median, spread, table

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/PERFORMANCE.md"
RECORD = ROOT / "docs/performance/results.json"
SERVICE, WIRE, BARE = "payment-latency-api", "wire loop", "bare loop"
FLOORS = (WIRE, "pgbench")
# Microseconds that a commit takes.
COMMITS = {3000: "commits of 3 ms", 0: "commits in memory"}
# A ratio to the floor needs this many runs of both that count.
RUNS_MIN = 3


def contestants(results, scenario):
    return {
        name: found for name, found in results["scenarios"][scenario]["contestants"].items() if found.get("runs")
    }


def best_peer(found, figure):
    """The peer with the lowest median of `figure`."""
    peers = {name: values for name, values in found.items() if name not in (SERVICE, *FLOORS) and figure in values}
    return min(peers, key=lambda name: median(peers[name][figure]))


def against(ours, theirs, name, digits=0, unit=" µs"):
    ratio = figures.ratio(ours, theirs)
    apart = "" if ratio["apart"] else ", the runs overlap"
    return ratio["ratio"], (
        f"{median(ours):,.{digits}f} against {median(theirs):,.{digits}f}{unit} of {name}: {ratio['ratio']:.2f}{apart}"
    )


def row(figure, goal, text, met, otherwise="not met"):
    return [figure, goal, text, "met" if met else otherwise]


def compared(figure, goal, ours, theirs, name, met, digits=0, unit=" µs", otherwise="not met"):
    """A row about our runs divided by another contestant's."""
    value, text = against(ours, theirs, name, digits, unit)
    return row(figure, goal, text, met(value), otherwise)


def without_cpu_goal(results, rate):
    """What is said where the goal for the CPU time is not met: the ratios of the bare loop and of this service."""
    costs = results.get("cpu_floor", {}).get("cpu_us", {}).get(str(rate))
    if not costs:
        return "not met"
    ours, peer, bare = costs.values()
    to_peer = lambda found: spread([each / beside for each, beside in zip(found, peer, strict=True)], 2)
    return f"not met; by round {to_peer(bare)} is the bare loop's, {to_peer(ours)} this service's"


def floor_goals(results):
    rows = []
    for scenario in ("200/s", "1,000/s"):
        found = contestants(results, scenario)
        for figure in ("p50_us", "p99_us"):
            name = f"{figure[:3]} at {scenario}, against the wire loop"
            if not {SERVICE, WIRE} <= found.keys():
                rows.append(row(name, "≤ 1.15", "no run of one of them counts", False, "too few runs count"))
                continue
            ours, floor = found[SERVICE][figure], found[WIRE][figure]
            made = compared(name, "≤ 1.15", ours, floor, WIRE, lambda x: x <= 1.15)
            if min(len(ours), len(floor)) < RUNS_MIN:
                made[-1] = "too few runs count"
            rows.append(made)
    return rows


def lowest(found, names, value):
    """Whose value is the lowest, and that value."""
    values = {name: value(found[name]) for name in names if name in found and value(found[name]) is not None}
    name = min(values, key=values.get)
    return name, values[name]


def peer_goals(results):
    """To be at the floor is enough: no further from the lower floor than the goal of the wire loop allows, unless the
    peer itself is below that floor."""
    found, goal = contestants(results, "1,000/s"), "≤ 0.75, or at the floor"
    otherwise = {True: "at the floor", False: "not met"}
    peer, floor = best_peer(found, "p99_us"), lowest(found, FLOORS, lambda values: median(values["p99_us"]))[0]
    ours = found[SERVICE]["p99_us"]
    value, text = against(ours, found[peer]["p99_us"], peer)
    ratio, beside = against(ours, found[floor]["p99_us"], floor)
    at_floor = ratio <= 1.15 and median(found[floor]["p99_us"]) < median(found[peer]["p99_us"])
    figure = "p99 at 1,000/s, against the best peer"
    rows = [row(figure, goal, f"{text}; {beside}", value <= 0.75, otherwise[at_floor])]
    figure = "p99.9 at 1,000/s, against the best peer"
    tail = lambda values: values["together_us"]["p99.9"] if values["samples"] >= SAMPLES_MIN else None
    ours, peers = tail(found[SERVICE]), [name for name in found if name not in (SERVICE, *FLOORS)]
    if ours is None or not any(tail(found[name]) for name in peers) or not any(tail(found[name]) for name in FLOORS):
        return [*rows, row(figure, goal, f"fewer than {SAMPLES_MIN:,} samples of one of them", False, "too few runs count")]
    (peer, theirs), (floor, least) = lowest(found, peers, tail), lowest(found, FLOORS, tail)
    overlap = lambda name: "" if figures.ratio(found[SERVICE]["p99.9_us"], found[name]["p99.9_us"])["apart"] else ", the runs overlap"
    text = (
        f"{ours:,.0f} against {theirs:,.0f} µs of {peer}: {ours / theirs:.2f}{overlap(peer)}; "
        f"{least:,.0f} µs of {floor}: {ours / least:.2f}{overlap(floor)}"
    )
    at_floor = ours / least <= 1.15 and least < theirs
    return [*rows, row(figure, goal, text, ours / theirs <= 0.75, otherwise[at_floor])]


def overload_goals(results):
    rows = []
    for scenario in results["scenarios"]:
        found = contestants(results, scenario)
        if "past its knee" in scenario:
            peer = best_peer(found, "p99_us")
            ours, theirs = found[SERVICE]["p99_us"], found[peer]["p99_us"]
            rows.append(compared(f"p99 at {scenario}", "≤ 0.05", ours, theirs, peer, lambda x: x <= 0.05))
        if "three times" in scenario:
            peer = best_peer(found, "cpu_us")
            ours, theirs = found[SERVICE]["cpu_us"], found[peer]["cpu_us"]
            name = f"CPU for each payment at {scenario}"
            otherwise = without_cpu_goal(results, results["scenarios"][scenario]["rate"])
            rows.append(compared(name, "≤ 0.25", ours, theirs, peer, lambda x: x <= 0.25, 1, otherwise=otherwise))
    for delay, name in COMMITS.items():
        figure = f"payments/s with p99 under 25 ms, {name}"
        rows.append(compared(figure, "≥ 4", *sustained(results, delay), lambda x: x >= 4, unit="/s"))
    return rows


def sustained(results, delay):
    """The rates that this service and the best peer sustain, and that peer."""
    ladders = {
        ladder["contestant"]: ladder["sustained"] for ladder in results["ladders"] if ladder["commit_delay_us"] == delay
    }
    peer = max((name for name in ladders if name != SERVICE), key=lambda name: median(ladders[name]))
    return ladders[SERVICE], ladders[peer], peer


def rustls_allocations():
    """As the test asserts it."""
    source = (ROOT / "tests/allocations.rs").read_text()
    return re.search(r"const RUSTLS_ALLOCATIONS_PER_PAYMENT: u64 = (\d+);", source)[1]


def cost_goals(results):
    found = contestants(results, "1,000/s")
    peer = best_peer(found, "cpu_us")
    ours, theirs = found[SERVICE]["cpu_us"], found[peer]["cpu_us"]
    size = results["machine"]["binary_bytes"]
    rows = [
        compared("CPU for each payment at 1,000/s, against the best peer", "≤ 0.7", ours, theirs, peer,
                 lambda x: x <= 0.7, 1, otherwise=without_cpu_goal(results, 1000)),
        row("heap allocations for each payment", "0 here, the rest named",
            f"0, and {rustls_allocations()} of rustls (`tests/allocations.rs`)", True),
        row("static stripped binary", "≤ 3.5 MB", f"{size / 1e6:.2f} MB", size <= 3.5e6),
    ]  # fmt: skip
    if facts := results.get("facts"):
        idle, crowd = (median(results["memory"][which]) for which in ("idle_kib", "crowd_kib"))
        start = facts["start_to_ready_ms"]
        rows += [
            row("resident memory, idle", "≤ 4 MiB", f"{idle / 1024:.1f} MiB, before its first payment", idle <= 4096),
            row("the same beside 10,000 idle connections and 200/s", "≤ 20 MiB", f"{crowd / 1024:.1f} MiB",
                crowd <= 20 * 1024),
            row("start to ready", "≤ 50 ms", f"{spread(start)} ms", median(start) <= 50),
        ]  # fmt: skip
    return rows


def goals(results):
    rows = [part(results) for part in (floor_goals, peer_goals, overload_goals, cost_goals)]
    return table("Goals", ["Figure", "Goal", "Measured", ""], sum(rows, [])).split("\n", 3)[3]


def scenario_tables(results):
    return "\n".join(
        figures.latency_table(f"{name}, commits of {scenario['commit_delay_us'] / 1000:g} ms"
                              if scenario["commit_delay_us"] and "commits" not in name else name,
                              scenario["contestants"])
        for name, scenario in results["scenarios"].items()
    ).strip()  # fmt: skip


def ladder_tables(results):
    tables = []
    for delay, name in ((0, "commits in memory"), (3000, "commits of 3 ms")):
        found = [ladder for ladder in results["ladders"] if ladder["commit_delay_us"] == delay]
        rates = sorted({step["rate"] for ladder in found for climb in ladder["climbs"] for step in climb})
        rows = []
        for rate in rates:
            cells = []
            for ladder in found:
                tails = [step["p99_us"] for climb in ladder["climbs"] for step in climb
                         if step["rate"] == rate and "p99_us" in step]  # fmt: skip
                survived = f" ({len(tails)})" if len(tails) < len(ladder["climbs"]) else ""
                cells.append(f"{median(tails) / 1000:,.1f}{survived}" if tails else "-")
            rows.append([f"{rate:,}/s", *cells])
        rows.append(["**sustained**", *[f"**{spread(ladder['sustained'])}/s**" for ladder in found]])
        columns = ["p99 in ms, median (climbs, if not all)", *[ladder["contestant"] for ladder in found]]
        tables.append(table(f"The ladder, {name}", columns, rows))
    return "\n".join(tables).strip()


def steady(results):
    """Figures that do not depend on how busy the machine is."""
    facts = results.get("facts", {})
    calls = facts.get("system_calls_per_payment", {})
    rows = []
    for name, count in results["instructions"]["per_payment"].items():
        each = calls.get(name, {})
        total = f"{sum(each.values()):.1f}" if each else "-"
        which = ", ".join(f"{call} {number:.1f}" for call, number in each.items() if number >= 0.05)
        rows.append([name, f"{count:,}" if count else "valgrind does not run Go", total, which])
    columns = ["For one payment", "Instructions", "System calls", "Which"]
    return table("", columns, rows).strip().removeprefix("###").strip()


def coalescing(measured):
    rows = [[found["name"], spread(found["without"], 0), spread(found["with"], 0)] for found in measured]
    return table("", ["", "`BATCH_MAX=1`", "`BATCH_MAX=32`"], rows).strip().removeprefix("###").strip()


def cpu_floor(results):
    found = results.get("cpu_floor")
    if not found:
        return "Not recorded yet."
    names = list(next(iter(found["cpu_us"].values())))
    rows = [[f"{int(rate):,}/s", *[spread(costs[name], 1) for name in names]] for rate, costs in found["cpu_us"].items()]
    made = table("", ["CPU µs for a payment", *names], rows).strip().removeprefix("###").strip()
    rounds = len(found["cpu_us"]["1000"][names[0]])
    return f"{made}\n\nRecorded on {found['date']} at revision {found['revision']}: {rounds} rounds."


def anatomy(results):
    facts = results.get("facts", {})
    parts = facts.get("segments_us")
    if not parts:
        return ""
    rows = [
        ["between the caller and the service, with the reading, parsing and writing in it: two system calls each, the loopback, both wake-ups",
         f"{parts['caller'] - parts['request']:,.0f}"],
        ["in the service: check, check out, put the answer together",
         f"{parts['request'] - parts['exchange']:,.0f}"],
        ["the exchange: encode, encrypt, loopback, PostgreSQL and its commit, wake-up, decrypt, decode", f"{parts['exchange']:,.0f}"],
        ["**the payment, as its caller sees it**", f"**{parts['caller']:,.0f}**"],
    ]  # fmt: skip
    if "database_cpu" in parts:
        rows.insert(3, ["of which the database's processor time", f"{parts['database_cpu']:,.0f}"])
    times = table("", ["Mean time at 1,000/s", "µs"], rows).strip().removeprefix("###").strip()
    named = {
        "parse, minimal": "find the head's end and read a minimal request",
        "parse, typical": "the same with eight header fields",
        "encode, Named": "the statement, as bytes",
        "encrypt": "its TLS record",
        "decrypt": "the answer's record",
        "decode": "the answer",
        "checkout_and_exchange": "check out, encode, write, read, decode, give back; no TLS, no socket",
        "respond": "head and body of the 200",
    }
    rows = [[what, f"{facts['steps_ns'][name]:,.0f}"] for name, what in named.items() if name in facts.get("steps_ns", {})]
    alone = table("", ["A step alone, median", "ns"], rows).strip().removeprefix("###").strip()
    groups = results["instructions"]["groups"]
    rows = [[name, f"{count:,}"] for name, count in groups.items()]
    rows.append(["**all**", f"**{sum(groups.values()):,}**"])
    return times + "\n\n" + alone + "\n\n" + table("", ["Part of the program", "Instructions"], rows).strip().removeprefix("###").strip()


def machine(results):
    about = results["machine"]
    place = lambda part: part["revision"] + (f" on {part['cpu']}" if part.get("cpu", about["cpu"]) != about["cpu"] else "")
    again = {name: place(scenario) for name, scenario in results["scenarios"].items() if "revision" in scenario}
    later = "".join(
        f" At revision {where}: {'; '.join(name for name in again if again[name] == where)}."
        for where in dict.fromkeys(again.values())
    )
    return (
        f"Recorded on {about['date']} at revision {about['revision']}: {about['cpu']}, {about['cores']} cores, a virtual "
        f"machine, Linux {about['kernel']}, PostgreSQL {about['postgresql']}, {about['rust'].split(' (')[0]}, "
        f"{about['go']}; pool of {results['pool_size']}, {results['connections']} keep-alive connections. Start, "
        f"coalescing and the times of a payment's parts: at revision {results.get('facts', {}).get('revision', 'unknown')}. "
        f"Ladders: at revision {results.get('saturation_revision', about['revision'])}. Memory: at "
        f"revision {place(results['memory'])}. Instructions: at revision {place(results['instructions'])}." + later
    )


def written(document, results):
    parts = {
        "goals": goals,
        "scenarios": scenario_tables,
        "ladders": ladder_tables,
        "steady": steady,
        "cpu_floor": cpu_floor,
        "anatomy": anatomy,
        "machine": machine,
    }

    def fill(found):
        name = found.group(1)
        return f"<!-- bench:{name} -->\n{parts[name](results)}\n<!-- bench:end -->"

    return re.sub(r"<!-- bench:(\w+) -->\n.*?<!-- bench:end -->", fill, document, flags=re.DOTALL)


def main():
    results, document = json.loads(RECORD.read_text()), DOCUMENT.read_text()
    current = written(document, results)
    if "--check" not in sys.argv:
        DOCUMENT.write_text(current)
    elif current != document:
        sys.exit("docs/PERFORMANCE.md differs from docs/performance/results.json: run `make bench-plots` to rewrite it")
    if "--check" in sys.argv:
        stale = [picture.name for picture in RECORD.parent.glob("*.svg") if figures.drawn(results) not in picture.read_text()]
        if stale:
            sys.exit(f"{', '.join(sorted(stale))}: drawn from another record: run `make bench-plots` to draw them anew")


if __name__ == "__main__":
    main()
