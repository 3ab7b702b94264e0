"""Compares the service with what it was at another revision: against.py REVISION BINARY [--print].

The two run in turns, and only the ratio within a round is kept. With --print nothing is recorded.
"""

import json
import os
import sys
import time

import bench
import figures
import stage
from stage import SERVICE

RECORD = stage.ROOT / "docs/performance/against.json"
ROUNDS, RATES, SECONDS = 7, (200, 1000, 37_500), 8
FIGURES = ("p50_us", "p99_us", "cpu_us")


def run(program, rate, seed):
    stage.empty_table()
    with stage.Server(SERVICE, program=program) as server:
        before = server.cpu_seconds()
        found = stage.generate(server.port, rate, SECONDS, seed)
        if "error" in found or found["failed"]:
            raise SystemExit(f"{program} at {rate}/s: {found.get('error') or found['failed']} failed")
        latency = found["latency_us"]
        cpu = (server.cpu_seconds() - before) * 1e6 / found["served"]
        return {"p50_us": latency["p50"], "p99_us": latency["p99"], "cpu_us": cpu}


def ratios(here, there):
    return {
        figure: sorted(round(ours[figure] / theirs[figure], 3) for ours, theirs in zip(here, there, strict=True))
        for figure in FIGURES
    }


def main():
    revision, other = sys.argv[1:3]
    programs = {"here": os.environ["SERVICE"], "there": other}
    stage.configure_database()
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "revision": bench.revision(),
        "against": revision,
        "cpu": bench.processor(),
        "bytes": {name: os.stat(program).st_size for name, program in programs.items()},
        "instructions": {name: stage.instructions(SERVICE, program=program) for name, program in programs.items()},
        "ratios": {},
    }
    for rate in RATES:
        rounds = {name: [] for name in programs}
        for turn in range(ROUNDS):
            for name in list(programs)[:: 1 if turn % 2 == 0 else -1]:
                rounds[name].append(run(programs[name], rate, turn + 1))
        record["ratios"][str(rate)] = found = ratios(rounds["here"], rounds["there"])
        columns = [figures.spread(found[figure], 2) for figure in FIGURES]
        print(f"{rate:,}/s, here against {revision}: p50, p99, CPU", *columns, sep="  ", flush=True)
    print("bytes and instructions:", record["bytes"], record["instructions"])
    if "--print" not in sys.argv:
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        print(f"recorded in {RECORD.relative_to(stage.ROOT)}")


if __name__ == "__main__":
    main()
