"""Draws docs/performance/*.svg from the recorded results. scripts/bench-plots.sh calls it."""

import json
import pathlib
import statistics

import figures
import matplotlib

matplotlib.use("svg")
# The same input makes the same bytes; text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "payment-latency-api", "svg.fonttype": "none", "font.size": 9})

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs/performance"
# Okabe and Ito's colours, which the colour-blind can tell apart.
STYLES = {
    "payment-latency-api": ("#0072B2", "-"),
    "axum + deadpool": ("#D55E00", "-"),
    "axum + sqlx": ("#E69F00", "-"),
    "go + pgxpool": ("#009E73", "-"),
    "wire loop": ("#666666", "--"),
    "pgbench": ("#999999", ":"),
}
MICROSECONDS = FuncFormatter(lambda value, _: f"{value / 1000:g} ms" if value >= 1000 else f"{value:g} µs")


def drawing(results, title, across, name, draw):
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    draw(axes)
    axes.set(title=title, xlabel=across, ylabel="latency from when the payment was due", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(MICROSECONDS)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend()
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Identifier": figures.drawn(results)})
    plt.close(figure)


def percentiles(scenario):
    def draw(axes):
        for name, found in scenario["contestants"].items():
            if found.get("runs"):
                # As far as a p99.9 of `SAMPLES_MIN`: as many samples lie beyond the end.
                end = 1000 * found["samples"] / figures.SAMPLES_MIN
                curve = [(1 / (1 - quantile), value) for quantile, value in found["curve"] if quantile < 1]
                points = [point for point in curve if point[0] <= end]
                colour, line = STYLES[name]
                axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, label=name)
        axes.set_xscale("log")
        ticks = {1: "0 %", 2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %"}
        axes.set_xticks(list(ticks), list(ticks.values()))

    return draw


def ladders(results, delay_us, figure):
    """Medians of `figure` over the climbs, as far as more than half of them went."""

    def draw(axes):
        for ladder in results["ladders"]:
            if ladder["commit_delay_us"] != delay_us:
                continue
            steps = {}
            for climb in ladder["climbs"]:
                for step in climb:
                    if figure in step:
                        steps.setdefault(step["rate"], []).append(step)
            points = [
                (rate, statistics.median(step[figure] for step in found))
                for rate, found in steps.items()
                if 2 * len(found) > len(ladder["climbs"])
            ]
            colour, line = STYLES[ladder["contestant"]]
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker="o", label=ladder["contestant"])

    return draw


def main():
    results = json.loads((FOLDER / "results.json").read_text())
    for name, scenario in results["scenarios"].items():
        if name in ("200/s", "1,000/s"):
            title = f"Percentiles at {name}"
            drawing(results, title, "percentile", f"percentiles-{scenario['rate']}", percentiles(scenario))
    for delay, what in ((0, "as fast as memory commits"), (3000, "commits of 3 ms")):
        for figure in ("p99", "p50"):
            title = f"{figure} against rate, {what}"
            draw = ladders(results, delay, f"{figure}_us")
            drawing(results, title, "payments due in a second", f"{figure}-against-rate-{delay}", draw)


if __name__ == "__main__":
    main()
