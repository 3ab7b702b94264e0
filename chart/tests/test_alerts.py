"""Tests the alerts with promtool: each fires when it must, is silent when it must, and links to its page."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from support import NAME, REGIONS, ROOT, TESTS, render

PROMTOOL = os.environ["PROMTOOL_BIN"]
CASES = TESTS / "alerts"


def groups(region="spain", **values):
    return {"groups": render(region, **values)[("PrometheusRule", NAME)]["spec"]["groups"]}


def alerts():
    return {rule["alert"]: rule for group in groups()["groups"] for rule in group["rules"] if "alert" in rule}


def expressions():
    """The expressions of the rules and of the dashboard."""
    dashboard = json.loads((ROOT / "chart/dashboards/payment-latency-api.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [one["expr"] for one in [*(rule for group in groups()["groups"] for rule in group["rules"]), *targets]]


def queries():
    """(page, query) of the queries in the alerts' pages."""
    for path in sorted((ROOT / "docs/alerts").glob("*.md")):
        for query in re.findall(r"\bask '([^']+)'", path.read_text()):
            yield path.stem, query


def promtool(*arguments, folder):
    return subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)


class Alerts(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def test_promtool_accepts_the_rules_of_both_regions(self):
        for region in REGIONS:
            (self.folder / "rules.yaml").write_text(yaml.safe_dump(groups(region)))
            done = promtool("check", "rules", "rules.yaml", folder=self.folder)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_fires_when_it_must_and_only_then(self):
        (self.folder / "rules.yaml").write_text(yaml.safe_dump(groups()))
        for path in sorted(CASES.glob("*.yaml")):
            with self.subTest(path.stem):
                tests = yaml.safe_load(path.read_text())
                # Tests of several days are evaluated as rarely as they scrape, so that they do not take long.
                days = [test for test in tests if test["interval"] == "5m"]
                for every, some in (("1m", [test for test in tests if test not in days]), ("5m", days)):
                    case = {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": some}
                    (self.folder / "case.yaml").write_text(yaml.safe_dump(case))
                    done = promtool("test", "rules", "case.yaml", folder=self.folder)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_has_cases_of_both_kinds(self):
        self.assertEqual({path.stem for path in CASES.glob("*.yaml")}, set(alerts()))
        for path in CASES.glob("*.yaml"):
            with self.subTest(path.stem):
                tests = [one for test in yaml.safe_load(path.read_text()) for one in test["alert_rule_test"]]
                self.assertEqual({one["alertname"] for one in tests}, {path.stem})
                self.assertEqual({bool(one["exp_alerts"]) for one in tests}, {True, False})

    def test_each_alert_links_its_page(self):
        pages = ROOT / "docs/alerts"
        for name, rule in alerts().items():
            with self.subTest(name):
                self.assertTrue(rule["annotations"]["runbook_url"].endswith(f"/docs/alerts/{name}.md"))
                page = (pages / f"{name}.md").read_text()
                self.assertTrue(page.startswith(f"# {name}\n"))
                for heading in ("## What it means", "## Look", "## Do"):
                    self.assertIn(f"\n{heading}\n", page)
                self.assertIn(rule["labels"]["severity"], {"critical", "warning"})
        self.assertEqual({path.stem for path in pages.glob("Payment*.md")}, set(alerts()))

    def test_promtool_accepts_the_queries_of_each_page(self):
        self.assertEqual({page for page, _ in queries()} | {"PaymentPodsNotReady"}, set(alerts()))
        rules = [{"record": f"page:{number}", "expr": query} for number, (_, query) in enumerate(queries())]
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
        done = promtool("check", "rules", "rules.yaml", folder=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_dashboard_and_pages_use_only_metrics_that_exist(self):
        document = (ROOT / "docs/APPLICATION.md").read_text()
        of_deployments = {f"kube_deployment_{name}" for name in ("spec_replicas", *(f"status_{part}" for part in (
            "replicas_ready", "replicas_available", "condition")))}
        of_containers = {f"kube_pod_container_status_{name}" for name in ("restarts_total", "last_terminated_reason")}
        foreign = {"externalsecret_status_condition", "up", *of_deployments, *of_containers}
        named = {name for text in expressions() for name in re.findall(r"(?<![\w:])([a-z]+(?:_[a-z]+)+)(?=[\[{])", text)}
        named |= {name for _, query in queries() for name in re.findall(r"\b([a-z]+(?:_[a-z]+)+)(?=[\[{)])", query)}
        named -= foreign
        self.assertGreater(len(named), 20)
        for name in named:
            family = re.sub(r"_(bucket|count|sum)$", "", name)
            with self.subTest(name):
                self.assertTrue(f"`{name}`" in document or f"`{family}`" in document)

    def test_alerts_dashboard_and_pages_ask_only_for_values_of_labels_that_exist(self):
        """If a value were renamed in the service, an alert would stay silent."""
        document = (ROOT / "docs/APPLICATION.md").read_text()
        known = {name: row for row, name in re.findall(r"^(\| `(\w+)`.*)$", document, re.M)}
        texts = [*expressions(), *(query for _, query in queries())]
        asked = {
            (metric, value)
            for text in texts
            for metric, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", text) if metric in known
            for values in re.findall(r'(?:reason|step|state|outcome|secret)(?:=|!=|=~|!~)"([^"$]*)"', matchers)
            for value in values.split("|")
        }
        self.assertGreater(len(asked), 8)
        for metric, value in sorted(asked):
            with self.subTest(metric=metric, value=value):
                self.assertIn(f"`{value}`", known[metric])

    def test_goals_by_value_reach_the_rules(self):
        strict = str(groups(monitoring={"alerts": {"availabilityPercent": 99.99}}))
        self.assertIn("14.4 * 0.0001", strict)
        self.assertIn("14.4 * 0.001", str(groups()))

    def test_only_this_releases_external_secrets_are_looked_at(self):
        def looked_at(**values):
            expression = next(rule["expr"] for group in groups(**values)["groups"] for rule in group["rules"] if rule.get("alert") == "PaymentSecretStale")
            return {name for names in re.findall(r'name=~"([^"]*)"', expression) for name in names.split("|")}

        made = {key[1] for key in render(prune={"enabled": True}) if key[0] == "ExternalSecret"}
        self.assertEqual(looked_at(prune={"enabled": True}), made)
        self.assertIn(f"{NAME}-prune", made)
        given = {"existingDatabaseSecret": "given", "existingApiKeySecret": "given"}
        self.assertEqual(looked_at(externalSecrets={"enabled": False}, secrets=given, migration={"enabled": False}, prune={"enabled": False}), set())

    def test_at_the_lowest_goals_every_burn_alert_can_fire(self):
        lowest = str(groups(monitoring={"alerts": {"availabilityPercent": 94, "latencyPercent": 94}}))
        thresholds = [float(times) * float(share) for times, share in re.findall(r"> ([0-9.]+) \* ([0-9.]+)", lowest)]
        self.assertEqual(len(thresholds), 18)
        self.assertLess(max(thresholds), 1)


if __name__ == "__main__":
    unittest.main()
