"""Makes the mutants of tests/simulation/mutants.toml, one at a time, in a copy of the repository, and expects the
simulation to find each by an invariant in SEEDS seeds (2,000). What was found is recorded in
docs/reliability/mutants.json, unless ONLY='some words' picks the mutants that have these words.

--check: checks that each mutant can be made in the current code, and has been recorded.
"""

import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))
import figures  # noqa: E402

MUTANTS = ROOT / "tests/simulation/mutants.toml"
RECORD = ROOT / "docs/reliability/mutants.json"
COPY = ROOT / "target/mutants/copy"
BUILD = ROOT / "target/mutants/build"

SEEDS = int(os.environ.get("SEEDS", "2000"))
# A mutant may make the service loop for ever.
RUN_TIMEOUT_S = 1_200
CARGO = ["cargo", "test", "--locked", "--quiet", "--test", "simulation"]
FAILED = re.compile(
    r"^seed (?P<seed>\d+): panicked at (?P<file>\S+?):\d+:\d+:\n(?P<message>.*?)\n"
    r"replay it with: make simulate SEEDS=1 FIRST=(?P=seed)$",
    re.DOTALL | re.MULTILINE,
)


class NotFound(Exception):
    """The simulation did not end with a broken invariant."""


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True).stdout


def read_mutants():
    mutants = tomllib.loads(MUTANTS.read_text())["mutant"]
    return {found["what"]: [found, *found.get("edit", [])] for found in mutants}


def edited(root, what, edits):
    """The files with the mutation in them, by their names."""
    texts = {}
    for edit in edits:
        name = edit["file"]
        text = texts.get(name) or (root / name).read_text()
        if text.count(edit["old"]) != 1:
            sys.exit(f"{what}: this text must occur once in {name}, but occurs {text.count(edit['old'])} times:\n{edit['old']}")
        texts[name] = text.replace(edit["old"], edit["new"])
    return texts


def check(mutants):
    for what, edits in mutants.items():
        edited(ROOT, what, edits)
    if [found["what"] for found in json.loads(RECORD.read_text())["mutants"]] != list(mutants):
        sys.exit(f"{RECORD.relative_to(ROOT)} does not list the mutants of {MUTANTS.relative_to(ROOT)}: run `make simulate-mutants`")
    print(f"{len(mutants)} mutants can be made")


def bring_up_to_date():
    """Writes only files that differ: cargo rebuilds whatever was written after its last build."""
    listed = git("ls-files", "-co", "--exclude-standard", "-z").split("\0")
    names = {name for name in listed if (ROOT / name).is_file()}
    for path in [path for path in COPY.rglob("*") if path.is_file()]:
        if str(path.relative_to(COPY)) not in names:
            path.unlink()
    for name in names:
        content, copy = (ROOT / name).read_bytes(), COPY / name
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def cargo(*arguments, timeout=None):
    """The exit code, and what was printed."""
    settings = {"CARGO_TARGET_DIR": str(BUILD), "FIRST": "0", "SEEDS": str(SEEDS), "RUST_BACKTRACE": "0"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [*CARGO, *arguments]
    with subprocess.Popen(command, cwd=COPY, env=os.environ | settings, start_new_session=True, **pipes) as run:
        try:
            said, _ = run.communicate(timeout=timeout)
        except BaseException:
            # Including the test that cargo has started.
            os.killpg(run.pid, signal.SIGKILL)
            raise
    return run.returncode, said


def words(message):
    """An invariant's own words, without the values that broke it."""
    line = re.sub(r"^assertion .*? failed(: |$)", "", message.splitlines()[0])
    return line.partition(": ")[0]


def simulate(what):
    """The first seed that breaks an invariant, and the invariant's words; `None` when all hold."""
    code, said = cargo("--no-run")
    if code:
        sys.exit(f"{what}: the code does not compile:\n{said}")
    try:
        code, said = cargo("every_invariant", "--", "--nocapture", timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotFound(f"the simulation timed out after {RUN_TIMEOUT_S} s") from None
    if code == 0:
        return None
    failed = FAILED.search(said)
    if not failed:
        raise NotFound(f"the simulation failed without naming a seed:\n{said[-2000:]}")
    if not failed["file"].startswith("tests/simulation/") or not words(failed["message"]):
        raise NotFound(f"seed {failed['seed']} fails in {failed['file']}, not by an invariant: {failed['message']}")
    return {"seed": int(failed["seed"]), "by": words(failed["message"])}


def find(what, edits):
    whole = {edit["file"]: (COPY / edit["file"]).read_text() for edit in edits}
    for name, text in edited(COPY, what, edits).items():
        (COPY / name).write_text(text)
    try:
        found = simulate(what)
    finally:
        for name, text in whole.items():
            (COPY / name).write_text(text)
    if found is None:
        raise NotFound(f"every invariant held in {SEEDS:,} seeds")
    return {"what": what} | found


def find_all(mutants):
    found, missed = [], []
    for what, edits in mutants.items():
        try:
            found.append(find(what, edits))
            print(f"{what}: seed {found[-1]['seed']}, {found[-1]['by']}", flush=True)
        except NotFound as why:
            missed.append(what)
            print(f"{what}: NOT FOUND: {why}", flush=True)
    return found, missed


def main():
    mutants = read_mutants()
    if sys.argv[1:] == ["--check"]:
        return check(mutants)
    only = os.environ.get("ONLY", "")
    chosen = {what: edits for what, edits in mutants.items() if only in what}
    if not chosen:
        sys.exit(f"no mutant has the words '{only}' (ONLY)")
    revision = figures.revision(ROOT)
    bring_up_to_date()
    if broken := simulate("without a mutant"):
        sys.exit(f"the code without a mutant breaks an invariant with seed {broken['seed']}: {broken['by']}")
    print(f"without a mutant: every invariant held in {SEEDS:,} seeds", flush=True)
    found, missed = find_all(chosen)
    print(f"{len(found)} of {len(chosen)} mutants found")
    if missed:
        sys.exit(f"not found: {'; '.join(missed)}")
    if not only:
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%F")
        record = {"date": date, "revision": revision, "seeds": SEEDS, "mutants": found}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
