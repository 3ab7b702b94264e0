"""Runs docs/security-checklist.toml, and writes docs/SECURITY-CHECKLIST.md from it.

checklist.py            runs what needs no cloud account, prints a table, writes target/checklist.json; 1 if an item fails
checklist.py ID...      runs only these items
checklist.py --write    writes the document's list; --check fails if it differs
CLOUD=spain or mexico   also runs that region's cloud items, with the credentials and contexts of this shell
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA, DOCUMENT, RECORD = "docs/security-checklist.toml", "docs/SECURITY-CHECKLIST.md", "target/checklist.json"
BEGIN, END = "<!-- checklist:begin -->", "<!-- checklist:end -->"
REGIONS = {"spain": "eu-south-2", "mexico": "us-east-1"}
TIMEOUT_S = 60
CLOUD, RELEASE = "needs a cloud account", "needs a release"
# Exit code of a command that needs something that only a release has.
UNRELEASED = 111


def sections(root=ROOT):
    return tomllib.loads((root / DATA).read_text())["section"]


def items(root=ROOT):
    return [{**item, "section": section["name"]} for section in sections(root) for item in section["item"]]


def run(item, root=ROOT):
    """The result of one item, and what its command printed if it failed."""
    site = os.environ.get("CLOUD")
    if item["on"] == "cloud" and not site:
        return CLOUD, ""
    # The checks compare JSON, whatever format the shell is set to.
    environment = {**os.environ, "site": site or "", "region": REGIONS.get(site, ""), "AWS_DEFAULT_OUTPUT": "json"}
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", item["command"]], cwd=root, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "fail", f"timed out after {TIMEOUT_S} s"
    if done.returncode == 0:
        return "pass", ""
    return RELEASE if done.returncode == UNRELEASED else "fail", done.stdout.strip()


def run_all(chosen, root=ROOT):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda item: run(item, root), chosen))
    return [
        {"id": item["id"], "section": item["section"], "what": item["what"], "on": item["on"], "result": result,
         **({"said": said} if said else {})}
        for item, (result, said) in zip(chosen, results, strict=True)
    ]  # fmt: skip


def table(results):
    width = max(len(one["result"]) for one in results)
    lines, section = [], None
    for one in results:
        if one["section"] != section:
            section = one["section"]
            lines.append(f"\n{section}")
        begin = f"  {one['id']:<4} {one['result']:<{width}}  {one['on']:<9}  "
        lines.append(textwrap.fill(one["what"], 120, initial_indent=begin, subsequent_indent=" " * len(begin)))
        lines += [f"       {line}" for line in one.get("said", "").splitlines()]
    return "\n".join(lines)


def count(results):
    return {name: sum(one["result"] == name for one in results) for name in ("pass", "fail", CLOUD, RELEASE)}


def written(root=ROOT):
    """The document, with its list made from the data."""
    lines = []
    for section in sections(root):
        lines.append(f"\n## {section['name']}\n")
        for item in section["item"]:
            proof = f" Proved by running: `{item['proof']}`." if "proof" in item else ""
            what = f"**{item['id']}.** {item['what']}. *{item['on'].capitalize()}.*{proof}"
            lines.append(textwrap.fill(what, 120, break_long_words=False, break_on_hyphens=False) + "\n")
            lines.append(f"```sh\n{item['command'].strip()}\n```\n")
    before, rest = (root / DOCUMENT).read_text().split(BEGIN)
    return before + BEGIN + "\n" + "\n".join(lines).rstrip() + "\n\n" + END + rest.split(END)[1]


def main(arguments):
    if arguments in (["--write"], ["--check"]):
        current = written()
        if arguments == ["--write"]:
            (ROOT / DOCUMENT).write_text(current)
        elif current != (ROOT / DOCUMENT).read_text():
            sys.exit(f"{DOCUMENT} differs from {DATA}: run `scripts/checklist.sh --write` to rewrite it")
        return
    known = items()
    unknown = set(arguments) - {item["id"] for item in known}
    if unknown:
        sys.exit(f"unknown item: {', '.join(sorted(unknown))} ({DATA} lists the items)")
    results = run_all([item for item in known if not arguments or item["id"] in arguments])
    counted = count(results)
    print(table(results))
    print("\n" + ", ".join(f"{number} {name}" for name, number in counted.items()))
    record = ROOT / RECORD
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"counts": counted, "items": results}, indent=1) + "\n")
    print(f"written as JSON to {RECORD}")
    sys.exit(1 if counted["fail"] else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
