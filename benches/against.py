"""Compares the service with what it was at another revision: against.py REVISION BINARY.

The two run in turns, and only the ratio within a round is kept. Nothing is recorded.
"""

import os
import sys

import bench
import figures
import stage
from stage import SERVICE

SCENARIOS = [bench.Scenario(f"{rate:,}/s", rate, 8, [SERVICE], 7) for rate in (200, 1000, 24_000)]
FIGURES = ("p50_us", "p99_us", "cpu_us")


def run(scenario, program, seed):
    # A generator that is late is late for both.
    found = bench.run_once(scenario, SERVICE, seed, program)
    if reason := figures.verdict(found, beyond_knee=True) or found["failed"]:
        raise SystemExit(f"{program} at {scenario.name}: the run failed, or payments in it did: {reason}")
    return figures.summary([found], [])


def ratios(here, there):
    return {
        figure: sorted(round(ours[figure][0] / theirs[figure][0], 3) for ours, theirs in zip(here, there, strict=True))
        for figure in FIGURES
    }


def main():
    revision, other = sys.argv[1:]
    programs = {"here": os.environ["SERVICE"], revision: other}
    stage.configure_database()
    for name, program in programs.items():
        print(f"{name}: {os.stat(program).st_size:,} bytes, {stage.instructions(SERVICE, program=program):,} instructions for a payment")
    for scenario in SCENARIOS:
        rounds = {name: [] for name in programs}
        for turn in range(scenario.repetitions):
            for name in list(programs)[:: 1 if turn % 2 == 0 else -1]:
                rounds[name].append(run(scenario, programs[name], turn + 1))
        found = ratios(rounds["here"], rounds[revision])
        columns = [figures.spread(found[figure], 2) for figure in FIGURES]
        print(f"{scenario.name}, here divided by {revision}: p50, p99, CPU", *columns, sep="  ", flush=True)


if __name__ == "__main__":
    main()
