"""What scripts/workflows.py must notice: each case breaks one thing in a copy of what it reads."""

import pathlib
import shutil
import tempfile
import unittest

import workflows

ROOT = pathlib.Path(__file__).resolve().parent.parent
READ = ("Makefile", "Dockerfile", "rust-toolchain.toml", ".ci", ".github", "scripts", "argocd")
# What is changed, in which file, and what must be said of it.
BROKEN = {
    "a target that is renamed": ("Makefile", "\nrotation-test:", "\nrotate-test:", "no target rotation-test"),
    "a target of several": (".github/workflows/checks.yaml", "make sbom scan", "make sbom scans", "no target scans"),
    "a script of its own": (".github/workflows/release.yaml", "make release-notes", "scripts/release.sh --notes v1", "workflows call `make` targets alone"),
    "a phase that GitHub lacks": (".ci/run", "phase make chart-test", "phase make sbom\nphase make fuzz", "make fuzz`, which"),
    "a pin that nobody raises": ("scripts/check.sh", "CARGO_DENY_VERSION=", "DENY_VERSION=", "finds DENY_VERSION"),
    "a package in another place": ("scripts/check.sh", "CARGO_DENY_VERSION=", "x='requests==1.2'\nCARGO_DENY_VERSION=", "finds requests"),
    "a name with digits": ("scripts/rotation-package.sh", "PG8000_VERSION=", "PG80_VERSION=", "finds PG80_VERSION"),
    "a rule without a pin": ("scripts/check.sh", "CARGO_DENY_VERSION=", "DENY_VERSION=", "cargo-deny finds nothing"),
    "a pin in a workflow": (".github/workflows/release.yaml", "COSIGN_VERSION:", "SIGNER_VERSION:", "finds SIGNER_VERSION"),
}


class Workflows(unittest.TestCase):
    def found(self, changed=None):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            for name in READ:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, root / name)
            if changed:
                name, old, new = changed
                text = (root / name).read_text()
                self.assertIn(old, text)
                (root / name).write_text(text.replace(old, new))
            return "\n".join(workflows.check(root))

    def test_the_repository_holds(self):
        self.assertEqual(self.found(), "")

    def test_what_is_broken_is_named(self):
        for case, (name, old, new, message) in BROKEN.items():
            with self.subTest(case):
                self.assertIn(message, self.found((name, old, new)))


if __name__ == "__main__":
    unittest.main()
