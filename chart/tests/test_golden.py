"""What each region renders to, kept as it was last looked at: UPDATE_GOLDEN=1 make chart-test writes it anew."""

import os
import unittest

from support import REGIONS, TESTS, render_text


class Golden(unittest.TestCase):
    maxDiff = None

    def test_each_region_renders_what_was_looked_at(self):
        for region in REGIONS:
            with self.subTest(region):
                path = TESTS / "golden" / f"{region}.yaml"
                rendered = render_text(region)
                if os.environ.get("UPDATE_GOLDEN"):
                    path.write_text(rendered)
                self.assertEqual(path.read_text(), rendered)


if __name__ == "__main__":
    unittest.main()
