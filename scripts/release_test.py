"""scripts/release.sh in throw-away clones: what it refuses, a whole release, and what may not be published."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCKS = ("Cargo.lock", "benches/harness/Cargo.lock", "fuzz/Cargo.lock")
SETTINGS = {
    "user.name": "Release test", "user.email": "release@example.com", "commit.gpgSign": "false", "tag.gpgSign": "false",
}  # fmt: skip
GIT = ("git", *(word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")))
# Higher than any version that there will be.
NEXT = "907.8.9"
# A git hook may have begun this: see scripts/lib.sh.
for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
    os.environ.pop(name, None)


def append(name, text):
    return lambda root: (root / name).write_text((root / name).read_text() + text)


def replace(name, old, new):
    return lambda root: (root / name).write_text((root / name).read_text().replace(old, new))


def git(*arguments):
    return lambda root: subprocess.run([*GIT, "-C", str(root), *arguments], check=True, capture_output=True)


# What is done first, the version asked for, and the refusal that must follow.
REFUSED = {
    "no version": ([], "", "must have the form 1.2.3"),
    "half a version": ([], "1.2", "must have the form 1.2.3"),
    "a leading zero": ([], "1.02.3", "must have the form 1.2.3"),
    "another kind of candidate": ([], "1.2.3-beta.1", "must have the form 1.2.3"),
    "a tag's name": ([], "v1.2.3", "must have the form 1.2.3"),
    "a shell's word": ([], "1.2.3;id", "must have the form 1.2.3"),
    "a change": ([append("README.md", "x\n")], NEXT, "uncommitted changes"),
    "a new file": ([lambda root: (root / "new").write_text("x")], NEXT, "uncommitted changes"),
    "another branch": ([git("switch", "--quiet", "-c", "other")], NEXT, "releases are made on main"),
    "no branch": ([git("switch", "--quiet", "--detach")], NEXT, "releases are made on main"),
    "the same version again": ([git("tag", f"v{NEXT}")], NEXT, f"tag v{NEXT} already exists"),
    "a version before the last": ([git("tag", "v907.10.0")], "907.9.0", "not higher than 907.10.0"),
    "a candidate of what is out": ([git("tag", "v907.8.9")], "907.8.9-rc.1", "not higher than 907.8.9"),
    "a version before the present one": ([], "0.0.1", "lower than"),
    "nothing to release": (
        [replace("CHANGELOG.md", "\n- ", "\n* "), git("commit", "--quiet", "-am", "x")], NEXT, "nothing under [Unreleased]"
    ),
    "a section that is there": (
        [append("CHANGELOG.md", f"\n## [{NEXT}] - 2026-01-01\n\n- x\n"), git("commit", "--quiet", "-am", "x")], NEXT, f"already has a section [{NEXT}]"
    ),
}  # fmt: skip
# Likewise for a tag that is to be published.
NOT_PUBLISHED = {
    "no tag": ([], f"v{NEXT}", "not an annotated tag"),
    "another name": ([git("tag", "-a", "-m", "x", "latest")], "latest", "not the tag of a version"),
    "a light tag": ([git("tag", "v0.1.0")], "v0.1.0", "not an annotated tag"),
    "a version that the tree does not have": ([git("tag", "-a", "-m", "x", f"v{NEXT}")], f"v{NEXT}", "the version in Cargo.toml is"),
    "another branch": (
        [git("switch", "--quiet", "-c", "other"), git("commit", "--quiet", "--allow-empty", "-m", "x"),
         git("tag", "-a", "-m", "x", f"v{NEXT}"), git("switch", "--quiet", "main")], f"v{NEXT}", "not on this branch"
    ),
}  # fmt: skip


class Release(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.origin = pathlib.Path(cls.scratch.name, "origin")
        # As the tree is now, committed or not.
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).exists() and not name.startswith("fuzz/corpus/"):
                (cls.origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, cls.origin / name, follow_symlinks=False)
        # Right after a release there is nothing new.
        replace("CHANGELOG.md", "\n## [Unreleased]\n", "\n## [Unreleased]\n\n- What this test releases.\n")(cls.origin)
        git("init", "--quiet", "-b", "main")(cls.origin)
        git("add", "--all")(cls.origin)
        git("commit", "--quiet", "-m", "as it is")(cls.origin)

    def clone(self):
        folder = tempfile.TemporaryDirectory(dir=self.scratch.name)
        self.addCleanup(folder.cleanup)
        root = pathlib.Path(folder.name, "clone")
        subprocess.run(["git", "clone", "--quiet", str(self.origin), str(root)], check=True)
        for key, value in SETTINGS.items():
            git("config", key, value)(root)
        return root

    def run_script(self, root, *arguments):
        return subprocess.run(
            ["scripts/release.sh", *arguments], cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def said(self, root, *command):
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout

    def state(self, root):
        return self.said(root, "git", "log", "--format=%H"), self.said(root, "git", "tag"), self.said(root, "git", "diff")

    def refuse(self, table, arguments):
        for case, (steps, asked, message) in table.items():
            with self.subTest(case):
                root = self.clone()
                for step in steps:
                    step(root)
                before = self.state(root)
                done = self.run_script(root, *arguments(asked))
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertIn(message, done.stderr)
                self.assertEqual(self.state(root), before)

    def test_what_is_refused_changes_nothing(self):
        self.refuse(REFUSED, lambda version: [version])

    def test_every_reason_is_said_at_once(self):
        root = self.clone()
        git("switch", "--quiet", "-c", "other")(root)
        append("README.md", "x\n")(root)
        said = self.run_script(root, "0.0.1").stderr
        for reason in ("uncommitted changes", "releases are made on main", "lower than"):
            self.assertIn(reason, said)

    def test_a_dry_run_says_the_notes_and_changes_nothing(self):
        root = self.clone()
        before = self.state(root)
        done = self.run_script(root, NEXT, "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("\n- ", done.stdout)
        self.assertEqual(self.state(root), before)

    def test_a_release_that_fails_half_way_is_taken_back(self):
        for what in ("commit", "tag"):
            with self.subTest(what):
                root = self.clone()
                git("config", f"{what}.gpgSign", "true")(root)
                git("config", "gpg.program", "false")(root)
                before = self.state(root)
                self.assertNotEqual(self.run_script(root, NEXT).returncode, 0)
                self.assertEqual(self.state(root), before)
                self.assertEqual(self.said(root, "git", "status", "--porcelain"), "")

    def test_a_release_is_one_commit_and_a_tag_that_says_what_is_new(self):
        root = self.clone()
        old = tomllib.loads((root / "Cargo.toml").read_text())["package"]["version"]
        notes = self.run_script(root, "--notes", "Unreleased").stdout
        done = self.run_script(root, NEXT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"git push --atomic origin main v{NEXT}", done.stdout)
        self.assertEqual(self.said(root, "git", "status", "--porcelain"), "")
        self.assertEqual(self.said(root, "git", "rev-list", "--count", "HEAD"), "2\n")
        self.assertEqual(self.said(root, "git", "cat-file", "-t", f"v{NEXT}"), "tag\n")
        self.assertEqual(self.said(root, "git", "for-each-ref", "--format=%(contents)", f"refs/tags/v{NEXT}").strip(),
                         f"Version {NEXT}\n\n{notes}".strip())  # fmt: skip
        self.assertEqual(self.run_script(root, "--notes", NEXT).stdout, notes)
        # As the workflow calls them.
        tag = f"TAG=v{NEXT}"
        self.assertEqual(self.said(root, "env", tag, "make", "--silent", "release-notes"), notes)
        self.assertIn(f"v{NEXT} is a release", self.said(root, "env", tag, "make", "--silent", "release-verify"))
        self.assertNotEqual(self.run_script(root, "--notes", "Unreleased").returncode, 0)
        self.assertRegex((root / "CHANGELOG.md").read_text(), rf"## \[Unreleased\]\n\n## \[{NEXT}\] - 20\d\d-\d\d-\d\d\n")
        self.the_version_is_everywhere(root, old)
        self.assertEqual(self.run_script(root, "--verify", f"v{NEXT}").returncode, 0)
        again = self.run_script(root, "907.9.0")
        self.assertIn("nothing under [Unreleased]", again.stderr)

    def test_a_version_that_was_set_may_have_a_candidate_before_it(self):
        root = self.clone()
        self.said(root, "scripts/version-set.sh", NEXT)
        git("commit", "--quiet", "-am", "the next version")(root)
        done = self.run_script(root, f"{NEXT}-rc.1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f'version = "{NEXT}-rc.1"', (root / "Cargo.toml").read_text())

    def the_version_is_everywhere(self, root, old):
        for name in LOCKS:
            with self.subTest(name):
                locked = tomllib.loads((root / name).read_text())["package"]
                self.assertIn(NEXT, [one["version"] for one in locked if one["name"] == "payment-latency-api"])
        # A line that still names the old version beside the project's name was forgotten; in the chart, any line.
        # 192.0.2.0/24 is no version.
        old = rf"{re.escape(old)}($|[^0-9./])"
        for left in (
            [rf"(payment-latency-api|[vV]ersion)\W(.*[^0-9.])?{old}", "--", ":!*.lock", ":!benches/peers", ":!tests/peers",
             ":!CHANGELOG.md", ":!scripts", ":!benches/harness/Cargo.toml", ":!fuzz/Cargo.toml"],
            [rf"(^|[^0-9.]){old}", "--", "chart"],
        ):  # fmt: skip
            found = subprocess.run(["git", "grep", "-nE", *left], cwd=root, capture_output=True, text=True)
            self.assertEqual(found.stdout + found.stderr, "")

    def test_one_form_of_version_for_both_scripts(self):
        root = self.clone()
        for version in (asked for _, asked, message in REFUSED.values() if message == "must have the form 1.2.3"):
            with self.subTest(version):
                done = subprocess.run(["scripts/version-set.sh", version], cwd=root, capture_output=True, text=True)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("must have the form 1.2.3", done.stderr)
        self.assertEqual(self.said(root, "git", "status", "--porcelain"), "")
        self.said(root, "scripts/version-set.sh", "907.8.9-rc.1")
        self.assertIn('version = "907.8.9-rc.1"', (root / "Cargo.toml").read_text())

    def test_a_document_of_another_version_is_not_published(self):
        root = self.clone()
        self.assertEqual(self.run_script(root, NEXT).returncode, 0)
        replace("docs/openapi.yaml", f"\n  version: {NEXT}\n", "\n  version: 0.0.1\n")(root)
        for step in (("commit", "--quiet", "-am", "x"), ("tag", "-f", "-a", "-m", "x", f"v{NEXT}")):
            git(*step)(root)
        done = self.run_script(root, "--verify", f"v{NEXT}")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("docs/openapi.yaml has another version", done.stderr)

    def test_what_is_no_release_is_not_published(self):
        self.refuse(NOT_PUBLISHED, lambda tag: ["--verify", tag])


if __name__ == "__main__":
    unittest.main()
