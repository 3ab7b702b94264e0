"""Compares builds of the service, each given as NAME=BINARY: the first is what the others are compared to.

Sizes and instructions are steady. CPU times are not: they are taken in turns, and only their ratio within a round is
kept.
"""

import datetime
import json
import os
import sys
import time

import bench
import stage
from stage import SERVICE

RECORD = stage.ROOT / "docs/performance/variants.json"
ROUNDS, RATE, SECONDS = 7, 1000, 3.0
CROWD, CALM_SECONDS = 10_000, 10


def resident_kib(server):
    """Memory after payments, and ten seconds after a crowd that was idle beside more payments has gone."""
    sizes = [server.resident_kib()]
    stage.generate(server.port, 200, 2, 1, "--idle", CROWD, warm_up=0)
    time.sleep(CALM_SECONDS)
    return [*sizes, server.resident_kib()]


def main():
    builds = dict(argument.rsplit("=", 1) for argument in sys.argv[1:])
    first = next(iter(builds))
    variants = {name: (binary, None) for name, binary in builds.items()}
    # The image's binary without the image's environment.
    variants["mimalloc's own settings"] = builds[first], dict.fromkeys(stage.allocator_settings())
    stage.configure_database()
    rounds, memory = {name: [] for name in variants}, {}
    for turn in range(ROUNDS):
        for name in list(variants)[:: 1 if turn % 2 == 0 else -1]:
            binary, settings = variants[name]
            with stage.Server(SERVICE, settings, program=binary) as server:
                rounds[name].append(stage.cpu_us(server, RATE, SECONDS, turn))
                if turn == 0:
                    memory[name] = resident_kib(server)
    rows = []
    for name, (binary, settings) in variants.items():
        ratios = [ours / theirs for ours, theirs in zip(rounds[name], rounds[first], strict=True)]
        rows.append({
            "name": name,
            "bytes": os.stat(binary).st_size,
            "instructions": stage.instructions(SERVICE, settings=settings, program=binary),
            "cpu_ratio": [round(ratio, 3) for ratio in sorted(ratios)],
            "resident_kib": memory[name],
        })  # fmt: skip
        print(rows[-1], flush=True)
    record = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F"),
        "revision": bench.revision(),
        "rate": RATE,
        "crowd": CROWD,
        "variants": rows,
    }
    RECORD.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
