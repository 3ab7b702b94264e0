"""Every item is broken on purpose and must fail; unbroken, it must pass. Stand-ins answer for the cloud."""

import contextlib
import datetime
import io
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import unittest.mock

import checklist

NEEDS_MORE = {"image", "cloud"}
STATIC = b"\x7fELF\x02" + bytes(59)  # no program header
DYNAMIC = pathlib.Path("/bin/sh").read_bytes()
DIGEST = "sha256:" + "d" * 64
TODAY = datetime.datetime.now(datetime.UTC).isoformat()
# Answers its command line by the first expression that matches it; --query and --output work as aws has them.
STAND_IN = f"""#!{sys.executable} -B
import json, os, re, sys
import jmespath
line = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
answers = [answer for call, answer in json.loads(os.environ["ANSWERS"]) if re.search(call, line)]
if not answers or isinstance(answers[0], int):
    sys.exit(answers[0] if answers else "nobody answers " + line)
answer = answers[0]
if "--query" in sys.argv:
    answer = jmespath.search(sys.argv[sys.argv.index("--query") + 1], answer)
if sys.argv[-2:] == ["--output", "text"] and isinstance(answer, list):
    answer = "\\t".join(answer)
print(answer if isinstance(answer, str) else json.dumps(answer))
"""
# Runs PROGRAM, except at call number $CRASHES: then it reads all input, prints nothing and ends with STATUS. What
# python3 prints is kept, so that each of its calls is made once; what grep prints depends on its input.
CRASHING = """#!/bin/sh
echo >>"$KEPT/NAME"
call=$(wc -l <"$KEPT/NAME")
said="$KEPT/NAME-$call"
if [ "$CRASHES" = "NAME $call" ]; then cat >/dev/null; exit STATUS; fi
[ NAME = python3 ] || exec PROGRAM "$@"
[ -e "$said" ] || PROGRAM "$@" >"$said" || exit
cat "$said"
"""
READERS = {"python3": 1, "grep": 2}


def write_tar(out, files):
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


class Checklist(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=checklist.ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            source = checklist.ROOT / name
            if source.is_file() and not name.startswith(("docs/performance/", "fuzz/corpus/")):
                (cls.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, cls.root / name, follow_symlinks=False)
        # As phase 3 leaves it.
        for release in cls.root.glob("argocd/releases/*.yaml"):
            release.write_text(re.sub('digest: ".*"', f'digest: "{DIGEST}"', release.read_text()))
        cls.items = checklist.items(cls.root)
        cls.programs = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.programs.cleanup)
        for name in ("aws", "curl", "git", "kubectl", "terraform"):
            cls.write_program(cls.programs.name, name, STAND_IN)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @staticmethod
    def write_program(folder, name, text):
        program = pathlib.Path(folder, name)
        program.write_text(text)
        program.chmod(0o755)

    def test_each_item_says_where_it_looks_and_how_it_is_broken(self):
        names = [item["id"] for item in self.items]
        self.assertEqual(len(names), len(set(names)))
        for item in self.items:
            self.assertIn(item["on"], {"source", "image", "chart", "terraform", "cloud"}, item["id"])
            self.assertEqual("broken" in item, item["on"] != "image", item["id"])
            self.assertEqual("answers" in item, item["on"] == "cloud", item["id"])

    def test_there_are_as_many_as_were_asked_for(self):
        wanted = {"Container": 9, "Secrets": 6, "Network": 6, "Encryption": 6, "IAM": 4, "Residency": 4, "Audit": 5,
                  "Kubernetes": 7, "Supply chain": 5}  # fmt: skip
        found = {section["name"]: len(section["item"]) for section in checklist.sections(self.root)}
        self.assertEqual(found.keys(), wanted.keys())
        for name, least in wanted.items():
            self.assertGreaterEqual(found[name], least, name)

    def test_what_is_broken_on_purpose_fails_and_nothing_else_does(self):
        for item in self.items:
            if item["on"] in NEEDS_MORE:
                continue
            with self.subTest(item["id"]):
                self.assertEqual(checklist.run(item, self.root), ("pass", ""))
            for name, old, new in item["broken"]:
                with self.subTest(item["id"], broken=new), self.changed(name, old, new):
                    self.assertEqual(checklist.run(item, self.root)[0], "fail", f"{name} is broken and nobody noticed")

    def test_a_reader_that_crashes_is_noticed(self):
        for item in (item for item in self.items if item["on"] != "cloud"):
            with tempfile.TemporaryDirectory() as kept:
                programs = pathlib.Path(kept, "programs")
                programs.mkdir()
                for name, status in READERS.items():
                    text = CRASHING.replace("NAME", name).replace("PROGRAM", shutil.which(name))
                    self.write_program(programs, name, text.replace("STATUS", str(status)))
                for name in READERS:
                    for call in itertools.count(1):
                        result, made = self.crash(item, kept, name, call)
                        crashed = made >= call
                        with self.subTest(item["id"], program=name, call=call):
                            wanted = "fail" if crashed or item["on"] == "image" else "pass"
                            self.assertEqual(result, wanted, "it crashed and nobody noticed" if crashed else "")
                        if not crashed:
                            break

    def crash(self, item, kept, name, call):
        """The result of an item one call of which crashes, and how many calls of that program it made."""
        for reader in READERS:
            pathlib.Path(kept, reader).write_text("")
        path = f"{kept}/programs:{os.environ['PATH']}"
        with unittest.mock.patch.dict(os.environ, {"PATH": path, "KEPT": kept, "CRASHES": f"{name} {call}"}):
            result = checklist.run(item, self.root)[0]
        return result, len(pathlib.Path(kept, name).read_text())

    @contextlib.contextmanager
    def changed(self, name, old, new):
        """Replaces the first `old` in a file by `new` for a while; without `old`, appends `new` or makes the file."""
        path = self.root / name
        whole = path.read_text() if path.exists() else None
        if old:
            self.assertIn(old, whole, "there is nothing to break")
        path.write_text(whole.replace(old, new, 1) if old else (whole or "") + new)
        yield
        path.unlink() if whole is None else path.write_text(whole)

    def test_without_a_release_it_is_said_that_one_is_needed(self):
        item = next(item for item in self.items if item["id"] == "P7")
        with self.changed("argocd/releases/spain.yaml", DIGEST, ""):
            said = 'argocd/releases/spain.yaml:  digest: ""'
            self.assertEqual(checklist.run(item, self.root), (checklist.RELEASE, said))

    def test_an_account_that_is_wrong_is_noticed(self):
        for item in (item for item in self.items if item["on"] == "cloud"):
            with self.subTest(item["id"]), self.account(item["answers"]):
                self.assertEqual(checklist.run(item, self.root), ("pass", ""))
            for others in item.get("also", []):
                with self.subTest(item["id"], also=others), self.account([*others, *item["answers"]]):
                    self.assertEqual(checklist.run(item, self.root), ("pass", ""))
            for call, answer in item["broken"]:
                self.assertIn(call, [known for known, _ in item["answers"]])
                with self.subTest(item["id"], broken=answer), self.account([[call, answer], *item["answers"]]):
                    self.assertEqual(checklist.run(item, self.root)[0], "fail", f"{call} is broken and nobody noticed")

    def account(self, answers):
        return unittest.mock.patch.dict(os.environ, {
            "CLOUD": "spain", "PATH": f"{self.programs.name}:{os.environ['PATH']}",
            "ANSWERS": json.dumps(answers).replace("DIGEST", DIGEST).replace("TODAY", TODAY),
        })  # fmt: skip

    def test_an_image_that_is_wrong_is_noticed(self):
        good = {"files": {"payment-latency-api": STATIC}, "user": "65534:65534"}
        broken = {
            "C2": {"files": {"payment-latency-api": STATIC, "bin/sh": DYNAMIC}},
            "C3": {"user": "0:0"},
            "C4": {"files": {"payment-latency-api": DYNAMIC}},
        }
        found = {item["id"]: item for item in self.items if item["on"] == "image"}
        self.assertEqual(found.keys(), broken.keys())
        for name, item in found.items():
            with self.subTest(name):
                self.write_image(**good)
                self.assertEqual(checklist.run(item, self.root), ("pass", ""))
                self.write_image(**{**good, **broken[name]})
                self.assertEqual(checklist.run(item, self.root)[0], "fail")

    def write_image(self, files, user):
        """As `docker save` writes it: a layer, a configuration, and a manifest that names both."""
        path = self.root / "target/image/payment-latency-api.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        layer = io.BytesIO()
        write_tar(layer, files)
        parts = {
            "layer.tar": layer.getvalue(),
            "config.json": json.dumps({"config": {"User": user}}).encode(),
            "manifest.json": json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]).encode(),
        }
        with path.open("wb") as out:
            write_tar(out, parts)

    def test_no_command_has_a_failure_that_bash_does_not_notice(self):
        for item in self.items:
            lines = [line.strip() for line in item["command"].strip().splitlines()]
            self.assertFalse(any(line.startswith("! ") for line in lines), item["id"])
            # In any line but the last, a failure before && would go unnoticed.
            self.assertFalse(any(re.match(r"(test|grep|jq) .* && ", line) for line in lines[:-1]), item["id"])

    def test_a_cloud_item_is_named_and_not_run(self):
        cloud = next(item for item in self.items if item["on"] == "cloud")
        with unittest.mock.patch.dict(os.environ):
            os.environ.pop("CLOUD", None)
            self.assertEqual(checklist.run({**cloud, "command": "false"}, self.root), (checklist.CLOUD, ""))


if __name__ == "__main__":
    unittest.main()
