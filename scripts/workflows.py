"""Checks what actionlint and zizmor cannot know: that the workflows run what .ci/run runs, that every `make` target they
name exists and they call no script beside it, and that a Renovate rule finds every version that is pinned.
scripts/workflows-check.sh calls it.

workflows.py [FOLDER]: the repository to check; this one by default.
"""

import json
import pathlib
import re
import sys

import yaml

MAKE = re.compile(r"(?:^|[\s;&|(])make ((?:[a-z][a-z0-9-]*\b ?)+)")
# NAME_VERSION=1.2.3 or package==1.2.3, up to the version.
PIN = re.compile(r"\b(?:([A-Z][A-Z0-9_]*_VERSION)(?:=|: )|([a-z][a-z0-9-]*)(?:\[[a-z]+\])?==)(?=\d)")


def strings(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def targets_of(workflow):
    """The targets that the workflow makes: `make NAME…` in a step, or the names in a matrix called `target`."""
    for job in workflow["jobs"].values():
        yield from job.get("strategy", {}).get("matrix", {}).get("target", [])
        for step in job.get("steps", []):
            for names in MAKE.findall(step.get("run", "")):
                yield from names.split()


OTHERS = ("Dockerfile", "rust-toolchain.toml", "argocd/values.yaml")


def pinned(root):
    """Every file that the rules look at, by its name."""
    files = [*root.glob("scripts/**/*.sh"), *root.glob("scripts/**/*.txt"), *root.glob(".github/workflows/*.yaml")]
    return {path.relative_to(root).as_posix(): path.read_text() for path in [*files, *(root / name for name in OTHERS)]}


def unknown_pins(root):
    """Versions that no Renovate rule finds, and rules that find nothing in the files they are for."""
    files, covered = pinned(root), set()
    for rule in json.loads((root / ".github/renovate.json").read_text())["customManagers"]:
        looked, found = 0, 0
        for name, text in files.items():
            if not any(re.search(pattern.strip("/"), name) for pattern in rule["managerFilePatterns"]):
                continue
            looked += 1
            for pattern in rule["matchStrings"]:
                for match in re.finditer(pattern.replace("(?<", "(?P<"), text):
                    covered.add((name, match.start("currentValue")))
                    found += 1
        if looked and not found:
            yield f".github/renovate.json: the rule for {rule.get('depNameTemplate', rule['matchStrings'][0])} finds nothing"
    for name, text in sorted(files.items()):
        for pin in PIN.finditer(text):
            if (name, pin.end()) not in covered:
                yield f"{name}: no rule of .github/renovate.json finds {pin.group(1) or pin.group(2)}"


def check(root):
    makefile = re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    workflows = {path.name: yaml.safe_load(path.read_text()) for path in sorted(root.glob(".github/workflows/*.yaml"))}
    wrong = []
    for name, workflow in workflows.items():
        wrong += [f"{name}: the Makefile has no target {target}" for target in targets_of(workflow) if target not in makefile]
        steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job.get("steps", [])]
        wrong += [f"{name}: calls {script}: workflows call `make` targets alone" for script in re.findall(r"scripts/[\w/-]+\.(?:sh|py)", "\n".join(steps))]
    here = re.findall(r"^phase make ([a-z0-9-]+)", (root / ".ci/run").read_text(), re.MULTILINE)
    there = set(targets_of(workflows["checks.yaml"]))
    wrong += [f"checks.yaml does not run `make {target}`, which .ci/run runs" for target in here if target not in there]
    return wrong + list(unknown_pins(root))


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if sys.argv[1:] else pathlib.Path(__file__).parent.parent).resolve())
    if found:
        sys.exit("\n".join(found))
