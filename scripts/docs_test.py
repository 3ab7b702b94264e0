"""What scripts/docs.py and benches/quotes.py must notice: each case breaks one thing in a small repository."""

import hashlib
import http.server
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import docs

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benches"))
import quotes

GOOD = {
    "Makefile": "up: ## bring it up\n",
    "tests/pool.rs": "fn a_lost_connection_costs_nothing() {}\n",
    "scripts/up.sh": "",
    # A test that only a document mentions is no test.
    "docs/list.toml": "proof = 'a_lost_connection_costs_nothing'\n",
    "docs/alerts/Page.md": "# Page\n",
    "docs/DEPLOYMENT-RUNBOOK.md": (
        "# Run\n\nSee [the page](alerts/Page.md).\n\n```sh operator.env\nsite=spain\n```\n\n"
        "```sh rehearse\nname=$site\nfor one in a b; do echo $name $one; done\n```\n"
    ),
    "docs/A.md": (
        "# A title, with `code`\n\n## Twice\n\n## Twice\n\nHere: [top](#a-title-with-code), [second](#twice-1), "
        "[B](B.md#there), [far](https://example.com/x).\n`make up` runs `scripts/up.sh`; "
        "`a_lost_connection_costs_nothing`.\n\n```sh check\ntest -e Makefile\n```\n\n```text\n[no](link.md)\n```\n"
    ),
    "docs/B.md": "# B\n\n## There\n",
    "docs/picture.svg": "<svg/>\n",
    "docs/svg.sha256": f"{hashlib.sha256(b'<svg/>' + bytes([10])).hexdigest()}  picture.svg\n",
    "scripts/rehearse/play.sh": "for block in *-sh-operator.env *-sh-rehearse; do by_hand $block; done\n",
}
# What is changed, in which file, and what must be said of it.
BROKEN = {
    "a file that is not there": ("docs/A.md", "(B.md#there)", "(C.md)", "C.md: the file does not exist"),
    "an anchor that is not there": ("docs/A.md", "#there", "#nowhere", "the heading does not exist"),
    "an anchor in the same file": ("docs/A.md", "#twice-1", "#twice-2", "the heading does not exist"),
    "a heading that was renamed": ("docs/B.md", "## There", "## Elsewhere", "the heading does not exist"),
    "an address that is none": ("docs/A.md", "https://example.com/x", "http://example.com/x", "not an https address"),
    "a target that is not there": ("docs/A.md", "`make up`", "`make down`", "no target down"),
    "a script that is not there": ("docs/A.md", "scripts/up.sh", "scripts/down.sh", "scripts/down.sh does not exist"),
    "a path that is not there": ("docs/A.md", "`scripts/up.sh`", "`tests/gone.rs`", "tests/gone.rs does not exist"),
    "a test that is not there": ("tests/pool.rs", "a_lost", "a_found", "has the name a_lost_connection_costs_nothing"),
    "a command that fails": ("docs/A.md", "test -e Makefile", "test -e Nothing", "exited with 1:"),
    "a command that fails in a pipe": ("docs/A.md", "test -e Makefile", "cat Nothing | head", "exited with 1:"),
    "a block that is no shell": ("docs/B.md", "# B", "```sh\nif true\n```\n\n# B", "is not valid bash"),
    "a failure that bash does not notice": ("docs/A.md", "test -e Makefile", "! true\ntrue", "a failure of `!` before"),
    "a failure before &&": ("docs/A.md", "test -e Makefile", "test -e Nothing && true\ntrue", "a failure before `&&`"),
    "a block without an end": ("docs/B.md", "# B", "```\n# B", "the code block is not closed"),
    "a variable that nothing sets": ("docs/DEPLOYMENT-RUNBOOK.md", "name=$site", "name=$region", "nothing sets $region"),
    "a block that is not rehearsed": ("docs/DEPLOYMENT-RUNBOOK.md", "```sh rehearse", "```sh", "is not marked for it"),
    "a mark that means nothing": ("docs/DEPLOYMENT-RUNBOOK.md", "sh rehearse", "sh rehears", "marked sh rehears"),
    "a picture that was changed": ("docs/picture.svg", "<svg/>", "<svg></svg>", "not as it was drawn"),
    "an alert that the runbook forgets": ("docs/DEPLOYMENT-RUNBOOK.md", "(alerts/Page.md)", "(A.md)", "does not link to"),
}


def build(folder, changed=None):
    """The good repository, with one text of one file replaced."""
    for name, text in GOOD.items():
        if changed and changed[0] == name:
            assert text.count(changed[1]) == 1, changed
            text = text.replace(changed[1], changed[2])
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "-C", str(folder), "init", "--quiet"], check=True)


def findings(folder):
    try:
        return "\n".join(docs.check(folder)[2])
    except ValueError as error:
        return str(error)


class Documents(unittest.TestCase):
    def test_a_good_repository_has_no_findings(self):
        with tempfile.TemporaryDirectory() as folder:
            build(pathlib.Path(folder))
            self.assertEqual(docs.check(pathlib.Path(folder)), (4, 1, []))

    def test_what_is_broken_is_named(self):
        for what, (name, old, new, said) in BROKEN.items():
            with self.subTest(what), tempfile.TemporaryDirectory() as folder:
                build(pathlib.Path(folder), (name, old, new))
                self.assertIn(said, findings(pathlib.Path(folder)))

    def test_external_links_are_listed_once_with_their_places(self):
        with tempfile.TemporaryDirectory() as folder:
            build(pathlib.Path(folder), ("docs/B.md", "## There", "a [text that\ngoes on](https://example.com/x#part)"))
            self.assertEqual(docs.external(pathlib.Path(folder)), {"https://example.com/x": ["docs/A.md:7", "docs/B.md:4"]})

    def test_a_drawing_older_than_its_text_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            build(root)
            (root / "docs/drawings").mkdir()
            (root / "docs/drawings/way.dot").write_text("digraph { a -> b }")
            (root / "docs/drawings/way.svg").write_text("<svg/>")
            self.assertIn("make drawings", findings(root))

    def test_a_rehearsal_of_other_steps_or_commands_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            build(root)
            (root / "scripts/rehearse.sh").write_text('act "phase 0" "it passes" check\n')
            (root / "docs/drawings").mkdir()
            record = f"0\t1\tphase 0\tit passes\n#runbook {docs.rehearsed_commands(root)}\n"
            (root / "docs/drawings/rehearsal.tsv").write_text(record)
            self.assertEqual(list(docs.stale_rehearsal(root)), [])
            (root / "scripts/rehearse.sh").write_text('act "phase 0" "it holds" check\n')
            self.assertIn("does not have the step", "".join(docs.stale_rehearsal(root)))
            runbook = root / "docs/DEPLOYMENT-RUNBOOK.md"
            runbook.write_text(runbook.read_text().replace("name=$site", "name=${site}"))
            self.assertIn("has other commands", "".join(docs.stale_rehearsal(root)))


class Status(http.server.BaseHTTPRequestHandler):
    """Answers /404 with 404, and so on."""

    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Links(unittest.TestCase):
    def setUp(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Status)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.root = f"http://127.0.0.1:{server.server_port}"

    def follow(self, *urls):
        run = subprocess.run([ROOT / "scripts/links.sh", *urls], capture_output=True, text=True)
        return run.returncode, run.stdout

    def test_pages_that_are_gone_and_hosts_that_are_unknown_fail(self):
        gone = [f"{self.root}/404", f"{self.root}/410", "http://nothing.invalid/"]
        for url in gone:
            code, said = self.follow(f"{self.root}/200", url)
            self.assertEqual(code, 1)
            self.assertIn("broken link", said)
            self.assertIn(url, said)

    def test_sites_that_refuse_programs_or_are_down_are_named(self):
        code, said = self.follow(f"{self.root}/200", f"{self.root}/403", f"{self.root}/500", "http://127.0.0.1:1/")
        self.assertEqual(code, 0)
        self.assertEqual(said.count("check by hand"), 3)
        self.assertNotIn("/200", said)


class Quotes(unittest.TestCase):
    def run_quotes(self, text, *options):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "A.md"
            path.write_text(text)
            command = [sys.executable, "-B", ROOT / "benches/quotes.py", "--root", folder, *options]
            run = subprocess.run(command, capture_output=True, text=True)
            return run.returncode, run.stderr, path.read_text()

    def test_a_figure_that_is_not_the_records_is_named_and_mended(self):
        code, said, _ = self.run_quotes("<!-- quote:budget -->\n1.0\n<!-- quote:end -->\n", "--check")
        self.assertEqual(code, 1)
        self.assertIn("A.md", said)
        code, _, mended = self.run_quotes("<!-- quote:budget -->\n1.0\n<!-- quote:end -->\n")
        self.assertEqual(code, 0)
        self.assertEqual(self.run_quotes(mended, "--check"), (0, "", mended))
        changed = mended.replace("| 5.0 | 5.0 |", "| 5.0 | 4.0 |")
        self.assertNotEqual(changed, mended)
        self.assertEqual(self.run_quotes(changed, "--check")[0], 1)

    def test_an_unknown_quote_and_one_without_an_end_are_named(self):
        self.assertIn("does not know", self.run_quotes("<!-- quote:no -->\n<!-- quote:end -->\n", "--check")[1])
        self.assertIn("is not closed", self.run_quotes("<!-- quote:budget -->\n", "--check")[1])

    def test_a_mark_between_backticks_is_only_spoken_of(self):
        self.assertEqual(self.run_quotes("Write `<!-- quote:NAME -->` before it.\n", "--check")[0], 0)


def record(**scenarios):
    """A record with the p99 of each scenario's runs."""
    made = lambda p99: {"contestants": {quotes.SERVICE: {"runs": len(p99), "p99_us": p99}}}
    return {"scenarios": {name: made(p99) for name, p99 in scenarios.items()}}


class Differences(unittest.TestCase):
    KNOWN = {quotes.POOLED: [1400.0, 1500.0, 1900.0], quotes.NAMED: [900.0, 1000.0]}

    def test_a_difference_keeps_its_sign_and_its_spread(self):
        more = lambda ours, theirs: quotes.more({"p99_us": ours}, {"p99_us": theirs}, "p99_us")
        self.assertEqual(more([50.0, 60.0], [10.0, 20.0]), "+40 (+30 to +50)")
        self.assertEqual(more([10.0, 20.0], [50.0, 60.0]), "-40 (-50 to -30)")
        self.assertEqual(more([10.0, 30.0], [20.0, 40.0]), "-10 (-30 to +10), within the spread")

    def test_a_pooler_is_compared_with_the_same_statements_where_the_record_has_them(self):
        _, direct, statements, differ = quotes.pooler_runs(record(**self.KNOWN))
        self.assertEqual((direct["p99_us"], statements), ([900.0, 1000.0], "`named`"))
        self.assertIn("`unnamed` statements together", differ)
        _, direct, statements, differ = quotes.pooler_runs(record(**self.KNOWN, **{quotes.UNNAMED: [1200.0]}))
        self.assertEqual((direct["p99_us"], statements, differ), ([1200.0], "`unnamed`", "pgbouncer"))

    def test_what_is_measured_inside_a_region_counts_once(self):
        for more_runs in ({}, {quotes.UNNAMED: [1200.0]}):
            parts = quotes.inside_ms(record(**self.KNOWN, **more_runs))
            self.assertAlmostEqual(sum(value for *_, value, how in parts if how.startswith("measured")), 1.5)


if __name__ == "__main__":
    unittest.main()
