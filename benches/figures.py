"""Puts runs together: what counts, medians with their spread, curves, tables, claims."""

import hashlib
import json
import statistics
import subprocess

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
# p99.9 is claimed from this many samples on.
SAMPLES_MIN = 100_000


def drawn(results):
    """What the pictures are made from, as a hash that each of them carries."""
    parts = {part: results[part] for part in ("scenarios", "ladders")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def revision(root):
    """The code that a record is of: the commit, and whether more than documents and records differs from it."""
    git = lambda *arguments: subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
    ).stdout.strip()
    changes = git("status", "--porcelain", "--", ":!docs", ":!*.md")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changes else "")


def verdict(run, beyond_knee=False):
    """Why a run does not count, or None. Beyond the knee refusals and a late generator are part of it."""
    if "error" in run:
        return run["error"]
    if beyond_knee:
        return None
    if run["failed"]:
        return f"{run['failed']} failed"
    if "lag_us" not in run:
        return None
    lag, median = run["lag_us"]["p99"], run["latency_us"]["p50"]
    if lag > median / 4:
        return f"the generator was late: p99 {lag:.0f} us beside a p50 of {median:.0f} us"
    return None


def merged(runs):
    """All runs as one list of (latency, count), ascending."""
    counts = {}
    for run in runs:
        for value, count in run["histogram"]:
            counts[value] = counts.get(value, 0) + count
    return sorted(counts.items())


def at(histogram, quantile):
    wanted = quantile * sum(count for _, count in histogram)
    passed = 0
    for value, count in histogram:
        passed += count
        if passed >= wanted:
            return value
    return histogram[-1][0]


def curve(histogram):
    """Latencies at quantiles ever closer to 1, four for each halving of the rest."""
    total = sum(count for _, count in histogram)
    points, rest = [], 1.0
    while rest * total >= 1:
        points.append([1 - rest, at(histogram, 1 - rest)])
        rest /= 2**0.25
    return points


def summary(runs, rejected):
    """What is recorded of all repetitions of one contestant in one scenario."""
    if not runs:
        return {"runs": 0, "rejected": rejected}
    histogram = merged(runs)
    column = lambda name: [round(run["latency_us"][name], 1) for run in runs]
    result = {
        "runs": len(runs),
        "rejected": rejected,
        "samples": sum(count for _, count in histogram),
        "failed": sum(run["failed"] for run in runs),
        "p50_us": column("p50"),
        "p99_us": column("p99"),
        "p99.9_us": column("p99.9"),
        "together_us": {f"p{quantile * 100:g}": at(histogram, quantile) for quantile in QUANTILES},
        "curve": curve(histogram),
    }
    for name in ("cpu_us", "resident_kib", "achieved"):
        values = [round(run[name], 1) for run in runs if name in run]
        if values:
            result[name] = values
    if all("lag_us" in run for run in runs):
        result["lag_p99_us"] = [round(run["lag_us"]["p99"], 1) for run in runs]
    return result


def median(values):
    return statistics.median(values) if values else None


def spread(values, digits=0):
    """Median, least and most."""
    if not values:
        return "-"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def table(title, columns, rows):
    """Markdown, so that it can be read on a terminal and pasted into a document."""
    lines = [f"\n### {title}\n", "| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def together_and_apart(value, runs):
    """A figure of all repetitions together and, where recorded, its least and most in a single one."""
    return f"{value:,.0f}" + (f" ({min(runs):,.0f} to {max(runs):,.0f})" if runs else "")


def latency_table(title, contestants):
    rows = []
    for name, figures in contestants.items():
        if not figures.get("runs"):
            reasons = "; ".join(sorted({reason.split(":")[0] for reason in figures["rejected"]})) or "not run"
            rows.append([name, f"none counts: {reasons}", "", "", "", "", f"0 of {len(figures['rejected'])}"])
            continue
        tail = figures["together_us"]["p99.9"] if figures["samples"] >= SAMPLES_MIN else None
        rows.append([
            name,
            spread(figures["p50_us"]),
            spread(figures["p99_us"]),
            together_and_apart(tail, figures.get("p99.9_us")) if tail else "-",
            spread(figures.get("cpu_us", []), 1),
            spread(figures.get("lag_p99_us", [])),
            f"{figures['runs']} of {figures['runs'] + len(figures['rejected'])}",
        ])  # fmt: skip
    return table(title, ["", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs", "lag p99 µs", "runs"], rows)


def ratio(ours, theirs):
    """Medians divided, and whether all runs of one side lie above, or below, all runs of the other."""
    if not ours or not theirs:
        return None
    value = median(ours) / median(theirs)
    apart = max(ours) < min(theirs) or min(ours) > max(theirs)
    return {"ratio": value, "apart": apart}
