"""Writes the figures that other documents quote from the two records: what stands between `<!-- quote:NAME -->` and
`<!-- quote:end -->`.

With --check it changes nothing and fails when a document says something else. `--root FOLDER` reads the documents
below FOLDER instead of the repository's.
"""

import json
import math
import pathlib
import re
import sys
import textwrap

import figures
import reliability
import report
from figures import median, spread

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICE = report.SERVICE
MANAGED_COMMIT_US = 3000
MARK = re.compile(r"<!-- quote:([\w-]+) -->\n.*?<!-- quote:end -->", re.DOTALL)
ANY_MARK = re.compile(r"(?<!`)<!-- quote:")  # one between backticks is only spoken of

# Budgets of docs/ADR-02-LATENCY-STRATEGY.md, milliseconds at p99. Where nothing was measured, they are the estimates,
# too; that page says where each comes from.
LOAD_BALANCER_MS, ZONE_MS, SERVICE_MS, PROXY_MS, COMMIT_MS, TARGET_MS = 2.0, 1.0, 3.0, 4.0, 5.0, 100.0
POOLED, UNNAMED, NAMED = "200/s through pgbouncer, unnamed", "200/s, unnamed statements", "200/s"
# p99 has risen where it is this many times that of a ladder's first step.
KNEE_RATIO = 2
# The autoscaler does nothing within this distance of its goal; Kubernetes' default, which EKS has.
TOLERANCE = 0.1
# Light in fibre takes 5 µs a kilometre, and cables are longer than the great circle: this much, as between Dallas and
# Baltimore.
FIBRE_US_PER_KM, DETOUR = 5.0, 1.8
REGIONS = {
    "eu-south-2": ("Aragon", 41.65, -0.88),
    "us-east-1": ("Northern Virginia", 39.04, -77.49),
    "mx-central-1": ("Querétaro", 20.59, -100.39),
}
CALLERS = (
    ("Madrid", 40.42, -3.70, "eu-south-2"),
    ("Barcelona", 41.39, 2.17, "eu-south-2"),
    ("Las Palmas", 28.12, -15.43, "eu-south-2"),
    ("Monterrey", 25.67, -100.31, "us-east-1"),
    ("Mexico City", 19.43, -99.13, "us-east-1"),
    ("Tijuana", 32.51, -117.04, "us-east-1"),
    ("Mexico City", 19.43, -99.13, "mx-central-1"),
)


class Missing(Exception):
    """The record lacks what a document quotes."""


def table(columns, rows):
    return figures.table("", columns, rows).strip().removeprefix("###").strip()


def prose(text):
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def runs(results, scenario, name=SERVICE):
    """What is recorded of one contestant in the scenario of that name, or of the first that begins so."""
    known = results["scenarios"]
    found = known.get(scenario) or next((known[key] for key in known if key.startswith(scenario)), None)
    if not found or not found["contestants"].get(name, {}).get("runs"):
        raise Missing(f"docs/performance/results.json has no run of {name} in “{scenario}”")
    return found["contestants"][name]


def fact(results, name):
    if name not in results.get("facts", {}):
        raise Missing(f"docs/performance/results.json has no fact “{name}”")
    return results["facts"][name]


def part(results, name):
    if name not in results:
        raise Missing(f"docs/performance/results.json has no “{name}”")
    return results[name]


def us(values):
    return f"{median(values):,.0f}"


def more(ours, theirs, name, digits=0):
    """How much larger the median of our runs is, with the least and the most that two runs differ by."""
    ours, theirs = ours[name], theirs[name]
    least, most = min(ours) - max(theirs), max(ours) - min(theirs)
    within = "" if figures.ratio(ours, theirs)["apart"] else ", within the spread"
    middle = median(ours) - median(theirs)
    return f"{middle:+,.{digits}f} ({least:+,.{digits}f} to {most:+,.{digits}f}){within}"


def pooler_runs(performance):
    """Runs through the pooler, the direct ones that they are compared with, how the direct ones put their statements,
    and what the two differ in. A record that lacks the scenario of UNNAMED cannot tell the pooler from the statements.
    """
    pooled = runs(performance, POOLED)
    if UNNAMED in performance["scenarios"]:
        return pooled, runs(performance, UNNAMED), "`unnamed`", "pgbouncer"
    return pooled, runs(performance, NAMED), "`named`", "pgbouncer and `unnamed` statements together"


def sustained(results, name, delay_us):
    found = [
        ladder["sustained"] for ladder in results["ladders"]
        if ladder["contestant"] == name and ladder["commit_delay_us"] == delay_us
    ]  # fmt: skip
    return f"{median(found[0]):,.0f}" if found else "-"


def megabytes(size):
    return f"{size / 1e6:.2f}"


def peers(performance, _):
    """One line a contestant: latency, cost, size and where it ends."""
    calls = performance.get("facts", {}).get("system_calls_per_payment", {})
    sizes = json.loads((ROOT / "docs/performance/sizes.json").read_text())
    rows = []
    for name, instructions in performance["instructions"]["per_payment"].items():
        found = runs(performance, "1,000/s", name)
        file = sizes["contestants"].get(name)
        rows.append([
            name, us(found["p50_us"]), us(found["p99_us"]), f"{median(found['cpu_us']):.1f}",
            f"{megabytes(file['bytes'])} / {megabytes(file['stripped_bytes'])}" if file else "-",
            f"{instructions:,}" if instructions else "-",
            f"{sum(calls[name].values()):.1f}" if name in calls else "-",
            f"{median(found['resident_kib']) / 1024:.1f}",
            sustained(performance, name, 0), sustained(performance, name, MANAGED_COMMIT_US),
        ])  # fmt: skip
    dynamic = ", ".join(name for name, file in sizes["contestants"].items() if file["dynamic"])
    counted = performance["instructions"]
    note = (
        f"Files recorded on {sizes['date']} at revision {sizes['revision']}, instructions on {counted['date']} at {counted['revision']}. "
        f"Linked dynamically: {dynamic}."
    )
    columns = ["At 1,000/s", "p50 µs", "p99 µs", "CPU µs", "File as run / stripped, MB", "Instructions",
               "System calls", "Memory MiB", "Sustained /s", "with commits of 3 ms"]  # fmt: skip
    return f"{table(columns, rows)}\n\n{prose(note)}"


def elsewhere():
    """A whole record of `make bench` on another machine."""
    return json.loads((ROOT / "docs/performance/another-machine.json").read_text())


def goals_elsewhere(*_):
    found = elsewhere()
    about = found["machine"]
    return report.goals(found) + "\n\n" + prose("Recorded on {date} at revision {revision}: {cpu}, {cores} cores.".format(**about))


def against_peers(performance, _):
    """The goals that README's claim is about, with what the service is not ahead of."""
    rows = {}

    def add(machine, figure, ours, theirs, name):
        ratio = figures.ratio(ours, theirs)
        text = f"{median(ours):,.0f} : {median(theirs):,.0f} = {ratio['ratio']:.2f}" + ("" if ratio["apart"] else " \\*")
        rows.setdefault((figure, name), ["-", "-"])[machine] = text

    for machine, results in enumerate((performance, elsewhere())):
        for delay, commits in report.COMMITS.items():
            add(machine, f"payments/s with p99 under 25 ms, {commits}", *report.sustained(results, delay))
        found = report.contestants(results, "1,000/s")
        ours = found[SERVICE]["p99_us"]
        for other in (report.best_peer(found, "p99_us"), report.WIRE):
            add(machine, "p99 at 1,000/s, µs", ours, found[other]["p99_us"], other)
        unnamed = runs(results, "1,000/s, unnamed statements")["p99_us"]
        add(machine, "p99 at 1,000/s, µs, `unnamed` statements", unnamed, ours, "`named` ones")
    statements = part(performance, "statements")
    climbs = [climb for climb in statements["climbs"] if climb["commit_delay_us"]]
    direct, pooled = (next(climb for climb in climbs if climb["mode"].endswith(end)) for end in ("`named`", "pgbouncer"))
    figure = "payments/s with p99 under 25 ms, commits of 3 ms, `unnamed` through a pooler"
    add(1, figure, pooled["sustained"], direct["sustained"], "`named`, direct")
    columns = ["Figure", "Compared with", "On the machine of the record", "On another one"]
    listed = table(columns, [[*names, *measured] for names, measured in rows.items()])
    here, there, last = (
        "{date} at revision {revision}".format(**found) for found in (performance["machine"], elsewhere()["machine"], statements)
    )
    text = rf"\* The runs overlap: no difference is shown. Recorded on {here}, and on {there}; the last row on {last}."
    return f"{listed}\n\n{prose(text)}"


def size(performance, _):
    about = performance["machine"]
    return table(
        ["The image's one file", "MB"],
        [["static, stripped, TLS and its authorities included", megabytes(about["binary_bytes"])]],
    )


def side_by_side(*pairs):
    """For each pair of runs both, and their difference."""
    figures_of = (("p50_us", 0), ("p99_us", 0), ("cpu_us", 1))
    rows = []
    for first, theirs, second, ours, what in pairs:
        for name, found in ((first, theirs), (second, ours)):
            rows.append([name, *(spread(found[figure], digits) for figure, digits in figures_of)])
        rows.append([f"more by {what}", *(more(ours, theirs, figure, digits) for figure, digits in figures_of)])
    return table(["", "p50 µs", "p99 µs", "CPU µs"], rows)


def pooled_and_direct(performance):
    pooled, direct, statements, differ = pooler_runs(performance)
    first, second = f"200/s, straight to the database, {statements}", "200/s, through pgbouncer, `unnamed`"
    return first, direct, second, pooled, differ


def pooler(performance, _):
    named, unnamed = runs(performance, "1,000/s"), runs(performance, "1,000/s, unnamed statements")
    first, second = "1,000/s, straight to the database, `named`", "1,000/s, straight to the database, `unnamed`"
    statements = first, named, second, unnamed, "`unnamed` statements alone"
    return side_by_side(pooled_and_direct(performance), statements)


def pooler_elsewhere(*_):
    return side_by_side(pooled_and_direct(json.loads((ROOT / "docs/performance/another-machine.json").read_text())))


def coalescing(performance, _):
    there = [
        found | {"name": f"{found['name']}, another machine"}
        for found in fact(elsewhere(), "coalescing") if "payments/s" in found["name"]
    ]  # fmt: skip
    return report.coalescing([*fact(performance, "coalescing"), *there])


def of_the_chart(value, unit=""):
    found = re.search(rf"^ *{value}: (\d+){unit}$", (ROOT / "chart/values.yaml").read_text(), re.MULTILINE)
    if not found:
        raise Missing(f"chart/values.yaml has no {value} that is a number{unit and f' of {unit}'}")
    return int(found[1])


def autoscaling():
    """The chart's CPU request in thousandths of a core, and at how many per cent of it pods are added."""
    return of_the_chart("cpuRequest", "m"), of_the_chart("targetCpuPercent")


def load_steps(performance, commit_delay_us=0):
    """By rate: its source, and CPU and p99 of its runs. The rates below the ladder's, with commits in memory, are
    scenarios, the others steps of the ladder.
    """
    ladder = next((
        one for one in performance["ladders"]
        if one["contestant"] == SERVICE and one["commit_delay_us"] == commit_delay_us
    ), None)  # fmt: skip
    if not ladder:
        raise Missing(f"a record has no ladder of this service with commits of {commit_delay_us} µs")
    steps = {}
    for scenario in () if commit_delay_us else ("200/s", "1,000/s", "3,000/s"):
        found = runs(performance, scenario)
        rate = performance["scenarios"][scenario]["rate"]
        steps[rate] = (f"{found['runs']} runs", found["cpu_us"], found["p99_us"])
    climbed = {}
    for climb in ladder["climbs"]:
        for step in climb:
            if "p99_us" in step:
                climbed.setdefault(step["rate"], []).append(step)
    for rate, found in climbed.items():
        steps[rate] = (f"{len(found)} climbs", [step["cpu_us"] for step in found], [step["p99_us"] for step in found])
    return dict(sorted(steps.items()))


def knee(performance, _):
    """CPU and p99 by rate beside the chart's request: where p99 begins to rise, and what the autoscaler's mark is."""
    request, percent = autoscaling()
    rows = [
        [f"{rate:,}", f"{median(cpu):.0f}", f"{core_percent(rate, cpu):.1f} %",
         f"{core_percent(rate, cpu) * 1000 / request:.0f} %", f"{median(p99) / 1000:.1f}", source]
        for rate, (source, cpu, p99) in load_steps(performance).items()
    ]  # fmt: skip
    mark = request * percent * (1 + TOLERANCE) / 1000
    columns = ["Payments/s on one core shared with the generator", "CPU µs each", "Of a core", "Of the request",
               "p99 ms", "Median of"]  # fmt: skip
    told = prose(
        f"The chart requests {request}m, {request / 10:g} % of a core. The autoscaler's goal is {percent} % of that; it "
        f"adds pods once {percent * (1 + TOLERANCE):g} % is used, which is {mark:.1f} % of a core. The last row below "
        f"that, the first at or above it, and the first whose p99 is more than {KNEE_RATIO} times that of the ladder's "
        "first step, here and on the other ladders; in parentheses p99 as a multiple of that step's:"
    )
    ladders = [
        [f"{where}, {commits}", *around_the_mark(load_steps(record, delay), mark, request)]
        for where, record in (("the machine of the table", performance), ("another machine", elsewhere()))
        for commits, delay in (("commits in memory", 0), ("commits of 3 ms", MANAGED_COMMIT_US))
    ]
    marks = table(["Ladder", "Last below the mark", "First at or above it", f"First above {KNEE_RATIO} times"], ladders)
    return "\n\n".join([table(columns, rows), told, marks])


def core_percent(rate, cpu):
    return median(cpu) * rate / 1e4


def around_the_mark(steps, mark, request):
    """The steps beside the autoscaler's mark, and the one where p99 has risen: each with its share of the request."""
    # Below the ladder a latency ends when the caller has read the answer, on it when it is in the socket.
    base = next(rate for rate, (source, *_) in steps.items() if "climbs" in source)
    times = {rate: median(p99) / median(steps[base][2]) for rate, (_, _, p99) in steps.items()}
    shares = {rate: core_percent(rate, cpu) for rate, (_, cpu, _) in steps.items()}
    found = (
        [rate for rate in steps if shares[rate] < mark][-1:],
        [rate for rate in steps if shares[rate] >= mark][:1],
        [rate for rate in steps if rate >= base and times[rate] > KNEE_RATIO][:1],
    )
    return [
        next((f"{rate:,}/s, {shares[rate] * 1000 / request:.0f} % of the request ({times[rate]:.1f})" for rate in rates), "-")
        for rates in found
    ]


def pods(performance, _):
    """By arithmetic on the rows above: what pods save that are added in time, and pods in other zones."""
    request, percent = autoscaling()
    steps = load_steps(performance)
    cpu = {rate: core_percent(rate, cpu) for rate, (_, cpu, _) in steps.items()}
    calm = max(rate for rate in steps if cpu[rate] < request * percent * (1 + TOLERANCE) / 1000)

    def row(what, pods, load):
        each = load / pods
        step = min(rate for rate in steps if rate >= each)
        p99 = f"{median(steps[step][2]) / 1000:.1f}"
        return [what, f"{pods}", f"{each:,.0f}", p99 if step == each else f"{p99}, that of {step:,}/s"]

    rows = [
        row("below the autoscaler's mark", 3, 3 * calm),
        row("a zone is lost, and a third of the pods", 2, 3 * calm),
        row("the load doubles, no pod is added", 3, 6 * calm),
        row("the load doubles, as many pods are added", 6, 6 * calm),
    ]
    return table(["Three pods, one a zone", "Pods", "Payments/s for each", "p99 ms by the rows above"], rows)


def hops(performance, _):
    parts = fact(performance, "segments_us")
    pooled, direct, statements, differ = pooler_runs(performance)
    fresh, kept = runs(performance, "200/s, a new connection for each"), runs(performance, "200/s")
    slow = runs(performance, "commits of 3 ms, 200/s")
    woken = {load["halt_poll_us"]: load for load in part(performance, "wakes")["loads"] if load["contestant"] == SERVICE}
    halting, polling = woken[0], woken[2000]
    against = lambda ours, theirs: f"{ours['runs']} against {theirs['runs']}"
    rows = [
        ["between the caller and the service, loopback, mean at 1,000/s", f"{parts['caller'] - parts['request']:,.0f}",
         "1"],
        ["in the service: check, check out, put the answer together, mean at 1,000/s",
         f"{parts['request'] - parts['exchange']:,.0f}", "1"],
        ["the exchange with PostgreSQL and its commit in memory, mean at 1,000/s", f"{parts['exchange']:,.0f}", "1"],
        [f"{differ}, more at p50 than directly with {statements} ones, 200/s", more(pooled, direct, "p50_us"),
         against(pooled, direct)],
        ["the same at p99", more(pooled, direct, "p99_us"), against(pooled, direct)],
        ["a caller's new TCP connection, more at p50 than on a kept one, 200/s", more(fresh, kept, "p50_us"),
         against(fresh, kept)],
        ["the same at p99", more(fresh, kept, "p99_us"), against(fresh, kept)],
        ["wake-ups: more at p50 where idle processors halt at once than where they first poll for 2 ms, 1,000/s",
         more(halting, polling, "p50_us"), f"{len(halting['p50_us'])} against {len(polling['p50_us'])}"],
        ["with a commit that takes 3 ms, all of it at p50, 200/s", spread(slow["p50_us"]), f"{slow['runs']}"],
    ]  # fmt: skip
    return table(["Measured on one machine", "µs", "Runs"], rows)


def connecting(performance, _):
    """A new connection to the database beside an exchange on an open one, in the same runs."""
    runs = fact(performance, "connecting_us")
    fresh, open_ = ([run[name] for run in runs] for name in ("connect", "exchange"))
    rows = [
        ["making a connection, µs", spread(fresh)],
        ["an exchange with its commit on an open one, µs", spread(open_)],
        ["the first in terms of the second", spread([run["connect"] / run["exchange"] for run in runs], 1)],
    ]
    return table(["Mean of a run at 200/s, loopback, commits in memory", "Median (least to most) of the runs"], rows)


def kilometres(one, other):
    """The great circle between two (latitude, longitude)."""
    first, second = (math.radians(value) for value in (one[0], other[0]))
    across = math.sin((second - first) / 2) ** 2
    along = math.cos(first) * math.cos(second) * math.sin(math.radians(other[1] - one[1]) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(across + along))


def round_trip_ms(caller):
    _, latitude, longitude, region = caller
    _, *place = REGIONS[region]
    return 2 * kilometres((latitude, longitude), place) * FIBRE_US_PER_KM * DETOUR / 1000


def inside_ms(performance):
    """Everything behind the load balancer's door, at p99: each hop's budget, its estimate, and what that rests on. The
    two measured rows are of one rate and add up to what was measured through the pooler, so nothing counts twice.
    """
    pooled, direct, statements, differ = pooler_runs(performance)
    service, through = (median(found["p99_us"]) / 1000 for found in (direct, pooled))
    connections = of_the_chart("poolSize")
    return [
        ("the load balancer: TLS, HTTP, rules of the web ACL", LOAD_BALANCER_MS, LOAD_BALANCER_MS, "a guess"),
        ("load balancer to pod, perhaps into another zone", ZONE_MS, ZONE_MS, "a guess within others' figures"),
        ("the service, and PostgreSQL's work without its disk", SERVICE_MS, service, f"measured: 200/s, {statements}"),
        ("waiting for a connection, while all carry a commit: at most one of these", COMMIT_MS, 0.0,
         f"none while a pod's {connections} connections carry one each: up to {connections * 1000 / COMMIT_MS:,.0f}/s"),
        ("RDS Proxy", PROXY_MS, through - service, f"measured with a stand-in: {differ}, 200/s"),
        ("pod to proxy and proxy to database, perhaps two zones", 2 * ZONE_MS, 2 * ZONE_MS, "a guess within others' figures"),
        ("the commit: a write in two zones", COMMIT_MS, COMMIT_MS, "a guess within others' figures"),
    ]


def budget(performance, _):
    parts = inside_ms(performance)
    rows = [[what, f"{allowed:.1f}", f"{value:.1f}", how] for what, allowed, value, how in parts]
    sums = [sum(part[column] for part in parts) for column in (1, 2)]
    rows.append(["**inside the region**", *(f"**{total:.1f}**" for total in sums), ""])
    rows.append([f"left of {TARGET_MS:.0f} ms for the network", *(f"{TARGET_MS - total:.1f}" for total in sums), ""])
    return table(["Hop, ms at p99", "Budget", "Estimate", "The estimate is"], rows)


def regions(performance, _):
    inside = sum(estimate for _, _, estimate, _ in inside_ms(performance))
    rows = []
    for caller in CALLERS:
        trip = round_trip_ms(caller)
        kept, fresh = trip + inside, 3 * trip + inside
        verdict = ["yes" if total <= TARGET_MS else "**no**" for total in (kept, fresh)]
        rows.append([caller[0], f"`{caller[3]}`", f"{trip:.0f}", f"{kept:.0f}", verdict[0], f"{fresh:.0f}", verdict[1]])
    columns = ["Caller in", "Region", "Round trip, ms", "Kept connection, ms", "≤ 100", "New connection, ms", "≤ 100"]
    return table(columns, rows)


def apart(*_):
    """What a payment would wait for if its database were in the other region."""
    (_, *one), (_, *other) = (REGIONS[name] for name in ("eu-south-2", "us-east-1"))
    trip = round_trip_ms((None, *one, "us-east-1"))
    return table(
        ["Between", "km", "Round trip, ms (estimate)"],
        [["`eu-south-2` and `us-east-1`", f"{kilometres(one, other):,.0f}", f"{trip:.0f}"]],
    )


def waiting(_, record):
    """Served and refused callers at an overload, with the bounded queue and with one that all may wait in."""
    rows = []
    for name in ("3 times", "3 times, all wait"):
        run = record.get("overload", {}).get(name)
        if not run:
            raise Missing(f"docs/reliability/results.json has no overload of “{name}”")
        rows.append([
            name, f"{run['rate']:,.0f}/s", f"{run['goodput']:,}", f"{run['refused']:,}", f"{run['service_p99_ms']:,.0f}",
            f"{run['p99_ms']:,.0f}",
        ])  # fmt: skip
    return table([
        "Load", "Offered", "Goodput, /s", "Refused", "p99 of the paid in the service, ms", "since they were due, ms",
    ], rows)  # fmt: skip


def chosen(*names):
    """Rows of the table of faults."""

    def part(_, record):
        missing = [name for name in names if name not in record.get("faults", {})]
        if missing:
            raise Missing(f"docs/reliability/results.json has no {', '.join(missing)}")
        return reliability.faults({"faults": {name: record["faults"][name] for name in names}})

    return part


def costs(*_):
    """docs/costs.json as a table with its sums, and how much of these is estimated."""
    known = json.loads((ROOT / "docs/costs.json").read_text())
    sites = {"Spain": "eu-south-2", "Mexico": "us-east-1"}
    rows, sums, estimated = [], dict.fromkeys(sites, 0.0), dict.fromkeys(sites, 0.0)
    for item in known["items"]:
        hours = known["hours_a_month"] if item.get("hours") else 1
        cells = []
        for site, region in sites.items():
            foreign = region not in item["unit"]
            unit = item["unit"]["us-east-1"] * known["spain_factor"] if foreign else item["unit"][region]
            price, guessed = unit * hours * item["count"], foreign or item.get("estimate")
            sums[site] += price
            estimated[site] += price if guessed else 0
            cells.append(f"{price:,.0f}{' e' if guessed else ''}")
        name, source = item["source"], known["sources"][item["source"]]
        rows.append([item["what"], f"{item['count']:,}", *cells, f"[{name}]({source})"])
    totals = [f"**{total:,.0f}{' e' if estimated[site] else ''}**" for site, total in sums.items()]
    rows.append(["**together**", "", *totals, ""])
    shares = " and ".join(f"{estimated[site] / sums[site]:.0%} of {site}'s" for site in sites).replace("%", " %")
    columns = ["US dollars a month", "Number", *[f"{site}, `{region}`" for site, region in sites.items()], "Source"]
    return f"{table(columns, rows)}\n\nEstimates are {shares} sum."


def variants(*names):
    """The builds that were compared, or those of them that are named."""

    def part(*_):
        record = json.loads((ROOT / "docs/performance/variants.json").read_text())
        rows = [
            [variant["name"], megabytes(variant["bytes"]), f"{variant['instructions']:,}",
             spread(variant["cpu_ratio"], 2), *(f"{kib / 1024:.1f}" for kib in variant["resident_kib"])]
            for variant in record["variants"] if variant["name"] in names or not names
        ]  # fmt: skip
        columns = ["Built", "Binary, MB", "Instructions for a payment", f"CPU for a payment at {record['rate']:,}/s, ratio",
                   "Resident after it, MiB", f"after {record['crowd']:,} idle connections"]  # fmt: skip
        return table(columns, rows) + "\n\nRecorded on {date} at revision {revision}.".format(**record)

    return part


def rehearsed(*steps):
    """Steps of the last rehearsal that was recorded."""

    def part(*_):
        first, *lines = (ROOT / "docs/drawings/rehearsal.tsv").read_text().splitlines()
        steps_of = (line.split("\t") for line in lines if not line.startswith("#"))
        known = {name: (seconds, text) for _, seconds, name, text in steps_of}
        rows = [[known[step][1], known[step][0]] for step in steps]
        return table(["Step of a rehearsal", "Seconds, checks included"], rows) + f"\n\nRecorded by `make rehearse`{first.removeprefix('# make rehearse')}."

    return part


def fuzzing(*_):
    rows = [
        [f"`{name}`", f"{run['minutes']:g}", f"{run['processor_seconds']:,.0f}", f"{run['executions']:,}",
         f"{run['edges']:,} of {run['edges_linked']:,}", f"{run['findings']:,}", f"{run['date']}, {run['revision']}"]
        for name, run in json.loads((ROOT / "docs/reliability/fuzz.json").read_text()).items()
    ]  # fmt: skip
    return table(["Target", "Minutes", "Processor seconds", "Executions", "Edges", "Findings", "Recorded"], rows)


def threads(performance, _):
    found = part(performance, "threads")
    rows = [
        [workers, *[spread(costs[workers], 1) for costs in found["cpu_us"].values()],
         f"{sum(calls.values()):.1f}", f"{calls.get('futex', 0):.1f}"]
        for workers, calls in found["system_calls"].items()
    ]  # fmt: skip
    columns = [f"{found['peer']}: worker threads", *[f"CPU µs for a payment at {int(rate):,}/s" for rate in found["cpu_us"]],
               "System calls", "of them futex"]  # fmt: skip
    rounds = len(next(iter(next(iter(found["cpu_us"].values())).values())))
    return table(columns, rows) + f"\n\nRecorded on {found['date']} at revision {found['revision']}: {rounds} rounds."


def pools_climbing(performance, _):
    found = part(performance, "pools_climbing")
    names = list(dict.fromkeys(one["contestant"] for one in found["sustained"]))
    cells = {(one["contestant"], one["pool_size"]): spread(one["rates"], 0) for one in found["sustained"]}
    rows = [[str(size), *[cells[name, size] for name in names]] for size in dict.fromkeys(size for _, size in cells)]
    columns = ["`POOL_SIZE`", *[f"this service, `{name}`" if name.startswith("BATCH_MAX") else name for name in names]]
    rounds = len(found["sustained"][0]["rates"])
    return table(columns, rows) + "\n\nRecorded on {date} at revision {revision} on {cpu}: ".format(**found) + f"{rounds} climbs."


def pools(performance, _):
    found = part(performance, "pools")
    rows = [
        [f"{load['rate']:,}/s" + (", commits of 3 ms" if load["commit_delay_us"] else ""), str(load["pool_size"]),
         spread(load["p50_us"], 0), spread(load["p99_us"], 0), f"{median(load['in_an_exchange']):.1f}",
         spread(load["cpu_us"], 1), spread(load["database_cpu_us"], 1)]
        for load in found["loads"]
    ]  # fmt: skip
    columns = ["Load", "`POOL_SIZE`", "p50 µs", "p99 µs", "Payments in an exchange", "CPU µs for a payment",
               "CPU µs of the database"]  # fmt: skip
    rounds = len(found["loads"][0]["p50_us"])
    return table(columns, rows) + "\n\nRecorded on {date} at revision {revision} on {cpu}: ".format(**found) + f"{rounds} rounds."


def kernel(performance, _):
    """The kernel's part of a payment's CPU time."""
    found = part(performance, "kernel")
    rows = []
    for load in found["loads"]:
        ours, theirs = ([one[name] for one in load["rounds"]] for name in (SERVICE, found["peer"]))
        against = lambda place, ours=ours, theirs=theirs: spread(
            [one[place] / other[0] for one, other in zip(ours, theirs, strict=True)], 2
        )
        rows.append([
            f"{load['rate']:,}/s", spread([all_ for all_, _ in ours], 1), spread([kernels for _, kernels in ours], 1),
            spread([all_ for all_, _ in theirs], 1), against(0), against(1),
        ])  # fmt: skip
    columns = ["CPU µs for a payment", "this service", "of it in the kernel", found["peer"],
               "this service's in terms of that", "the kernel's part of it alone"]  # fmt: skip
    return table(columns, rows) + "\n\n" + prose(
        "Recorded on {date} at revision {revision} on {cpu}: {count} rounds, the ratios by round.".format(
            count=len(found["loads"][0]["rounds"]), **found
        )
    )


def by_round(ours, theirs, figure):
    """This service's part of a contestant's figure, in the rounds in which both count; nothing beside itself."""
    if ours is theirs:
        return "-"
    # A record without rounds has all of them.
    one, other = (dict(zip(of.get("rounds", range(of["runs"])), of[figure], strict=True)) for of in (ours, theirs))
    return spread([one[round_] / other[round_] for round_ in one if round_ in other], 2)


def wakes(performance, _):
    """Latency and CPU at one rate, by how long idle processors poll for work."""
    found = part(performance, "wakes")
    rows = []
    for most in sorted({load["halt_poll_us"] for load in found["loads"]}):
        of = {load["contestant"]: load for load in found["loads"] if load["halt_poll_us"] == most}
        for name, load in of.items():
            against = lambda figure, load=load, of=of: by_round(of[SERVICE], load, figure)
            rows.append([
                f"{most:,}", name, spread(load["p50_us"], 0), against("p50_us"), spread(load["p99_us"], 0),
                against("p99_us"), *([spread(load["cpu_us"], 1), against("cpu_us")] if "cpu_us" in load else ["-", "-"]),
            ])  # fmt: skip
    columns = ["Polls for work, µs at most", f"{found['rate']:,}/s", "p50 µs", "this service's, against it", "p99 µs",
               "this service's, against it", "CPU µs for a payment", "this service's, against it"]  # fmt: skip
    late = f" Late, and not counted: {'; '.join(found['late'])}." if found["late"] else ""
    return table(columns, rows) + "\n\n" + prose(
        "Recorded on {date} at revision {revision} on {cpu}: {rounds} rounds, and what is compared, round by round.".format(**found) + late
    )


def neighbours(performance, _):
    """Latency by how the service has its core: with a limit of processor time, and beside a busy neighbour."""
    found = part(performance, "neighbours")
    percent = lambda shares: f"{100 * median(shares):.0f} %"
    rows = [
        [load["load"], load["share"], percent(load["of_a_core"]), percent(load["stopped"]), spread(load["p50_us"], 0),
         spread(load["p99_us"], 0), f"{sum(load['failed']):,}"]
        for load in found["loads"]
    ]  # fmt: skip
    columns = ["Load", "The core", "Of it used", "Periods in which it was stopped", "p50 µs", "p99 µs", "Failed"]
    return table(columns, rows) + "\n\n" + prose(
        "Recorded on {date} at revision {revision} on {cpu}: {rounds} rounds of 5 s. Bursts: ten times the rate for 200 ms of each second.".format(**found)
    )


def statements(performance, _):
    """Throughput by the statements' mode, and through a pooler; latency and CPU at a rate that all of them sustain."""
    found = part(performance, "statements")
    rows = []
    for way in found["climbs"]:
        others = [other for other in found["climbs"] if other["commit_delay_us"] == way["commit_delay_us"]]
        rate = min(min(other["sustained"]) for other in others)
        at = lambda figure, way=way, rate=rate: [
            next(step[figure] for step in steps if step["rate"] == rate) for steps in way["climbs"]
        ]
        commits = "in memory" if not way["commit_delay_us"] else f"of {way['commit_delay_us'] / 1000:g} ms"
        rows.append([commits, way["mode"], spread(way["sustained"], 0), f"{rate:,}/s", spread(at("p99_us"), 0), spread(at("cpu_us"), 1)])
    columns = ["Commits", "Statements", "Payments/s with p99 under 25 ms", "At", "p99 µs", "CPU µs for a payment"]
    return table(columns, rows) + "\n\n" + prose("Recorded on {date} at revision {revision} on {cpu}: 3 climbs each, in turns.".format(**found))


def driver(performance, _):
    """A payment's way through this service's pool and through a driver with a task for each connection."""
    found = part(performance, "driver")
    pool, other = found["costs"]["pool"], found["costs"]["driver"]
    rows = [[what, f"{pool[name]:,}", f"{other[name]:,}", f"{pool[name] / other[name]:.2f}"]
            for what, name in (("instructions", "instructions"), ("system calls", "system_calls"))]  # fmt: skip
    for what, name, digits in (("CPU µs", "cpu_us", 1), ("round trip, mean µs", "round_trip_us", 0)):
        ours, theirs = ([one[way][name] for one in found["rounds"]] for way in ("pool", "driver"))
        ratios = [one / two for one, two in zip(ours, theirs, strict=True)]
        rows.append([what, spread(ours, digits), spread(theirs, digits), spread(ratios, 2)])
    columns = ["A payment alone, commits in memory", "this service's pool", "`tokio-postgres`", "the first in terms of the second"]
    return table(columns, rows) + "\n\n" + prose(
        "Recorded on {date} at revision {revision} on {cpu}: {count} rounds, the ratios by round.".format(count=len(found["rounds"]), **found)
    )


def wal(performance, _):
    """Log written for a payment, by its key, the table it goes to, and the compression of whole pages."""
    found = part(performance, "wal")
    rows = [
        [f"{load['rows']:,}", "yes" if load["keyed"] else "no", load["compression"], f"{load['whole_pages']:.2f}", f"{load['bytes']:,}"]
        for load in found["loads"]
    ]
    columns = ["Rows there", "`Idempotency-Key`", "`wal_compression`", "Whole pages for a payment", "Bytes of log for a payment"]
    return table(columns, rows) + "\n\n" + prose(
        "Recorded on {date} at revision {revision}: {rate:,}/s for the first {seconds} s after a checkpoint.".format(**found)
    )


PARTS = {
    "threads": threads,
    "wal": wal,
    "statements": statements,
    "neighbours": neighbours,
    "wakes": wakes,
    "pools": pools,
    "pools_climbing": pools_climbing,
    "variants": variants(),
    "providers": variants("as in the image", "aws-lc-rs in ring's place", "OpenSSL in ring's place for TLS"),
    "allocators": variants(
        "as in the image", "mimalloc's own settings", "the system's allocator", "jemalloc in mimalloc's place"
    ),
    "fuzzing": fuzzing,
    "deployed": rehearsed("phase 7", "drift", "new version"),
    "costs": costs,
    "peers": peers,
    "against-peers": against_peers,
    "goals-elsewhere": goals_elsewhere,
    "pooler-elsewhere": pooler_elsewhere,
    "size": size,
    "pooler": pooler,
    "coalescing": coalescing,
    "driver": driver,
    "kernel": kernel,
    "knee": knee,
    "pods": pods,
    "hops": hops,
    "connecting": connecting,
    "budget": budget,
    "regions": regions,
    "apart": apart,
    "waiting": waiting,
    "failover": chosen("failover_to_the_standby", "pooler_restarted", "session_terminated"),
    "rotation": chosen("password_rotated_every_second", "password_file_left_stale", "api_key_rotated_every_second",
                       "certificate_replaced"),
    "replicas": chosen("service_replaced", "three_replicas_replaced_under_500_a_second"),
}  # fmt: skip


def written(name, document, records):
    def fill(found):
        part = PARTS.get(found.group(1))
        if not part:
            raise Missing(f"{name} asks for “{found.group(1)}”, which benches/quotes.py does not know")
        return f"<!-- quote:{found.group(1)} -->\n{part(*records)}\n<!-- quote:end -->"

    current = MARK.sub(fill, document)
    if len(ANY_MARK.findall(document)) != 2 * len(MARK.findall(document)):
        raise Missing(f"{name} has a quote that is not closed")
    return current


def main(arguments):
    root = pathlib.Path(arguments[arguments.index("--root") + 1]) if "--root" in arguments else ROOT
    records = [json.loads((ROOT / f"docs/{kind}/results.json").read_text()) for kind in ("performance", "reliability")]
    stale = []
    for path in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
        name, document = str(path.relative_to(root)), path.read_text()
        try:
            current = written(name, document, records)
        except Missing as error:
            sys.exit(f"benches/quotes.py: {error}")
        if current != document:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(current)
    if stale and "--check" in arguments:
        sys.exit(f"figures quoted in {', '.join(stale)} differ from the records: run `make bench-plots` to rewrite them")


if __name__ == "__main__":
    main(sys.argv[1:])
