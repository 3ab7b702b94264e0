"""What must agree: the project's kinds, the deployer's rights and the chart; the set and the stand-alone Applications;
the facts that the set reads and those that Terraform gives. scripts/argocd-check.sh runs it."""

import re
import unittest
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
SITES = ("spain", "mexico")
# Irregular plurals of kinds.
PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}


def documents(name):
    return [document for document in yaml.safe_load_all((HERE / name).read_text()) if document]


def plural(kind):
    return PLURALS.get(kind, kind.lower() + "s")


def group(api_version):
    return api_version.split("/")[0] if "/" in api_version else ""


def chart_kinds():
    """Group and kind of every object in the chart's templates, except the pod of `helm test`, which Argo CD skips."""
    kinds = set()
    for template in (ROOT / "chart/templates").glob("*.yaml"):
        text = template.read_text()
        kinds |= {(group(version), kind) for version, kind in re.findall(r"apiVersion: (\S+)\s+kind: (\w+)", text)}
    return kinds


def render(value, parameters):
    """Renders the part of Go's templates that the set uses: only fields. A missing field is an error, as in Argo CD."""
    if isinstance(value, dict):
        return {key: render(item, parameters) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, parameters) for item in value]
    if isinstance(value, str):
        return re.sub(r"\{\{ \.([\w.]+) \}\}", lambda match: lookup(parameters, match.group(1)), value)
    return value


def lookup(parameters, path):
    for key in path.split("."):
        parameters = parameters[key]
    return parameters


class Agreement(unittest.TestCase):
    def setUp(self):
        (self.project,) = documents("project.yaml")
        (self.set,) = documents("applicationset.yaml")
        self.rights = documents("rbac.yaml")
        outputs = (ROOT / "terraform/environments/shared/outputs.tf").read_text()
        block = outputs[outputs.index('output "facts"') : outputs.index('output "nat_addresses"')]
        self.facts = set(re.findall(r"^    (\w+) +=", block, re.MULTILINE))

    def application(self, site):
        facts = {fact: f"<{fact}>" for fact in self.facts | {"git_revision"}}
        return render(self.set["spec"]["template"], {"name": site, "metadata": {"annotations": facts}})

    def test_the_project_allows_what_the_chart_renders_and_nothing_else(self):
        allowed = {(entry["group"], entry["kind"]) for entry in self.project["spec"]["namespaceResourceWhitelist"]}
        self.assertEqual(allowed, chart_kinds())
        self.assertEqual(self.project["spec"]["clusterResourceWhitelist"], [{"group": "", "kind": "Namespace"}])

    def test_the_project_is_for_one_namespace_of_the_two_regions(self):
        destinations = {(entry["name"], entry["namespace"]) for entry in self.project["spec"]["destinations"]}
        self.assertEqual(destinations, {(site, "payment-latency-api") for site in SITES})
        self.assertEqual(self.project["spec"]["sourceRepos"], [])

    def test_the_deployer_manages_what_the_project_allows_and_nothing_else(self):
        (role,) = [document for document in self.rights if document["kind"] == "Role"]
        managed = {
            (api, resource)
            for rule in role["rules"]
            if "create" in rule["verbs"]
            for api in rule["apiGroups"]
            for resource in rule["resources"]
        }
        allowed = {(entry["group"], plural(entry["kind"])) for entry in self.project["spec"]["namespaceResourceWhitelist"]}
        self.assertEqual(managed, allowed)
        self.assertEqual(role["metadata"]["namespace"], "payment-latency-api")

    def test_the_deployer_has_no_wildcard_and_reads_no_secret(self):
        for document in self.rights:
            for rule in document.get("rules", []):
                for field in ("apiGroups", "resources", "verbs"):
                    self.assertNotIn("*", rule[field])
                self.assertNotIn("secrets", rule["resources"])
                self.assertFalse({"escalate", "bind", "impersonate"} & set(rule["verbs"]))

    def test_of_the_whole_cluster_the_deployer_gets_namespaces_alone(self):
        (role,) = [document for document in self.rights if document["kind"] == "ClusterRole"]
        self.assertEqual(
            role["rules"],
            [
                {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch", "create"]},
                {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["payment-latency-api"], "verbs": ["patch"]},
            ],
        )

    def test_the_group_is_the_one_of_terraforms_access_entry(self):
        default = re.search(r'"deployer_group".*?default += "([^"]+)"', (ROOT / "terraform/modules/eks/variables.tf").read_text(), re.DOTALL)
        groups = {subject["name"] for document in self.rights for subject in document.get("subjects", [])}
        self.assertEqual(groups, {default.group(1)})

    def test_the_version_that_runs_is_the_one_whose_controllers_are_tried(self):
        tried = re.search(r"ARGO_CD_VERSION=(\S+)", (ROOT / "scripts/cluster/versions.sh").read_text())
        self.assertEqual(yaml.safe_load((HERE / "values.yaml").read_text())["global"]["image"]["tag"], f"v{tried[1]}")

    def test_every_fact_that_the_set_reads_is_given(self):
        for site in SITES:
            self.application(site)  # a missing one is a KeyError

    def test_the_set_and_the_stand_alone_applications_say_the_same(self):
        for site in SITES:
            (alone,) = documents(f"application-{site}.yaml")
            made = self.application(site)
            self.assertEqual(made["metadata"]["name"], alone["metadata"]["name"])
            self.assertEqual(made["metadata"]["finalizers"], alone["metadata"]["finalizers"])
            for source in (made["spec"]["source"], alone["spec"]["source"]):
                source["helm"].pop("valuesObject", None)
                del source["repoURL"], source["targetRevision"]
            self.assertEqual(made["spec"], alone["spec"])

    def test_the_command_for_one_region_gives_what_the_set_gives(self):
        def paths(given, path=""):
            for key, value in given.items():
                yield from paths(value, f"{path}{key}.") if isinstance(value, dict) else [path + key]

        given = set(re.findall(r"--helm-set ([\w.]+)=", (HERE / "README.md").read_text()))
        self.assertEqual(given, set(paths(self.application("spain")["spec"]["source"]["helm"]["valuesObject"])))

    def test_values_files_exist_and_the_release_names_the_image_alone(self):
        for site in SITES:
            for file in self.application(site)["spec"]["source"]["helm"]["valueFiles"]:
                self.assertTrue((ROOT / "chart" / file).resolve().is_file(), file)
            self.assertEqual(list(documents(f"releases/{site}.yaml")[0]), ["image"])
            self.assertEqual(list(documents(f"releases/{site}.yaml")[0]["image"]), ["digest"])

    def test_values_that_the_set_gives_are_the_charts(self):
        defaults = yaml.safe_load((ROOT / "chart/values.yaml").read_text())

        def known(given, chart, path):
            for key, value in given.items():
                self.assertIn(key, chart, path)
                if isinstance(value, dict):
                    known(value, chart[key], f"{path}.{key}")

        known(self.application("spain")["spec"]["source"]["helm"]["valuesObject"], defaults, "")

    def test_the_namespace_has_the_same_labels_whoever_makes_it(self):
        (namespace,) = [document for document in self.rights if document["kind"] == "Namespace"]
        policy = self.set["spec"]["template"]["spec"]["syncPolicy"]
        self.assertEqual(namespace["metadata"]["labels"], policy["managedNamespaceMetadata"]["labels"])
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")

    def test_syncs_are_automatic_heal_and_try_again(self):
        policy = self.set["spec"]["template"]["spec"]["syncPolicy"]
        self.assertEqual(policy["automated"], {"prune": True, "selfHeal": True, "allowEmpty": False})
        self.assertIn("ServerSideApply=true", policy["syncOptions"])
        self.assertGreater(policy["retry"]["limit"], 0)
        self.assertNotIn("ignoreDifferences", self.set["spec"]["template"]["spec"])
        self.assertEqual(self.set["spec"]["goTemplateOptions"], ["missingkey=error"])


if __name__ == "__main__":
    unittest.main()
