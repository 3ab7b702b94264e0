"""Both regions on a real control plane. `make chart-e2e` starts it and runs these tests in the order of their names."""

import concurrent.futures
import datetime
import itertools
import json
import os
import pathlib
import re
import subprocess
import unittest
import urllib.parse
import urllib.request

import yaml

from cluster import (
    AWS, FOLDER, Container, Failed, Release, SecretsManager, Service, Watch, apply, can, command_output, dashboard, end, eventually, evict,
    external_secrets, free_port, get, kubectl, postgres, prometheus, secret,
)
from support import CHART, HELM, NAME, REGIONS, ROOT, pod_spec

PORT = free_port()
# Spain is installed as an operator types it, and External Secrets has an identity of its own. Mexico has static
# credentials, the CA of the test's database, pruning and short intervals.
INTERVAL_S = 5
SPAIN = Release("spain")
MEXICO = Release("mexico", "--set", ",".join([
    "externalSecrets.staticCredentials.secretName=aws", f"externalSecrets.databaseRefreshInterval={INTERVAL_S}s",
    "database.caConfigMap=authority", f"settings.port={PORT}", "prune.enabled=true",
    "monitoring.scrapeInterval=1s", "monitoring.scrapeTimeout=1s"]))
BOTH = (SPAIN, MEXICO)
DEV = pathlib.Path(os.environ["PAYMENTS_DEV"])
KEY = "the-first-key-of-the-test"
# A password may contain any character.
PASSWORD = "a b+c%d/e:f@g?h#i&j='k\"l"
SETTLED = {}


def login(password):
    return {"host": "localhost", "port": (DEV / "port").read_text().strip(), "dbname": "payments",
            "username": "payments_api", "password": password}


def setUpModule():
    manager = SETTLED["manager"] = SecretsManager()
    owner = (DEV / "secrets/owner_password").read_text().strip()
    for region in REGIONS.values():
        manager.put(region, f"{NAME}/production/api-key", KEY)
        manager.put(region, f"{NAME}/production/database", login(PASSWORD))
        manager.put(region, f"{NAME}/production/database-owner", {**login(owner), "username": "payments_owner"})
    external_secrets(manager.url)
    for release in BOTH:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.namespace, "labels": labels}})
        hard = {"requests.cpu": "4", "requests.memory": "2Gi", "limits.memory": "2Gi", "pods": "16"}
        apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard}}, release.namespace)
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aws"}, "stringData": {
        "access-key-id": AWS["AWS_ACCESS_KEY_ID"], "secret-access-key": AWS["AWS_SECRET_ACCESS_KEY"]}}, MEXICO.namespace)
    authority = (DEV / "secrets/ca.crt").read_text()
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"}, "data": {"ca.pem": authority}}, MEXICO.namespace)


def rendered(release):
    """The objects of the release's templates, including hooks, by kind and name."""
    text = command_output(
        [HELM, "template", NAME, str(CHART), "--namespace", release.namespace, "-f", str(CHART / f"values-{release.region}.yaml"),
         "--kube-version", os.environ["KUBERNETES_VERSION"], *release.values])
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}


def manifest(release):
    """The release's objects as Helm keeps them, each with the API server's object."""
    wanted = [one for one in yaml.safe_load_all(release.helm("get", "manifest", NAME)) if one]
    assert len(wanted) > 14, wanted
    return [(one, release.get(one["kind"], one["metadata"]["name"])) for one in wanted]


def at_once(act):
    """Does the same for both regions in parallel."""
    with concurrent.futures.ThreadPoolExecutor(len(BOTH)) as pool:
        for done in [pool.submit(act, release) for release in BOTH]:
            done.result()


def refreshed(name, namespace):
    """When External Secrets last fetched it, in whole seconds, by its own clock."""
    return datetime.datetime.fromisoformat(get("externalsecret", name, namespace=namespace)["status"]["refreshTime"])


def secrets_of_pods():
    """The UIDs of the Secrets that pods use: one that is deleted and created again has another."""
    return [release.get("secret", f"{NAME}-{name}")["metadata"]["uid"] for release in BOTH for name in ("database", "api-key")]


def pay(key=KEY, query=""):
    status, body = SETTLED["service"].ask(f"/api/payment/simulate{query}", key)
    return status, json.loads(body)


class Chart(unittest.TestCase):
    maxDiff = None

    # --- What comes first: the migration's own account, store and secret -------------------------------------------

    def test_010_the_migration_gets_its_secret_before_anything_else_exists_and_migrates(self):
        objects = rendered(MEXICO)
        name = f"{NAME}-migrate"
        for kind in ("ServiceAccount", "SecretStore", "ExternalSecret"):
            apply(objects[(kind, name)], MEXICO.namespace)
        eventually("the owner's secret exists", lambda: secret(name, MEXICO.namespace))
        job = Container(pod_spec(objects[("Job", name)]), MEXICO.namespace)
        for _ in range(2):
            done = job.run()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(postgres("SELECT count(*) FROM payments"), "0")
        for kind in ("ExternalSecret", "SecretStore", "ServiceAccount"):
            kubectl("delete", kind, name, namespace=MEXICO.namespace)
        eventually("the owner's secret is removed with what made it", lambda: name not in [
            one["metadata"]["name"] for one in MEXICO.get("secrets")["items"]])

    # --- Install ---------------------------------------------------------------------------------------------------

    def test_020_both_regions_are_installed_at_once(self):
        def install(release):
            release.apply("upgrade", "--install")
            release.rolled_out()

        at_once(install)

    def test_030_the_migrations_objects_are_gone_once_it_has_succeeded(self):
        for release in BOTH:
            for kind in ("job", "externalsecret", "secretstore", "networkpolicy", "serviceaccount", "secret"):
                eventually(f"no {kind} of the migration is left", lambda kind=kind, release=release: f"{NAME}-migrate" not in [
                    one["metadata"]["name"] for one in release.get(kind)["items"]])

    def test_040_pods_run_on_application_nodes_of_three_zones(self):
        nodes = {one["metadata"]["name"]: one["metadata"]["labels"] for one in get("nodes")["items"]}
        for release in BOTH:
            labels = [nodes[one["spec"]["nodeName"]] for one in release.pods()]
            self.assertEqual(len({one["topology.kubernetes.io/zone"] for one in labels}), 3)
            self.assertEqual({one["workload"] for one in labels}, {"application"})

    def test_050_the_namespace_refuses_pods_that_ask_for_more(self):
        pod = rendered(SPAIN)[("Pod", f"{NAME}-test")]
        pod["metadata"] = {"name": "privileged"}
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        with self.assertRaises(subprocess.CalledProcessError) as refused:
            apply(pod, SPAIN.namespace)
        self.assertIn('violates PodSecurity "restricted', refused.exception.stderr)

    def test_060_the_accounts_may_do_nothing(self):
        for release in BOTH:
            self.assertFalse([one for kind in ("roles", "rolebindings") for one in release.get(kind)["items"]])
            for verb, what in [("get", "secrets"), ("list", "pods"), ("create", "pods"), ("get", "configmaps")]:
                self.assertFalse(can(verb, what, NAME, release.namespace))

    def test_065_argo_cd_in_mexico_may_not_say_what_pods_may_do(self):
        kubectl("apply", "--server-side", "--filename", ROOT / "argocd/rbac.yaml")

        def is_refused(label):
            try:
                kubectl("label", "namespace", "payment-latency-api", "--overwrite", label,
                        "--as", "argocd", "--as-group", "payment-latency-api:deployers")  # fmt: skip
            except Failed as failed:
                return "may not change what pods of a namespace may do" in str(failed)
            return False

        versions = itertools.count(1)
        eventually("the policy is in force", lambda: is_refused(f"pod-security.kubernetes.io/warn-version=v1.{next(versions)}"))
        for label in ("enforce=privileged", "enforce-", "enforce-version=v1.1"):
            self.assertTrue(is_refused(f"pod-security.kubernetes.io/{label}"), label)
        self.assertFalse(is_refused("team=payments"))
        kubectl("delete", "--filename", ROOT / "argocd/rbac.yaml", "--wait=false")

    def test_070_the_quota_counts_every_pod(self):
        for release in BOTH:
            used = release.get("resourcequota", "quota")["status"]["used"]
            self.assertEqual((used["requests.cpu"], used["limits.memory"]), ("750m", "768Mi"))

    def test_080_every_object_is_what_the_chart_wrote(self):
        def differences(wanted, found, at):
            if isinstance(wanted, dict):
                if not isinstance(found, dict):
                    return [at]
                return [path for key, value in wanted.items() for path in differences(value, found.get(key), f"{at}.{key}")]
            if isinstance(wanted, list):
                if not isinstance(found, list) or len(wanted) != len(found):
                    return [at]
                return [path for i, (one, other) in enumerate(zip(wanted, found)) for path in differences(one, other, f"{at}[{i}]")]
            return [] if wanted == found else [f"{at}: {wanted!r} became {found!r}"]

        for release in BOTH:
            for one, found in manifest(release):
                self.assertEqual(differences(one, found, f"{one['kind']}/{one['metadata']['name']}"), [])

    # --- Secrets, and the service with exactly what its pod has -----------------------------------------------------

    def test_110_secrets_arrive_as_the_service_reads_them(self):
        for release in BOTH:
            url = eventually("the database's secret", lambda release=release: secret(f"{NAME}-database", release.namespace))["database_url"]
            parts = urllib.parse.urlsplit(url)
            self.assertEqual((parts.username, urllib.parse.unquote(parts.password)), ("payments_api", PASSWORD))
            self.assertEqual((parts.hostname, parts.path), ("localhost", "/payments"))
            self.assertTrue(parts.query.startswith("sslmode=verify-full"))
            self.assertEqual(secret(f"{NAME}-api-key", release.namespace)["api_key"], KEY)

    def test_120_the_service_answers_a_payment_with_what_its_pod_has(self):
        pod = pod_spec(MEXICO.get("deployment", NAME))
        # On the test's machine it listens only on loopback.
        container = SETTLED["container"] = Container(pod, MEXICO.namespace, {"LISTEN_ADDRESS": "127.0.0.1"})
        SETTLED["process"] = container.start("service")
        service = SETTLED["service"] = Service(PORT)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = pod["containers"][0][probe]["httpGet"]["path"]
            eventually(f"{probe} is answered", lambda path=path: service.ask(path)[0] == 200)
        status, body = pay()
        self.assertEqual((status, body["region"], body["currency"]), (200, "us-east-1", "MXN"))
        self.assertEqual(postgres("SELECT count(*) FROM payments"), "1")
        self.assertEqual(json.loads(service.ask("/info")[1])["environment"], "production")

    def test_130_a_rotated_password_arrives_and_costs_nothing(self):
        fresh = "another one: %41+"
        name, place = f"{NAME}-database", MEXICO.namespace
        # Right after a fetch, so that the next fetch brings the new secret.
        former = refreshed(name, place)
        former = eventually("a fetch", lambda: (now := refreshed(name, place)) > former and now)
        SETTLED["manager"].put("us-east-1", f"{NAME}/production/database", login(fresh))
        postgres(f"ALTER ROLE payments_api PASSWORD '{fresh}'")
        eventually("the Secret has the new password", lambda: urllib.parse.quote(fresh, safe="") in secret(name, place)["database_url"])
        next_one = eventually("the fetch is recorded", lambda: (now := refreshed(name, place)) > former and now)
        waited = (next_one - former).total_seconds()
        # Not before the interval, so nothing else brought it. How long after depends on the machine.
        self.assertGreaterEqual(waited, INTERVAL_S)
        SETTLED["container"].mount()
        postgres("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'payments_api'")
        eventually("a payment by a new connection", lambda: pay()[0] == 200)
        self.assertEqual(json.loads(SETTLED["service"].ask("/health")[1])["database"], "connected")

    def test_140_a_rotated_key_arrives_beside_the_old_one(self):
        both = f"the-second-key-of-the-test,{KEY}"
        SETTLED["manager"].put("us-east-1", f"{NAME}/production/api-key", both)
        kubectl("annotate", "externalsecret", f"{NAME}-api-key", "force-sync=1", namespace=MEXICO.namespace)
        eventually("the Secret has both", lambda: secret(f"{NAME}-api-key", MEXICO.namespace)["api_key"] == both)
        SETTLED["container"].mount()
        eventually("the new key pays", lambda: pay("the-second-key-of-the-test")[0] == 200)
        self.assertEqual(pay()[0], 200)

    def test_150_secrets_as_variables_serve_as_well(self):
        release = Release("mexico", *MEXICO.values, "--set", "secrets.mode=variables")
        pod = pod_spec(rendered(release)[("Deployment", NAME)])
        container = Container(pod, MEXICO.namespace)
        done = container.run(["check-config"])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("another one", done.stdout)

    def test_160_helm_test_passes_and_its_command_is_right(self):
        for release in BOTH:
            release.helm("test", NAME, "--timeout", "60s")
        pod = rendered(MEXICO)[("Pod", f"{NAME}-test")]["spec"]
        probe = Container(pod, MEXICO.namespace)
        arguments = [one.replace(f"{NAME}.{MEXICO.namespace}.svc:80", f"127.0.0.1:{PORT}") for one in pod["containers"][0]["args"]]
        self.assertNotEqual(arguments, pod["containers"][0]["args"])
        self.assertEqual(probe.run(arguments).returncode, 0)
        arguments[-1] = arguments[-1].replace("/health", "/absent")
        self.assertNotEqual(probe.run(arguments).returncode, 0)

    def test_170_pruning_runs_as_the_owner(self):
        eventually("the prune secret", lambda: secret(f"{NAME}-prune", MEXICO.namespace))
        # The time is in the id, too, which the last digits keep apart.
        postgres("UPDATE payments SET created_at = now() - interval '91 days', transaction_id = "
                 "('01900000' || substr(transaction_id::text, 9))::uuid WHERE transaction_id = "
                 "(SELECT transaction_id FROM payments LIMIT 1)")
        before = int(postgres("SELECT count(*) FROM payments"))
        done = Container(pod_spec(MEXICO.get("cronjob", f"{NAME}-prune")), MEXICO.namespace).run()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(int(postgres("SELECT count(*) FROM payments")), before - 1)

    def test_180_prometheus_scrapes_what_the_monitor_says_and_the_dashboard_shows_it(self):
        monitor = MEXICO.get("servicemonitor", NAME)["spec"]
        service = MEXICO.get("service", NAME)
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        endpoint = monitor["endpoints"][0]
        self.assertIn(endpoint["port"], [port["name"] for port in service["spec"]["ports"]])
        # The labels that the Prometheus operator gives a target, then the monitor's relabelling.
        target = {"namespace": MEXICO.namespace, "service": NAME, "job": NAME, "endpoint": endpoint["port"],
                  "pod": f"{NAME}-0", "container": "api"}
        renamed = {"targetLabel": "target_label", "sourceLabels": "source_labels"}
        scrape = {
            "job_name": NAME, "scrape_interval": endpoint["interval"], "scrape_timeout": endpoint["scrapeTimeout"],
            "metrics_path": endpoint["path"], "scheme": endpoint["scheme"], "honor_labels": endpoint["honorLabels"],
            "static_configs": [{"targets": [f"127.0.0.1:{PORT}"], "labels": target}],
            "relabel_configs": [{renamed.get(key, key): value for key, value in one.items()} for one in endpoint["relabelings"]]}
        rules = {"groups": MEXICO.get("prometheusrule", NAME)["spec"]["groups"]}
        address = prometheus(scrape, rules, FOLDER / "prometheus")

        def ask(path, **parameters):
            url = f"{address}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
            return json.load(urllib.request.urlopen(url, timeout=10))["data"]

        def query(expression):
            return ask("query", query=expression)["result"]

        series = f'namespace="{MEXICO.namespace}",service="{NAME}",region="us-east-1"'
        eventually("a scrape", lambda: query(f'http_requests_total{{{series},endpoint="/api/payment/simulate",status="200"}}'))
        self.assertEqual(query('http_requests_total{endpoint="http"}'), [])
        expressions = [(panel["title"], one["expr"]) for panel in dashboard()["panels"] for one in panel.get("targets", [])]
        self.assertGreater(len(expressions), 30)
        empty = dict.fromkeys(expressions)
        for variable, value in [("$__rate_interval", "10s"), ("$namespace", ".*"), ("$service", ".*"), ("$region", ".*")]:
            empty = {(title, one.replace(variable, value)): None for title, one in empty}

        def all_shown():
            pay()
            for one in list(empty):
                if query(one[1]):
                    del empty[one]
            self.assertEqual(list(empty), [])
            return True

        eventually("data for every panel", all_shown)

        def all_evaluated():
            health = {rule["name"]: rule["health"] for group in ask("rules")["groups"] for rule in group["rules"]}
            self.assertEqual(set(health.values()), {"ok"}, health)
            return True

        eventually("every rule is evaluated", all_evaluated)

        # test_alerts.py compares the metrics that the alerts' pages name; here they are asked.
        asked = [(page.name, one) for page in sorted((ROOT / "docs/alerts").glob("*.md"))
                 for one in re.findall(r"^ask '([^']+)'", page.read_text(), re.MULTILINE)]
        self.assertGreater(len(asked), 40)
        labels = set(ask("labels"))
        for page, expression in asked:
            with self.subTest(page=page, query=expression):
                query(expression)
                if "kube_" not in expression:
                    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
                    self.assertLessEqual({label for names in grouped for label in names.split(", ")}, labels)

    def test_190_a_drain_is_no_failure(self):
        self.assertEqual(end(SETTLED["process"]), 0)

    # --- Upgrade, drain, roll back, uninstall ------------------------------------------------------------------------

    def test_210_an_upgrade_never_has_fewer_ready_pods_than_asked(self):
        def upgrade(release):
            release.apply("upgrade", "--set", "settings.waitersMax=300")
            release.rolled_out()

        SETTLED["secrets"] = secrets_of_pods()
        with Watch(*BOTH) as watch:
            at_once(upgrade)
        self.assertGreater(watch.looks, 3)
        self.assertEqual(watch.least, {"spain": 3, "mexico": 3})
        for release in BOTH:
            self.assertEqual(release.get("configmap", NAME)["data"]["WAITERS_MAX"], "300")

    def test_220_an_upgrade_deletes_no_secret_that_pods_use(self):
        self.assertEqual(secrets_of_pods(), SETTLED["secrets"])

    def test_230_of_two_evictions_the_second_is_refused(self):
        eventually("a pod may be disrupted", lambda: SPAIN.get("pdb", NAME)["status"]["disruptionsAllowed"] == 1)
        # A new pod would free the budget again, so there is no node for one for now.
        application = ("--selector", "workload=application")
        kubectl("cordon", *application)
        names = [one["metadata"]["name"] for one in SPAIN.ready()]
        # 429 is the API server's answer if a disruption budget forbids the eviction.
        self.assertEqual(evict(SPAIN.namespace, names[:2]), [201, 429])
        kubectl("uncordon", *application)
        SPAIN.rolled_out()

    def test_240_a_drain_of_each_node_in_turn_leaves_all_pods_but_one(self):
        nodes = [one["metadata"]["name"] for one in get("nodes", "--selector", "workload=application")["items"]]
        self.assertEqual(len(nodes), 6)
        with Watch(*BOTH) as watch:
            for node in nodes:
                kubectl("drain", node, "--timeout", "60s")
                self.assertEqual([one for one in get("pods", "--all-namespaces", "--field-selector", f"spec.nodeName={node}")["items"]
                                  if "deletionTimestamp" not in one["metadata"]], [])
                for release in BOTH:
                    release.rolled_out()
                kubectl("uncordon", node)
        self.assertGreater(watch.looks, 6)
        self.assertGreaterEqual(min(watch.least.values()), 2)

    def test_250_a_rollback_brings_the_former_settings_back(self):
        def roll_back(release):
            release.helm("rollback", NAME)
            release.rolled_out()
            self.assertEqual(release.get("configmap", NAME)["data"]["WAITERS_MAX"], "1024")

        at_once(roll_back)

    def test_260_the_account_logs_in_by_web_identity(self):
        role = "arn:aws:iam::111122223333:role/payments"
        SPAIN.apply("upgrade", "--set", f"serviceAccount.roleArn={role},migration.roleArn={role}")
        auth = SPAIN.get("secretstore", NAME)["spec"]["provider"]["aws"]["auth"]
        self.assertEqual(auth, {"jwt": {"serviceAccountRef": {"name": NAME}}})
        changed = "a-key-read-by-web-identity"
        SETTLED["manager"].put("eu-south-2", f"{NAME}/production/api-key", changed)
        kubectl("annotate", "externalsecret", f"{NAME}-api-key", "force-sync=2", namespace=SPAIN.namespace)
        eventually("the key read by web identity", lambda: secret(f"{NAME}-api-key", SPAIN.namespace)["api_key"] == changed)
        print("web identity: moto answered AssumeRoleWithWebIdentity, and the secret came by it", flush=True)

    def test_265_another_manager_applies_the_same_twice_and_changes_nothing(self):
        for release in BOTH:
            text = release.helm("get", "manifest", NAME)
            before = manifest(release)
            manager = ("--server-side", "--force-conflicts", "--field-manager", "argocd-controller", "--filename", "-")
            for _ in range(2):
                kubectl("apply", *manager, namespace=release.namespace, given=text)
            for (_, old), (_, new) in zip(before, manifest(release)):
                self.assertEqual(old["metadata"].get("generation"), new["metadata"].get("generation"))
                self.assertEqual(old.get("spec", old.get("data")), new.get("spec", new.get("data")))
            kubectl("diff", *manager, namespace=release.namespace, given=text)

    def test_270_an_uninstall_leaves_nothing_and_the_other_region_alone(self):
        SPAIN.helm("uninstall", NAME, "--wait")
        kinds = ("deployments,replicasets,pods,services,configmaps,secrets,serviceaccounts,ingresses,networkpolicies,hpa,pdb,jobs,"
                 "externalsecrets,secretstores,servicemonitors,prometheusrules")

        def left():
            return [f"{one['kind']}/{one['metadata']['name']}" for one in SPAIN.get(kinds)["items"]
                    if one["metadata"]["name"] not in ("kube-root-ca.crt", "default")]

        eventually("nothing is left", lambda: self.assertEqual(left(), []) is None)
        self.assertEqual(len(MEXICO.ready()), 3)
        self.assertIn("payments_api", secret(f"{NAME}-database", MEXICO.namespace)["database_url"])

    def test_280_both_regions_are_uninstalled_at_once_one_of_them_installed_anew(self):
        SPAIN.apply("install")
        at_once(lambda release: release.helm("uninstall", NAME, "--wait"))
        for release in BOTH:
            self.assertEqual(release.get("deployments,services,ingresses,externalsecrets,cronjobs,hpa,pdb")["items"], [])


if __name__ == "__main__":
    unittest.main()
