"""Prints what the chart renders for both regions: distinct values, one a line, as JSON.

rendered.py KIND PATH...: KIND is a kind, or `pods` for the pods of every kind. A PATH is names with dots between them,
a name that has dots of its own in brackets; `*` is each element of a list; what is not there is null. Reads the golden
renders, which `make chart-test` keeps equal to the chart.
"""

import json
import pathlib
import re
import sys

import yaml

GOLDEN = pathlib.Path(__file__).parent.parent / "chart/tests/golden"


def objects():
    for site in ("spain", "mexico"):
        yield from filter(None, yaml.safe_load_all((GOLDEN / f"{site}.yaml").read_text()))


def pods():
    for found in objects():
        if found["kind"] == "Pod":
            yield found["spec"]
        elif found["kind"] == "CronJob":
            yield found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in found.get("spec", {}) and "spec" in (found["spec"]["template"] or {}):
            yield found["spec"]["template"]["spec"]


def values(node, path):
    """Everything at the path."""
    if not path:
        return [node]
    if path[0] == "*":
        return [value for one in node or [None] for value in values(one, path[1:])]
    if not isinstance(node, dict) or path[0] not in node:
        return [None]
    return values(node[path[0]], path[1:])


def main(kind, *paths):
    roots = list(pods()) if kind == "pods" else [found for found in objects() if found["kind"] == kind]
    if not roots:
        sys.exit(f"nothing of kind {kind} is rendered")
    for path in paths:
        names = [name.strip("[]") for name in re.findall(r"\[[^]]*\]|[^.]+", path)]
        found = [json.dumps(value, sort_keys=True) for root in roots for value in values(root, names)]
        print("\n".join(dict.fromkeys(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
