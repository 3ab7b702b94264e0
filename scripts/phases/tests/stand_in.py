"""Stands in for a program: records how it was called, and answers by a table. support.py says what a rule is."""

import fcntl
import json
import os
import re
import signal
import stat
import sys
import time

FOLDER = os.environ["STAND_INS"]


def given():
    """What came through a pipe or from a file; never waits for a terminal."""
    mode = os.fstat(0).st_mode
    return sys.stdin.read() if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) else ""


def holds(rule, flags, line):
    return (re.search(rule["call"], line) and set(rule.get("when", [])) <= flags
            and not set(rule.get("unless", [])) & flags and rule.get("times", 1) > 0)


def put_down(what):
    time.sleep(0.3)
    os.write(1, f"{what}\n".encode())
    with open(f"{FOLDER}/ended", "a", encoding="utf-8") as ended:
        ended.write(f"{what}\n")
    os._exit(1)


def main():
    program, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    line = " ".join([program, *arguments])
    text = given() if re.search(r"file:///dev/stdin|--password-stdin|--config -|--filename -", line) else ""
    with open(f"{FOLDER}/world.json", "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        world = json.load(file)
        flags = set(world["flags"])
        rule = next((one for one in world["rules"] if holds(one, flags, line)), None)
        if rule is not None:
            if "times" in rule:
                rule["times"] -= 1
            world["flags"] = sorted(flags | set(rule.get("sets", [])) - set(rule.get("clears", [])))
            file.seek(0)
            file.truncate()
            json.dump(world, file)
        with open(f"{FOLDER}/calls", "a", encoding="utf-8") as calls:
            calls.write(json.dumps({"line": line, "argv": arguments, "given": text}) + "\n")
    if rule is None:
        print(f"{program}: no rule for: {line}", file=sys.stderr)
        return 97
    if "until_told" in rule:
        # A program that releases what it holds when it is told to end. put_down() bypasses Python's buffer, since the
        # signal may come while that is being filled.
        signal.signal(signal.SIGTERM, lambda *_: put_down(rule["until_told"]))
        print("holding on", flush=True)
        time.sleep(900)
    time.sleep(rule.get("takes", 0))
    for name, content in rule.get("writes", {}).items():
        path = re.search(name, line).group(1)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    sys.stdout.write(rule.get("says", "") + rule.get("each", "") * text.count("url ="))
    sys.stderr.write(rule.get("complains", ""))
    return rule.get("code", 0)


sys.exit(main())
