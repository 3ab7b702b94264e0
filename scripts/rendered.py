"""Prints values from YAML: distinct values, one per line, as JSON.

rendered.py [--in FILE] KIND PATH...

KIND is a kind, `all` for every object, or `pods` for the specifications of the pods of every kind, each with its
`metadata`; their `containers` include init and ephemeral containers. A PATH is names with dots between them; a name
that has dots itself is in brackets; `*` is each element of a list and each value of a mapping; what does not exist is
null. Without --in it reads both regions' golden renders and that of prune, which they leave out; `make chart-test`
keeps all of them equal to the chart.
"""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).parent.parent
REGIONS = [ROOT / f"chart/tests/golden/{site}.yaml" for site in ("spain", "mexico")]
PRUNE = ROOT / "chart/tests/golden/prune.yaml"
GOLDEN = [*REGIONS, PRUNE]
# The loader in C, if there is one, is several times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def objects(files):
    for file in files:
        yield from filter(None, yaml.load_all(file.read_text(), LOADER))


def pod(found):
    """The pod that an object is or creates, if any."""
    spec = found.get("spec") or {}
    if found.get("kind") == "Pod":
        return found
    if found.get("kind") == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec.get("template") or {}


def pods(files):
    kinds = ("containers", "initContainers", "ephemeralContainers")
    for found in map(pod, objects(files)):
        if spec := found.get("spec"):
            containers = [one for kind in kinds for one in spec.get(kind) or []]
            yield {**spec, "metadata": found.get("metadata") or {}, "containers": containers}


def values(node, path):
    """Everything at the path."""
    if not path:
        return [node]
    if path[0] == "*":
        below = list(node.values()) if isinstance(node, dict) else node
        return [value for one in below or [None] for value in values(one, path[1:])]
    if not isinstance(node, dict) or path[0] not in node:
        return [None]
    return values(node[path[0]], path[1:])


def main(arguments):
    files = GOLDEN
    if arguments[0] == "--in":
        files, arguments = [ROOT / arguments[1]], arguments[2:]
    kind, *paths = arguments
    if kind == "pods":
        roots = list(pods(files))
    else:
        roots = [found for found in objects(files) if kind in ("all", found.get("kind"))]
    if not roots:
        sys.exit(f"no object of kind {kind} was found")
    for path in paths:
        names = [name.strip("[]") for name in re.findall(r"\[[^]]*\]|[^.]+", path)]
        found = [json.dumps(value, sort_keys=True) for root in roots for value in values(root, names)]
        print("\n".join(dict.fromkeys(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
