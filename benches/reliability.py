"""Writes the tables of docs/RELIABILITY.md from docs/reliability/results.json and mutants.json.

With --check it changes nothing and fails when the document says something else. With --begin SECTION it empties the
section of the record and notes date, revision and machine of what will be recorded next.
"""

import datetime
import json
import operator
import os
import pathlib
import re
import statistics
import sys

import figures

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/RELIABILITY.md"
RECORD = ROOT / "docs/reliability/results.json"
MUTANTS = ROOT / "docs/reliability/mutants.json"

FAULTS = {
    "service_killed": ("the service, `kill -9`", "anything"),
    "service_replaced": ("SIGTERM, an instance takes over", "nothing"),
    "three_replicas_replaced_under_500_a_second": ("three replicas, replaced in turn", "nothing"),
    "database_stopped_at_once": ("PostgreSQL, immediate stop", "refusals"),
    "database_restarted": ("PostgreSQL, restart", "refusals"),
    "database_frozen_past_the_deadline": ("PostgreSQL, SIGSTOP past the deadline", "refusals"),
    "session_terminated": ("one session, `pg_terminate_backend`", "nothing"),
    "session_crashed": ("one session, `kill -9`: PostgreSQL recovers", "refusals"),
    "failover_to_the_standby": ("fail-over to the standby", "refusals"),
    "network_cut": ("network cut", "refusals"),
    "network_half_open": ("network half-open: bytes vanish", "refusals"),
    "network_reset": ("all connections reset", "nothing"),
    "network_slow": ("30 ms later in each direction", "nothing"),
    "network_byte_at_a_time": ("one byte at a time", "nothing"),
    "pooler_restarted": ("pgbouncer, `kill -9` and restart", "refusals"),
    "password_rotated_every_second": ("password rotated every second", "nothing"),
    "password_file_left_stale": ("password rotated, its file stale for ten lives", "nothing"),
    "api_key_rotated_every_second": ("API key rotated every second", "nothing"),
    "certificate_replaced": ("certificate and authority replaced", "nothing"),
    "descriptors_used_up": ("out of descriptors", "anything"),
    "small_disk_full": ("the database's disk is full", "refusals"),
}

ABUSES = {
    "connections_that_say_nothing": "connections that say nothing",
    "heads_that_never_end": "heads that never end",
    "bodies_that_never_end": "bodies that never end",
    "readers_that_do_not_read": "readers that do not read",
    "connections_that_are_reset": "half a head, then a reset, one after the other",
    "a_deep_pipeline": "one pipeline of so many requests",
    "a_crowd_of_pipelines": "pipelines without an end",
    "heads_one_byte_at_a_time": "heads one byte at a time",
}


def table(columns, rows):
    return figures.table("", columns, rows).strip().removeprefix("###").strip()


def mib(kib):
    return f"{kib / 1024:.1f}"


def named(section, names, results):
    """The recorded ones in the order of their names; a new one has to be given a name here."""
    found = results.get(section, {})
    unknown = set(found) - set(names)
    if unknown:
        sys.exit(f"benches/reliability.py has no name for {', '.join(sorted(unknown))}: add one")
    return [(names[name], found[name]) for name in names if name in found]


def faults(results):
    rows = []
    for (what, may), run in named("faults", FAULTS, results):
        median, most = run["good_after_ms"]
        told = ", ".join(
            f"{run[kind]:,} {kind}" for kind in ("refused", "unknown", "unanswered") if run[kind]
        )
        if run["resolved"]:
            told += f"; {run['resolved']:,} asked again by key"
        rows.append([what, may, run["rounds"], f"{run['sent']:,}", f"{run['sent'] / run['seconds']:,.0f}",
                     f"{run['paid']:,}", told or "none",
                     f"{median:,.0f} / {most:,.0f}"])  # fmt: skip
    columns = ["Fault", "May be seen", "Rounds", "Sent", "A second", "Paid", "Told otherwise", "Good again after, ms"]
    return table(columns, rows)


def overload(results):
    found = results.get("overload", {})
    if "maximum" not in found:
        return ""
    rows = [["the most it carries", "", f"{found['maximum']['goodput']:,}", "", "", "", "", "", "", ""]]
    for name in ("3 times", "3 times, all wait", "10 times", "processor", "processor, again"):
        run = found.get(name)
        if run:
            share = f" ({run['share_of_maximum']:.0%})" if "share_of_maximum" in run else ""
            rows.append([
                name, f"{run['rate']:,.0f}/s, {run['seconds']} s", f"{run['goodput']:,}{share}", f"{run['refused']:,}",
                f"{run['refusal_p99_ms']:,.1f}", f"{run['p99_ms']:,.0f}",
                f"{run['answer_p99_ms']:,.0f} / {run['answer_max_ms']:,.0f}",
                f"{run['service_p99_ms']:,.0f} / {run['service_max_ms']:,.0f}",
                " / ".join(mib(kib) for kib in run["resident_kib"]), " / ".join(f"{ms:,.1f}" for ms in run["calm_p99_ms"]),
            ])  # fmt: skip
    columns = ["Load", "Offered", "Goodput, /s", "Refused", "p99 of refusals, ms",
               "p99 of the paid, ms", "from their sending, p99 / most",
               "in the service, p99 / most, ms", "Memory before / most / after, MiB",
               "p99 at 100/s before / in the second after / then, ms"]  # fmt: skip
    return table(columns, rows)


def abuse(results):
    rows = []
    for what, run in named("abuse", ABUSES, results):
        before, most, after = (mib(kib) for kib in run["resident_kib"])
        quiet, beside = run["p99_ms"]
        rows.append([what, f"{run['crowd']:,}", f"{run['operations']:,}", f"{run['paid']:,} of {run['paid'] + run['not_paid']:,}",
                     *(" / ".join(f"{ms:.1f}" for ms in run[figure]) for figure in ("p50_ms", "p99_ms", "own_p99_ms")),
                     f"{beside / quiet:.1f}",
                     " / ".join(f"{share:.0f}" for share in run["cpu_percent"]),
                     f"{before} / {most} / {after}"])  # fmt: skip
    columns = ["Abuse", "Crowd", "Deeds", "Others' payments", "Their p50, ms", "Their p99, ms",
               "of it in the service, ms", "p99 to that before", "CPU, % of a core",
               "Memory before / most / after, MiB"]  # fmt: skip
    return table(columns, rows)


def soak(results):
    run = results.get("soak", {}).get("soak")
    if not run:
        return ""
    rows = [
        ["time", f"{run['seconds'] / 60:g} min at {run['rate']:,.0f}/s"],
        ["faults", f"{run['faults']:,}"],
        ["payments: sent, paid, refused, unknown",
         ", ".join(f"{run[kind]:,}" for kind in ("sent", "paid", "refused", "unknown"))],
        ["lost, twice, or with other content", "none"],
        ["memory, the most in the second and in the last quarter", " and ".join(map(mib, run["resident_kib"])) + " MiB"],
        ["descriptors, likewise", " and ".join(map(str, run["descriptors"]))],
    ]  # fmt: skip
    return table(["Soak", ""], rows)


def growth(results):
    run = results.get("growth", {}).get("growth")
    if not run:
        return ""
    rows = []
    for what in ("mean", "p50", "p99"):
        cells = [f"{statistics.median(run[what][name]):.3f}" for name in ("empty", "grown", "at rest", "pruned")]
        ratios = {
            name: f"{run[f'{what}_ratio'][name]:.2f} ({min(found):.2f} to {max(found):.2f})"
            for name, of in (("grown", "empty"), ("pruned", "at rest"))
            for found in [list(map(operator.truediv, run[what][name], run[what][of]))]
        }
        rows.append([what, *cells[:2], ratios["grown"], *cells[2:], ratios["pruned"]])
    columns = ["Growth, ms", "Empty", f"{run['rows']:,} rows", "Grown to empty",
               "The same, later", "Beside `prune`", "With `prune` to without"]  # fmt: skip
    tail = (
        f"{run['rounds']} rounds of {run['seconds']} s each, at {run['rate']}/s; {run['failed']} payments failed; "
        f"`prune` removed {run['rows_pruned']:,} rows."
    )
    return table(columns, rows) + f"\n\n{tail}"


def mutants(results):
    run = results["mutants"]
    rows = [[found["what"], f"{found['seed']:,}", found["by"]] for found in run["mutants"]]
    tail = f"Nothing broken: every invariant held in {run['seeds']:,} seeds."
    words_at_left = table(["Mutant", "Found at seed", "By"], rows).replace("---:|---:|", "---:|---|", 1)
    return f"{words_at_left}\n\n{tail}"


def begin(section):
    """Empties the section: a run that fails half-way must not keep figures of the one before under its own name."""
    results = json.loads(RECORD.read_text())
    results[section] = {}
    results.setdefault("recorded", {})[section] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F"),
        "revision": figures.revision(ROOT),
        "machine": f"{os.cpu_count()} cores",
    }
    RECORD.write_text(json.dumps(results, indent=2) + "\n")


def read_records():
    results = json.loads(RECORD.read_text())
    results["mutants"] = json.loads(MUTANTS.read_text())
    return results


def when(run):
    # What seeds decide is the same on every machine.
    machine = f", {run['machine']}" if "machine" in run else ""
    return f"Recorded on {run['date']} at revision {run['revision']}{machine}."


def written(document, results):
    parts = {"faults": faults, "overload": overload, "abuse": abuse, "soak": soak, "growth": growth, "mutants": mutants}
    runs = results["recorded"] | {"mutants": results["mutants"]}

    def fill(found):
        name = found.group(1)
        return f"<!-- reliability:{name} -->\n{parts[name](results)}\n\n{when(runs[name])}\n<!-- reliability:end -->"

    pattern = r"<!-- reliability:(\w+) -->\n.*?<!-- reliability:end -->"
    return re.sub(pattern, fill, document, flags=re.DOTALL)


def main():
    if sys.argv[1:2] == ["--begin"]:
        begin(sys.argv[2])
        return
    document = DOCUMENT.read_text()
    current = written(document, read_records())
    if "--check" not in sys.argv:
        DOCUMENT.write_text(current)
    elif current != document:
        sys.exit("docs/RELIABILITY.md differs from docs/reliability/*.json: run `make reliability-tables` to rewrite it")


if __name__ == "__main__":
    main()
