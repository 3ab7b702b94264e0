"""Prints what `make fuzz` has run, from libFuzzer's logs, and records runs of ten minutes or more for each target.

fuzzed.py FOLDER MINUTES TARGET...
"""

import datetime
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))
import figures  # noqa: E402

RECORD = ROOT / "docs/reliability/fuzz.json"
RECORDED_FROM_MINUTES = 10


def summary(folder, target, minutes):
    log = (folder / f"{target}.log").read_text(errors="replace")
    numbers = {
        "executions": re.search(r"stat::number_of_executed_units: *(\d+)", log),
        "edges_linked": re.search(r"Loaded 1 modules +\((\d+) inline", log),
    }
    counts = {name: int(found.group(1)) if found else 0 for name, found in numbers.items()}
    return {
        "minutes": minutes,
        "processor_seconds": float((folder / f"{target}.seconds").read_text().split()[-1]),
        **counts,
        "edges": int(([0, *re.findall(r"cov: (\d+)", log)])[-1]),
        "findings": int((folder / f"{target}.findings").read_text()),
    }


def main():
    folder, minutes, targets = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    runs = {target: summary(folder, target, minutes) for target in targets}
    for target, run in runs.items():
        print(target, json.dumps(run))
    if silent := [target for target, run in runs.items() if not run["executions"]]:
        sys.exit(f"{', '.join(silent)} ran nothing, so nothing was recorded: see {folder}/*.log")
    if minutes >= RECORDED_FROM_MINUTES:
        made = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%F"),
            "revision": figures.revision(ROOT),
        }
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        record |= {target: run | made for target, run in runs.items()}
        RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n")
    found = [target for target, run in runs.items() if run["findings"]]
    if found:
        sys.exit(f"there are findings in {', '.join(found)}: their inputs are in {folder}/artifacts")


if __name__ == "__main__":
    main()
