"""What the chart renders, as it was last reviewed, with VERSION for the version of Chart.yaml.

UPDATE_GOLDEN=1 make chart-test writes it again.
"""

import os
import re
import unittest

from support import REGIONS, TESTS, VERSION, helm_template, render_text

# The two labels, and the tag of an image.
NAMED = re.compile(
    r'(app\.kubernetes\.io/version: "|helm\.sh/chart: payment-latency-api-|image: payment-latency-api:)'
    rf"{re.escape(VERSION)}\b"
)


class Golden(unittest.TestCase):
    maxDiff = None

    def test_it_renders_what_was_looked_at(self):
        # No region prunes; the security checklist checks the pods that would.
        prune = helm_template("--set", "prune.enabled=true", "--show-only", "templates/prune.yaml")
        self.assertEqual(prune.returncode, 0, prune.stderr)
        for name, rendered in [*((region, render_text(region)) for region in REGIONS), ("prune", prune.stdout)]:
            with self.subTest(name):
                rendered = NAMED.sub(r"\1VERSION", rendered)
                path = TESTS / "golden" / f"{name}.yaml"
                if os.environ.get("UPDATE_GOLDEN"):
                    path.write_text(rendered)
                self.assertEqual(path.read_text(), rendered)


if __name__ == "__main__":
    unittest.main()
