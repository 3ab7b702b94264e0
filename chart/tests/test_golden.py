"""What the chart renders, as it was last reviewed. UPDATE_GOLDEN=1 make chart-test writes it again."""

import os
import unittest

from support import REGIONS, TESTS, helm_template, render_text


class Golden(unittest.TestCase):
    maxDiff = None

    def test_it_renders_what_was_looked_at(self):
        # No region prunes; the security checklist checks the pods that would.
        prune = helm_template("--set", "prune.enabled=true", "--show-only", "templates/prune.yaml")
        self.assertEqual(prune.returncode, 0, prune.stderr)
        for name, rendered in [*((region, render_text(region)) for region in REGIONS), ("prune", prune.stdout)]:
            with self.subTest(name):
                path = TESTS / "golden" / f"{name}.yaml"
                if os.environ.get("UPDATE_GOLDEN"):
                    path.write_text(rendered)
                self.assertEqual(path.read_text(), rendered)


if __name__ == "__main__":
    unittest.main()
