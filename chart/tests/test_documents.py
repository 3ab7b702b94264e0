"""chart/README.md lists the values with their comments. UPDATE_DOCS=1 make chart-test writes its table again."""

import json
import os
import re
import unittest

import yaml

from support import CHART

BEGIN, END = "<!-- values:begin -->", "<!-- values:end -->"


def commented():
    """(path, description, default) of each `# --` comment of values.yaml, the format of helm-docs."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    parents, comment = [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        text = line.strip()
        if text.startswith("# -- "):
            comment = [text.removeprefix("# -- ")]
        elif text.startswith("#") and comment:
            comment.append(text.removeprefix("#").strip())
        elif match := re.match(r"^( *)([A-Za-z]+):", line):
            depth = len(match.group(1)) // 2
            parents = [*parents[:depth], match.group(2)]
            if comment:
                default = [one.removeprefix("@default -- ") for one in comment if one.startswith("@default -- ")]
                value = values
                for key in parents:
                    value = value[key]
                described = " ".join(one for one in comment if not one.startswith("@default"))
                yield ".".join(parents), described, default[0] if default else f"`{json.dumps(value, ensure_ascii=False)}`"
                comment = []


def table():
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    rows += [f"| `{path}` | {default} | {text} |" for path, text, default in commented()]
    return "\n".join(rows)


class Documents(unittest.TestCase):
    maxDiff = None

    def test_the_readme_has_every_value_as_it_is_commented(self):
        path = CHART / "README.md"
        before, rest = path.read_text().split(BEGIN)
        written, after = rest.split(END)
        if os.environ.get("UPDATE_DOCS"):
            written = f"\n\n{table()}\n\n"
            path.write_text(before + BEGIN + written + END + after)
        self.assertEqual(written.strip(), table())
        self.assertGreater(len(table().splitlines()), 100)
        self.assertEqual([line for line in path.read_text().splitlines() if len(line) > 120], [])


if __name__ == "__main__":
    unittest.main()
