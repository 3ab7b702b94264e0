"""What each template renders, for which values."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

from support import (
    CHART, HELM, KUBE_VERSION, NAME, REGIONS, Loader, containers, helm_template, limits, notes, pod_spec, pod_template,
    render)

MIGRATE = f"{NAME}-migrate"


class Names(unittest.TestCase):
    def test_each_kind_is_there_once_under_its_agreed_name(self):
        expected = {
            ("ConfigMap", NAME), ("ConfigMap", f"{NAME}-dashboard"), ("Deployment", NAME),
            ("ExternalSecret", f"{NAME}-api-key"), ("ExternalSecret", f"{NAME}-database"), ("ExternalSecret", MIGRATE),
            ("HorizontalPodAutoscaler", NAME), ("Ingress", NAME), ("Job", MIGRATE), ("NetworkPolicy", NAME),
            ("NetworkPolicy", MIGRATE), ("NetworkPolicy", f"{NAME}-test"), ("Pod", f"{NAME}-test"), ("PodDisruptionBudget", NAME),
            ("PrometheusRule", NAME), ("SecretStore", NAME), ("SecretStore", MIGRATE), ("Service", NAME),
            ("ServiceAccount", NAME), ("ServiceAccount", MIGRATE), ("ServiceMonitor", NAME),
        }
        for region in REGIONS:
            with self.subTest(region):
                self.assertEqual(set(render(region)), expected)

    def test_nothing_is_rendered_that_its_switch_turns_off(self):
        for values, gone in [
            ({"autoscaling": {"enabled": False}}, {"HorizontalPodAutoscaler"}),
            ({"podDisruptionBudget": {"enabled": False}}, {"PodDisruptionBudget"}),
            ({"ingress": {"enabled": False}}, {"Ingress"}),
            ({"networkPolicy": {"enabled": False}}, {"NetworkPolicy"}),
            ({"monitoring": {"enabled": False}}, {"ServiceMonitor", "PrometheusRule"}),
            ({"migration": {"enabled": False}}, {"Job"}),
            ({"test": {"enabled": False}}, {"Pod"}),
        ]:
            with self.subTest(str(values)):
                left = {kind for kind, _ in render(**values)}
                self.assertEqual({kind for kind, _ in render()} - left, gone)
        for monitoring in ({"enabled": False}, {"dashboard": {"enabled": False}}):
            self.assertNotIn(("ConfigMap", f"{NAME}-dashboard"), render(monitoring=monitoring))

    def test_there_is_no_rbac_and_no_secret(self):
        kinds = {kind for kind, _ in render(prune={"enabled": True})}
        self.assertFalse({kind for kind in kinds if "Role" in kind or kind == "Secret"})

    def test_a_long_release_name_leaves_room_for_every_suffix(self):
        names = [(kind, name) for kind, name in render(fullnameOverride="a" * 46, prune={"enabled": True})]
        # A CronJob's name may have 52 characters, a name that becomes a label 63.
        for kind, name in names:
            self.assertLessEqual(len(name), 52 if kind == "CronJob" else 63, f"{kind} {name}")

    def test_a_name_that_yaml_takes_for_a_number_or_a_truth_stays_a_name(self):
        def named(value, key=""):
            if isinstance(value, dict):
                for below, one in value.items():
                    yield from named(one, below)
            elif isinstance(value, list):
                for one in value:
                    yield from named(one, key)
            elif value is True or type(value) is int and value == 123:
                yield key, value

        done = helm_template(namespace="123", release="123", values={
            "nameOverride": "yes", "fullnameOverride": "payments", "image": {"pullSecrets": ["123"]},
            "database": {"caConfigMap": "123"}, "ingress": {"className": "123"}, "prune": {"enabled": True},
            "secrets": {"existingDatabaseSecret": "123", "existingApiKeySecret": "true"},
            "externalSecrets": {"databaseName": "123", "databaseOwnerName": "true", "staticCredentials": {
                "secretName": "123", "accessKeyIdKey": "123", "secretAccessKeyKey": "true"}},
            "networkPolicy": {"prometheusNamespace": "123", "dnsNamespace": "123"},
            "scheduling": {"priorityClassName": "123"}, "serviceAccount": {"name": "123"},
            "migration": {"serviceAccountName": "true"}})
        self.assertEqual(done.stderr, "")
        switches = {"readOnly", "readOnlyRootFilesystem", "runAsNonRoot", "honorLabels"}
        found = [one for one in named(list(yaml.safe_load_all(done.stdout))) if one[0] not in switches]
        self.assertEqual(found, [])

    def test_no_key_is_there_twice(self):
        with self.assertRaisesRegex(AssertionError, "appears twice"):
            yaml.load("annotations: {a: 1, b: 2, a: 3}", Loader)
        role = "arn:aws:iam::111122223333:role/payments"
        more = {"example.com/team": "payments"}
        for values in [
            {}, {"secrets": {"mode": "variables"}, "autoscaling": {"enabled": False}},
            {"commonLabels": {"a": "b"}, "podLabels": more, "podAnnotations": more, "prune": {"enabled": True},
             "serviceAccount": {"roleArn": role, "annotations": more}, "migration": {"roleArn": role},
             "monitoring": {"labels": more, "alerts": {"labels": {"team": "payments"}}}, "ingress": {"annotations": more},
             "image": {"pullSecrets": ["a"]}, "database": {"caConfigMap": "a"}, "scheduling": {"priorityClassName": "a"}},
        ]:
            for region in REGIONS:
                with self.subTest(region, values=values):
                    self.assertTrue(render(region, **values))

    def test_extra_manifests_are_templates(self):
        extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}, "data": {"r": "{{ .Values.region }}"}}
        self.assertEqual(render(extraManifests=[extra])[("ConfigMap", "more")]["data"], {"r": "eu-south-2"})


class Pods(unittest.TestCase):
    def everything(self):
        return render(prune={"enabled": True}).values()

    def test_every_pod_passes_the_restricted_level_and_more(self):
        seen = 0
        for one in self.everything():
            pod = pod_spec(one)
            if not pod:
                continue
            with self.subTest(one["kind"]):
                self.assertIs(pod["automountServiceAccountToken"], False)
                self.assertIs(pod["enableServiceLinks"], False)
                security = pod["securityContext"]
                self.assertEqual([security[k] for k in ("runAsUser", "runAsGroup", "fsGroup")], [65534] * 3)
                self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                for container in pod["containers"]:
                    seen += 1
                    security = container["securityContext"]
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["runAsNonRoot"], True)
                    resources = container["resources"]
                    self.assertEqual(resources["requests"]["memory"], resources["limits"]["memory"])
                    self.assertNotIn("cpu", resources["limits"])
        self.assertEqual(seen, 4)

    def test_no_container_gets_the_credentials_of_its_accounts_role(self):
        for one in self.everything():
            pod = pod_template(one)
            if pod:
                with self.subTest(one["kind"]):
                    skipped = pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"]
                    self.assertEqual(skipped.split(","), [container["name"] for container in pod["spec"]["containers"]])

    def test_every_pod_runs_on_application_nodes(self):
        for one in self.everything():
            pod = pod_spec(one)
            if pod:
                with self.subTest(one["kind"]):
                    self.assertEqual(pod["nodeSelector"], {"workload": "application"})
                    self.assertEqual(pod["tolerations"][0]["key"], "workload")

    def test_memory_has_room_for_the_services_buffers(self):
        bounds = limits()
        memory = int(containers(render()[("Deployment", NAME)])[0]["resources"]["limits"]["memory"].removesuffix("Mi"))
        # Idle connections cost about 1.2 KiB each (docs/PERFORMANCE.md); the process itself about 4 MiB.
        service = bounds["BUFFERED_MAX_BYTES"] + 4 * 2**20
        each = 1_229 + 4_096 + 8_192
        self.assertEqual(bounds["BUFFERED_MAX_BYTES"], 32 * 2**20)
        self.assertGreaterEqual(memory * 2**20, 2 * service + bounds["MAX_CONNECTIONS"] * each)

    def test_probes_ask_what_they_are_for(self):
        container = containers(render()[("Deployment", NAME)])[0]
        for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http", "scheme": "HTTP"}, probe)
        self.assertEqual(container["lifecycle"], {"preStop": {"sleep": {"seconds": 10}}})

    def test_a_release_with_autoscaling_says_nothing_of_replicas(self):
        self.assertNotIn("replicas", render()[("Deployment", NAME)]["spec"])
        fixed = render(autoscaling={"enabled": False}, replicaCount=2)
        self.assertEqual(fixed[("Deployment", NAME)]["spec"]["replicas"], 2)

    def test_a_rolling_update_never_has_fewer_pods(self):
        strategy = render()[("Deployment", NAME)]["spec"]["strategy"]
        self.assertEqual(strategy, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})

    def test_pods_are_spread_over_the_zones_that_have_nodes(self):
        zone, host = pod_spec(render()[("Deployment", NAME)])["topologySpreadConstraints"]
        self.assertEqual(
            (zone["topologyKey"], zone["maxSkew"], zone["whenUnsatisfiable"]),
            ("topology.kubernetes.io/zone", 1, "DoNotSchedule"),
        )
        self.assertNotIn("minDomains", zone)
        self.assertEqual((zone["nodeTaintsPolicy"], zone["nodeAffinityPolicy"]), ("Honor", "Honor"))
        self.assertEqual(host["whenUnsatisfiable"], "ScheduleAnyway")
        loose = pod_spec(render(scheduling={"spreadZones": False})[("Deployment", NAME)])
        self.assertEqual([one["topologyKey"] for one in loose["topologySpreadConstraints"]], ["kubernetes.io/hostname"])

    def test_a_new_version_of_the_chart_alone_restarts_no_pod(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(CHART, f"{folder}/chart")
            about = pathlib.Path(copy, "Chart.yaml")
            about.write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", about.read_text()))
            command = [HELM, "template", NAME, copy, "-f", f"{copy}/values-spain.yaml", "--namespace", NAME]
            done = subprocess.run([*command, "--kube-version", KUBE_VERSION], capture_output=True, text=True, check=True)
        newer = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout) if one}
        template = lambda objects: objects[("Deployment", NAME)]["spec"]["template"]
        chart = lambda objects: objects[("Deployment", NAME)]["metadata"]["labels"]["helm.sh/chart"]
        self.assertNotEqual(chart(newer), chart(render()))
        self.assertEqual(template(newer), template(render()))
        for one in self.everything():
            if pod_spec(one) and one["kind"] != "Pod":
                template = one["spec"].get("jobTemplate", one)["spec"]["template"]
                self.assertNotIn("helm.sh/chart", template["metadata"]["labels"], one["kind"])

    def test_only_what_is_read_at_start_restarts_pods(self):
        def checksum(**values):
            template = render(**values)[("Deployment", NAME)]["spec"]["template"]
            return template["metadata"]["annotations"]["checksum/config"]

        self.assertNotEqual(checksum(), checksum(settings={"waitersMax": 1}))
        self.assertEqual(checksum(), checksum(externalSecrets={"databaseName": "other"}))

    def test_an_image_is_named_by_digest_before_tag(self):
        digest = "sha256:" + "a" * 64
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        for image, expected in [
            ({}, f"{NAME}:{version}"),
            ({"tag": "9.9"}, f"{NAME}:9.9"),
            ({"registry": "r.example.com/p", "tag": "9.9"}, f"r.example.com/p/{NAME}:9.9"),
            ({"registry": "r.example.com", "tag": "9.9", "digest": digest}, f"r.example.com/{NAME}@{digest}"),
        ]:
            for one in render(image=image, prune={"enabled": True}).values():
                for container in containers(one):
                    self.assertEqual(container["image"], expected)


class Secrets(unittest.TestCase):
    def test_secrets_are_files_by_default(self):
        pod = pod_spec(render()[("Deployment", NAME)])
        container = pod["containers"][0]
        folder = container["volumeMounts"][0]["mountPath"]
        self.assertEqual(
            {one["name"]: one["value"] for one in container["env"]},
            {"PORT": "8080", "DATABASE_URL_FILE": f"{folder}/database_url", "API_SECRET_KEY_FILE": f"{folder}/api_key"},
        )
        sources = [one["secret"] for one in pod["volumes"][0]["projected"]["sources"]]
        self.assertEqual([one["name"] for one in sources], [f"{NAME}-database", f"{NAME}-api-key"])
        self.assertEqual([one["items"][0]["path"] for one in sources], ["database_url", "api_key"])

    def test_secrets_are_variables_by_choice(self):
        pod = pod_spec(render(secrets={"mode": "variables"})[("Deployment", NAME)])
        self.assertNotIn("volumes", pod)
        self.assertNotIn("volumeMounts", pod["containers"][0])
        references = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in pod["containers"][0]["env"] if "valueFrom" in one}
        self.assertEqual(
            references,
            {
                "DATABASE_URL": {"name": f"{NAME}-database", "key": "database_url"},
                "API_SECRET_KEY": {"name": f"{NAME}-api-key", "key": "api_key"},
            },
        )

    def test_secrets_made_by_other_means_take_their_place(self):
        objects = render(
            secrets={"existingDatabaseSecret": "db", "existingApiKeySecret": "key"},
            externalSecrets={"enabled": False}, migration={"enabled": False},
        )
        self.assertFalse([kind for kind, _ in objects if kind in ("ExternalSecret", "SecretStore")])
        sources = pod_spec(objects[("Deployment", NAME)])["volumes"][0]["projected"]["sources"]
        self.assertEqual([one["secret"]["name"] for one in sources], ["db", "key"])

    def test_every_field_that_the_operator_defaults_is_written_out(self):
        for (kind, name), one in render(prune={"enabled": True}).items():
            if kind != "ExternalSecret":
                continue
            with self.subTest(name):
                spec = one["spec"]
                self.assertEqual(spec["refreshPolicy"], "Periodic")
                self.assertEqual(spec["secretStoreRef"]["kind"], "SecretStore")
                self.assertEqual((spec["target"]["creationPolicy"], spec["target"]["deletionPolicy"]), ("Owner", "Retain"))
                for data in spec["data"]:
                    self.assertEqual(
                        {k: data["remoteRef"][k] for k in ("conversionStrategy", "decodingStrategy", "metadataPolicy")},
                        {"conversionStrategy": "Default", "decodingStrategy": "None", "metadataPolicy": "None"},
                    )
                if "template" in spec["target"]:
                    template = spec["target"]["template"]
                    self.assertEqual((template["engineVersion"], template["mergePolicy"]), ("v2", "Replace"))
                    for url in template["data"].values():
                        self.assertIn("?sslmode=verify-full", url)

    def test_what_nul_bytes_do_is_said_for_every_field_or_for_none(self):
        for policy in ("", "Ignore", "Fail"):
            with self.subTest(policy):
                objects = render(externalSecrets={"nullBytePolicy": policy}, prune={"enabled": True})
                said = [data["remoteRef"].get("nullBytePolicy", "") for (kind, _), one in objects.items()
                        if kind == "ExternalSecret" for data in one["spec"]["data"]]
                self.assertEqual(said, [policy] * 26)

    def test_refresh_intervals_are_as_the_api_server_writes_them(self):
        intervals = {name: one["spec"]["refreshInterval"] for (kind, name), one in render().items() if kind == "ExternalSecret"}
        self.assertEqual(intervals, {f"{NAME}-api-key": "1h0m0s", f"{NAME}-database": "1m0s", MIGRATE: "1m0s"})

    def test_secrets_are_named_by_the_environment(self):
        keys = {
            data["remoteRef"]["key"]
            for (kind, _), one in render(environment="staging").items() if kind == "ExternalSecret"
            for data in one["spec"]["data"]
        }
        prefix = "payment-latency-api/staging"
        self.assertEqual(keys, {f"{prefix}/api-key", f"{prefix}/database", f"{prefix}/database-owner"})

    def test_a_host_by_value_replaces_the_secrets(self):
        database = {"host": "db.example.com", "port": 6432, "name": "pay"}
        objects = render(database=database, networkPolicy={"databasePort": 6432})
        one = objects[("ExternalSecret", f"{NAME}-database")]
        self.assertIn("@db.example.com:6432/pay?", one["spec"]["target"]["template"]["data"]["database_url"])
        self.assertEqual([data["secretKey"] for data in one["spec"]["data"]], ["username", "password"])

    def test_the_owner_can_go_round_the_proxy(self):
        for owner_host, expected in [("", "proxy.example.com"), ("db.example.com", "db.example.com")]:
            objects = render(database={"host": "proxy.example.com", "ownerHost": owner_host}, prune={"enabled": True})
            for name in (MIGRATE, f"{NAME}-prune"):
                urls = objects[("ExternalSecret", name)]["spec"]["target"]["template"]["data"]
                self.assertIn("@proxy.example.com:5432/payments?", urls["database_url"])
                self.assertIn(f"@{expected}:5432/payments?", urls["migrate_database_url"])

    def test_an_authority_by_value_is_mounted_and_named_in_every_url(self):
        objects = render(database={"caConfigMap": "authority"}, prune={"enabled": True})
        path = "/run/payment-latency-api/ca"
        for (kind, name), one in objects.items():
            with self.subTest(f"{kind} {name}"):
                if kind == "ExternalSecret" and "template" in one["spec"]["target"]:
                    for url in one["spec"]["target"]["template"]["data"].values():
                        self.assertTrue(url.endswith(f"&sslrootcert={path}/ca.pem"), url)
                if kind in ("Deployment", "Job", "CronJob"):
                    mounts = [mount["mountPath"] for mount in containers(one)[0]["volumeMounts"]]
                    self.assertIn(path, mounts)

    def test_the_store_logs_in_as_it_is_told(self):
        role = "arn:aws:iam::111122223333:role/payments"
        for values, auth in [
            ({}, None),
            ({"serviceAccount": {"roleArn": role}}, {"jwt": {"serviceAccountRef": {"name": NAME}}}),
            (
                {"externalSecrets": {"staticCredentials": {"secretName": "aws"}}, "serviceAccount": {"roleArn": role}},
                {"secretRef": {
                    "accessKeyIDSecretRef": {"name": "aws", "key": "access-key-id"},
                    "secretAccessKeySecretRef": {"name": "aws", "key": "secret-access-key"},
                }},
            ),
        ]:
            with self.subTest(str(values)):
                objects = render(**values)
                aws = objects[("SecretStore", NAME)]["spec"]["provider"]["aws"]
                self.assertEqual((aws["service"], aws["region"], aws.get("auth")), ("SecretsManager", "eu-south-2", auth))
                annotations = objects[("ServiceAccount", NAME)]["metadata"].get("annotations", {})
                self.assertEqual(annotations.get("eks.amazonaws.com/role-arn"), role if "serviceAccount" in values else None)


    def test_an_account_that_exists_already_is_used_and_not_made(self):
        for name in ("payments", "default"):
            objects = render(serviceAccount={"create": False, "name": name})
            self.assertEqual({one for kind, one in objects if kind == "ServiceAccount"}, {MIGRATE})
            for key in [("Deployment", NAME), ("Pod", f"{NAME}-test")]:
                self.assertEqual(pod_spec(objects[key])["serviceAccountName"], name)


class Migration(unittest.TestCase):
    def hooks(self):
        return {key: one for key, one in render().items()
                if "helm.sh/hook" in one["metadata"].get("annotations", {}) and key[0] != "Pod"}

    def test_the_job_brings_all_that_it_needs_in_order(self):
        weights = [(int(one["metadata"]["annotations"]["helm.sh/hook-weight"]), kind) for (kind, _), one in self.hooks().items()]
        self.assertEqual([kind for _, kind in sorted(weights)],
                         ["NetworkPolicy", "ServiceAccount", "SecretStore", "ExternalSecret", "Job"])

    def test_helm_and_argo_cd_agree_on_the_order(self):
        for key, one in self.hooks().items():
            with self.subTest(str(key)):
                annotations = one["metadata"]["annotations"]
                self.assertEqual(annotations["helm.sh/hook"], "pre-install,pre-upgrade")
                self.assertEqual(annotations["argocd.argoproj.io/hook"], "PreSync")
                self.assertEqual(annotations["argocd.argoproj.io/sync-wave"], annotations["helm.sh/hook-weight"])

    def test_no_hook_is_anything_that_running_pods_need(self):
        self.assertEqual({name for _, name in self.hooks()}, {MIGRATE})
        deployment = str(pod_spec(render()[("Deployment", NAME)]))
        self.assertNotIn(MIGRATE, deployment)

    def test_the_job_needs_nothing_of_the_releases_other_objects(self):
        job = pod_spec(render()[("Job", MIGRATE)])
        self.assertEqual(job["serviceAccountName"], MIGRATE)
        self.assertEqual(job["volumes"][0]["secret"]["secretName"], MIGRATE)
        self.assertNotIn("envFrom", job["containers"][0])

    def test_a_migration_that_takes_too_long_fails_before_helm_gives_up(self):
        self.assertLess(render()[("Job", MIGRATE)]["spec"]["activeDeadlineSeconds"], 5 * 60)

    def test_pruning_acts_as_the_owner_through_a_secret_of_its_own(self):
        objects = render(prune={"enabled": True, "olderThan": "30d", "batch": 500})
        cron = objects[("CronJob", f"{NAME}-prune")]
        pod = pod_spec(cron)
        self.assertEqual(pod["containers"][0]["args"], ["prune", "--older-than", "30d", "--batch", "500"])
        self.assertEqual(pod["volumes"][0]["secret"]["secretName"], f"{NAME}-prune")
        self.assertNotIn("annotations", objects[("ExternalSecret", f"{NAME}-prune")]["metadata"])
        self.assertEqual(cron["spec"]["concurrencyPolicy"], "Forbid")


class Network(unittest.TestCase):
    def test_pods_accept_the_load_balancer_prometheus_and_the_test(self):
        policy = render()[("NetworkPolicy", NAME)]["spec"]
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        sources = policy["ingress"][0]["from"]
        public = [{"ipBlock": {"cidr": f"10.10.{third}.0/24"}} for third in (96, 97, 98)]
        self.assertEqual(sources[:3], public)
        self.assertEqual(
            sources[3], {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}})
        self.assertEqual(sources[4]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "test")
        self.assertEqual(policy["ingress"][0]["ports"], [{"port": "http", "protocol": "TCP"}])

    def test_pods_accept_callers_of_the_namespaces_that_are_named(self):
        policy = render(networkPolicy={"callerNamespaces": ["shop", "123"]})[("NetworkPolicy", NAME)]["spec"]
        labels = [one["namespaceSelector"]["matchLabels"] for one in policy["ingress"][0]["from"] if "namespaceSelector" in one]
        self.assertEqual(labels, [{"kubernetes.io/metadata.name": name} for name in ("monitoring", "shop", "123")])

    def test_pods_open_connections_to_dns_and_the_database_alone(self):
        objects = render(prune={"enabled": True})
        for name in (NAME, MIGRATE, f"{NAME}-prune"):
            policy = objects[("NetworkPolicy", name)]["spec"]
            ports = [(port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"]]
            self.assertEqual(ports, [(53, "UDP"), (53, "TCP"), (5432, "TCP")])
            self.assertEqual("ingress" in policy, name == NAME)

    def test_the_migrations_pod_rests_on_no_policy_that_an_upgrade_writes_after_it(self):
        objects = render(prune={"enabled": True})
        labels = pod_template(objects[("Job", MIGRATE)])["metadata"]["labels"].items()
        chosen = [name for (kind, name), one in objects.items()
                  if kind == "NetworkPolicy" and one["spec"]["podSelector"]["matchLabels"].items() <= labels]
        self.assertEqual(chosen, [MIGRATE])
        self.assertEqual(objects[("NetworkPolicy", MIGRATE)]["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade")

    def test_the_test_asks_the_service_and_nobody_else(self):
        policy = render()[("NetworkPolicy", f"{NAME}-test")]["spec"]
        labels = pod_template(render()[("Deployment", NAME)])["metadata"]["labels"].items()
        dns, service = policy["egress"]
        self.assertEqual({port["port"] for port in dns["ports"]}, {53})
        (to,) = service["to"]
        self.assertLessEqual(to["podSelector"]["matchLabels"].items(), labels)
        self.assertNotIn("ingress", policy)

    def test_only_payments_and_health_are_published(self):
        for region in REGIONS:
            paths = render(region)[("Ingress", NAME)]["spec"]["rules"][0]["http"]["paths"]
            self.assertEqual([(one["path"], one["pathType"]) for one in paths],
                             [("/api/payment", "Prefix"), ("/health", "Exact")])


class Notes(unittest.TestCase):
    def test_they_name_the_networks_of_the_load_balancer(self):
        networks = "10.10.96.0/24, 10.10.97.0/24, 10.10.98.0/24"
        said = notes("ingress.scheme=internal")
        self.assertIn("(internal)", said)
        self.assertIn(networks, said)
        for setting in ("networkPolicy.enabled=false", "ingress.enabled=false"):
            self.assertNotIn(networks, notes(setting))


    def test_they_name_the_test_where_there_is_one(self):
        self.assertIn(f"\n  helm --namespace default test {NAME}\n", notes())
        self.assertNotIn("test", notes("test.enabled=false"))

    def test_a_label_that_comes_late_is_followed_by_a_restart(self):
        label, restart = notes().split("kubectl label namespace default elbv2.k8s.aws/")[1].splitlines()[:2]
        self.assertEqual(label, "pod-readiness-gate-inject=enabled")
        self.assertEqual(restart.strip(), f"kubectl --namespace default rollout restart deployment/{NAME}")


class Scaling(unittest.TestCase):
    def test_pods_come_fast_and_go_slowly(self):
        spec = render()[("HorizontalPodAutoscaler", NAME)]["spec"]
        self.assertEqual(spec["metrics"][0]["resource"]["target"], {"type": "Utilization", "averageUtilization": 70})
        self.assertEqual(spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"], 0)
        self.assertEqual(spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 300)
        self.assertEqual((spec["minReplicas"], spec["maxReplicas"]), (3, 12))

    def test_a_drain_takes_one_pod_and_is_never_blocked(self):
        spec = render()[("PodDisruptionBudget", NAME)]["spec"]
        self.assertEqual((spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]), (1, "AlwaysAllow"))
        self.assertNotIn("minAvailable", spec)

    def test_both_regions_have_a_pod_in_each_of_three_zones(self):
        for region in REGIONS:
            self.assertGreaterEqual(render(region)[("HorizontalPodAutoscaler", NAME)]["spec"]["minReplicas"], 3)


class Regions(unittest.TestCase):
    def test_the_regions_values_are_the_same_settings_with_other_data(self):
        def paths(value, at=""):
            if not isinstance(value, dict):
                return {at}
            return set().union(*(paths(below, f"{at}.{key}") for key, below in value.items()))

        spain, mexico = (yaml.safe_load((CHART / f"values-{region}.yaml").read_text()) for region in REGIONS)
        self.assertEqual(paths(spain), paths(mexico))

    def test_each_region_is_what_its_law_asks_for(self):
        for region, currency, residency in [("spain", "EUR", "EU"), ("mexico", "MXN", "MX")]:
            objects = render(region)
            self.assertEqual(objects[("ConfigMap", NAME)]["data"]["REGION"], REGIONS[region])
            self.assertEqual(objects[("ConfigMap", NAME)]["data"]["DEFAULT_CURRENCY"], currency)
            self.assertIn(f"DataResidency={residency}",
                          objects[("Ingress", NAME)]["metadata"]["annotations"]["alb.ingress.kubernetes.io/tags"])


if __name__ == "__main__":
    unittest.main()
