"""The chart's settings are the service's: same names, defaults and bounds. Chart and service have the same version."""

import json
import re
import unittest

import yaml

from support import CHART, NAME, ROOT, containers, limits, render

# Not values under `settings`: secrets, region and environment come from elsewhere.
ELSEWHERE = {
    "REGION", "ENVIRONMENT", "DATABASE_URL", "DATABASE_URL_FILE", "MIGRATE_DATABASE_URL", "MIGRATE_DATABASE_URL_FILE",
    "API_SECRET_KEY", "API_SECRET_KEY_FILE",
}


def documented():
    """Variable to (accepts, default) of docs/APPLICATION.md."""
    text = (ROOT / "docs/APPLICATION.md").read_text()
    table = text.split("<!-- settings:begin -->")[1].split("<!-- settings:end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): (row[1], row[2].strip("`")) for row in rows}


def camel(variable):
    first, *rest = variable.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


class Settings(unittest.TestCase):
    def test_every_setting_of_the_service_is_a_value_with_its_default_and_bounds(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
        bounds = schema()["properties"]["settings"]["properties"]
        variables = {name: row for name, row in documented().items() if name not in ELSEWHERE}
        self.assertEqual({camel(name) for name in variables}, set(values))
        for name, (accepts, default) in variables.items():
            with self.subTest(name):
                value, bound = values[camel(name)], bounds[camel(name)]
                numbers = re.fullmatch(r"(\d+) to (\d+)", accepts)
                if numbers and name != "PORT":
                    self.assertEqual((bound["minimum"], bound["maximum"]), tuple(map(int, numbers.groups())))
                if name != "DEFAULT_CURRENCY":
                    self.assertEqual(str(value).lower(), default)

    def test_every_setting_reaches_the_pods(self):
        data = render()[("ConfigMap", NAME)]["data"]
        self.assertEqual(set(data), set(documented()) - ELSEWHERE - {"PORT"} | {"REGION", "ENVIRONMENT"})
        changed = {"poolSize": 3, "waitersMax": 0, "logRequests": True, "drainMs": 14999, "listenAddress": "::"}
        data = render(settings=changed)[("ConfigMap", NAME)]["data"]
        self.assertEqual(
            [data[name] for name in ("POOL_SIZE", "WAITERS_MAX", "LOG_REQUESTS", "DRAIN_MS", "LISTEN_ADDRESS")],
            ["3", "0", "true", "14999", "::"],
        )

    def test_a_pod_that_starts_again_keeps_the_port_of_its_specification(self):
        (container,) = containers(render(settings={"port": 9090})[("Deployment", NAME)])
        self.assertIn({"name": "PORT", "value": "9090"}, container["env"])
        self.assertEqual(container["ports"][0]["containerPort"], 9090)

    def test_the_load_balancer_lets_go_of_connections_before_the_service_does(self):
        bound = schema()["properties"]["ingress"]["properties"]["idleTimeoutSeconds"]["maximum"]
        self.assertLess(bound * 1000, limits()["KEEP_ALIVE_MS"])

    def test_the_guard_knows_the_longest_request(self):
        bounds = limits()
        guards = (CHART / "templates/_guards.tpl").read_text()
        self.assertIn(
            f"addf {bounds['PROCESSING_MAX_MS']} $v.settings.paymentDeadlineMs {bounds['FINISH_MARGIN_MS']}",
            guards,
        )


class Schema(unittest.TestCase):
    def walk(self, one, path=""):
        yield path, one
        for name, below in one.get("properties", {}).items():
            yield from self.walk(below, f"{path}.{name}")
        if isinstance(one.get("items"), dict):
            yield from self.walk(one["items"], f"{path}[]")

    def test_every_value_has_a_type_bounds_and_a_description(self):
        whole = schema()
        places = [place for name, below in whole["properties"].items() for place in self.walk(below, name)]
        self.assertGreater(len(places), 100)
        for path, one in places:
            with self.subTest(path):
                if "$ref" in one:
                    one = {**whole["$defs"][one["$ref"].removeprefix("#/$defs/")], **one}
                self.assertTrue(one.get("description"), "no description")
                kinds = one["type"] if isinstance(one["type"], list) else [one["type"]]
                if {"integer", "number"} & set(kinds):
                    self.assertTrue({"minimum", "maximum"} <= set(one), "no bounds")
                if "string" in kinds:
                    self.assertTrue({"enum", "maxLength"} & set(one), "no bounds")
                if "array" in kinds:
                    self.assertIn("maxItems", one)
                if "object" in kinds:
                    self.assertTrue({"additionalProperties", "maxProperties"} & set(one), "no bounds")

    def test_every_value_is_in_the_schema_and_has_a_comment(self):
        def leaves(value, at=()):
            if isinstance(value, dict) and value and at not in {("scheduling", "nodeSelector")}:
                for key, below in value.items():
                    yield from leaves(below, (*at, key))
            else:
                yield at

        text = (CHART / "values.yaml").read_text()
        comments = text.count("# -- ")
        self.assertEqual(comments, len(list(leaves(yaml.safe_load(text)))))


class Versions(unittest.TestCase):
    def test_the_chart_and_the_service_have_one_version(self):
        cargo = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], cargo)


if __name__ == "__main__":
    unittest.main()
