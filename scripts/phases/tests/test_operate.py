"""make status, make down and make rotate-api-key."""

import json
import subprocess
import unittest

from support import PAID, SECRETS, SITES, Phases, application, behind_elb, deployment, nodes, rule

DIGEST = "sha256:" + "a" * 64


class Status(Phases):
    def setUp(self):
        super().setUp()
        for site in SITES:
            release = self.stage.repository / f"argocd/releases/{site}.yaml"
            release.write_text(f'image:\n  digest: "{DIGEST}"\n')

    def test_all_is_well(self):
        said = self.run_phase("status")
        for line in ("  nodes      3 of 3 ready", "  pods       3 of 3 ready", f"  image      {DIGEST[:19]}, as released",
                     f"  sync       Synced at {self.stage.begin[:12]}", "  health     Healthy", "  endpoint   https://spain.pay.example.com: 200",
                     "  payments   p50 2.5 ms, p99 2.5 ms; in the service p50 0.9 ms, p99 0.9 ms", "  alarms     none of 1 AWS alarms firing",
                     "  alerts     none of the chart's alerts firing"):
            self.assertIn(f"\n{line}\n", said)
        self.assertEqual(self.calls(r"\b(apply|patch|annotate)\b|\b(put|create|delete|modify)-"), [])

    def test_what_is_not_well_is_marked_and_decides_the_exit_code(self):
        cases = [
            (rule("--context mexico get nodes", nodes(2)), "! nodes      2 of 3 ready"),
            (rule("--context mexico .*get deployment", deployment(1)), "! pods       1 of 3 ready"),
            (rule("--context mexico .*get deployment", deployment(image="r/payment-latency-api@sha256:" + "b" * 64)),
             f"! image      sha256:{'b' * 64}, but {DIGEST} is released"),
            (rule("get application payment-latency-api-mexico", application("OutOfSync")), "! sync       OutOfSync at "),
            (rule("get application payment-latency-api-mexico", application(revision="e" * 40, follows="e" * 40)),
             f"! sync       Synced at {'e' * 12}: held at {'e' * 12}, not following main"),
            (rule("get application payment-latency-api-mexico", application(health="Degraded")), "! health     Degraded"),
            (rule("curl .*mexico.*/health", "503"), "! endpoint   https://mexico.pay.example.com: 503"),
            (rule("curl --config -", each="403 0.1 0.2 \n"), "! payments   none of 20 accepted: status 403"),
            (rule("us-east-1 cloudwatch", '{"MetricAlarms": [{"AlarmName": "cpu", "StateValue": "ALARM"}]}'), "! alarms     cpu"),
            (rule("us-east-1 cloudwatch", '{"MetricAlarms": []}'), "! alarms     there are no AWS alarms"),
            (rule("us-east-1 sns", "0\n"), "! alarms     none of 1 AWS alarms firing; nobody is notified: follow the link in the mail"),
            (rule("--context mexico .*exec", '[{"metric": {"__name__": "payment:errors:increase1h"}}, {"metric": {"__name__": "ALERTS", '
                  '"alertname": "PaymentLatencyBurnFast"}}]'), "! alerts     PaymentLatencyBurnFast"),
            (rule("--context mexico .*exec", "[]"), "! alerts     the chart's rules are not loaded"),
        ]
        for broken, line in cases:
            with self.subTest(line=line):
                self.setUp()
                self.first(broken)
                self.assertIn(f"\n{line}", self.run_phase("status", code=1))

    def test_an_alarm_that_fires_is_named_when_nobody_confirmed_the_mail_too(self):
        firing = {"AlarmName": "cpu", "StateValue": "ALARM", "AlarmActions": ["arn:aws:sns:us-east-1:111122223333:alarms"]}
        self.first(rule("us-east-1 cloudwatch", json.dumps({"MetricAlarms": [firing]})))
        self.first(rule("us-east-1 sns", "0\n"))
        self.assertIn("\n! alarms     cpu; nobody is notified: ", self.run_phase("status", code=1))

    def test_a_part_that_cannot_be_read_says_so_and_the_others_are_shown(self):
        self.first(rule("--context mexico get nodes", complains="Unable to connect to the server: EOF\n", code=1))
        said = self.run_phase("status", code=1)
        self.assertIn("? nodes      cannot be read: Unable to connect to the server: EOF", said)
        self.assertEqual(said.count("cannot be read"), 1)
        self.assertEqual(said.count("3 of 3 ready"), 3)

    def test_without_terraforms_outputs_the_clusters_are_still_shown(self):
        self.first(rule("environments/mexico output", complains="Error: no valid credential sources\n", code=1))
        said = self.run_phase("status", code=1)
        self.assertEqual(said.count("cannot be read"), 2)
        self.assertEqual(said.count("as released"), 2)

    def test_a_part_that_hangs_is_bounded(self):
        self.first(rule("--context mexico get nodes", until_told=""))
        self.assertIn("? nodes      cannot be read", self.run_phase("status", code=1, STATUS_WAIT_S="1"))

    def test_as_json(self):
        self.first(rule("--context mexico get nodes", nodes(2)))
        found = json.loads(self.run_phase("status", "--json", code=1))
        self.assertEqual(found["well"], False)
        self.assertEqual(found["mexico"]["nodes"], {"state": "bad", "text": "2 of 3 ready"})
        self.assertEqual(found["spain"]["nodes"], {"state": "ok", "text": "3 of 3 ready"})
        self.assertEqual(set(found["spain"]), {"nodes", "pods", "image", "sync", "health", "endpoint", "payments", "alarms", "alerts"})

    def test_alerts_that_no_prometheus_evaluates_are_not_asked_for(self):
        self.assertIn("  alerts     not checked: ", self.run_phase("status", SKIP_ADDONS="kube-prometheus-stack"))
        self.assertEqual(self.calls("exec"), [])


class Down(Phases):
    def setUp(self):
        super().setUp()
        self.settings = {"CONFIRM": "yes"}
        # What is destroyed is no longer in the state.
        self.first(*[rule(f"{site} state list", 'module.audit.module.bucket.aws_s3_bucket.this[0]\n', when=[f"no {site}"]) for site in SITES],
                   *[rule(f"environments/{site} destroy", "Destroy complete!\n", sets=[f"no {site}"]) for site in SITES])

    def test_applications_then_ingresses_then_load_balancers_then_terraform(self):
        self.run_phase("down")
        for site in SITES:
            self.in_order("delete applicationset payment-latency-api .*--cascade=orphan", f"delete application payment-latency-api-{site}",
                          f"kubectl --context {site} --namespace payment-latency-api delete ingress --all", "elbv2 describe-load-balancers",
                          f"environments/{site} destroy")
        self.assertEqual(len(self.calls("terraform .* destroy")), 2)

    def test_it_asks_first(self):
        said = self.run_phase("down", code=1, CONFIRM="")
        self.assertIn("This must be confirmed: run it in a terminal, or set CONFIRM=yes", said)
        self.assertEqual(self.calls(), [])

    def test_who_would_go_on_without_argo_cd_is_named_before_anything_is_done(self):
        for sites, stays in (("spain", True), ("mexico", False), ("spain mexico", False)):
            said = self.run_phase("down", code=1, CONFIRM="", SITES=sites)
            self.assertEqual("mexico, if it exists, continues without Argo CD, which runs in spain" in said, stays, said)

    def test_a_region_that_still_runs_where_its_data_no_longer_say_is_left_alone(self):
        self.first(rule("us-east-1 s3api list-buckets", "example-state-mexico-mx-central-1\n"))
        said = self.run_phase("down", code=1)
        self.assertIn("mexico: its state is in bucket example-state-mexico-mx-central-1, but its terraform.tfvars names us-east-1", said)
        self.assertEqual(self.calls("destroy|delete|modify"), [])

    def test_records_that_are_locked_stay_with_their_key(self):
        self.run_phase("down")
        targets = [word for word in self.calls("spain destroy")[0].split() if word.startswith("-target=")]
        self.assertEqual(targets, ["-target=aws_security_group.rotation", "-target=module.audit.aws_cloudtrail.this",
                                   "-target=module.kms", "-target=module.vpc"])

    def test_protection_goes_before_the_destroy(self):
        self.run_phase("down")
        for protection in ("eks update-cluster-config .*--no-deletion-protection", "rds modify-db-instance .*--no-deletion-protection",
                           "ecr delete-repository .*--force"):
            self.in_order(f"us-east-1 {protection}", "mexico destroy")
        self.assertIn("-var=publish=false -var=deletion_protection=false", self.calls("mexico destroy")[0])

    def test_a_client_that_cannot_take_protection_off_stops_before_the_destroy(self):
        self.first(rule("us-east-1 eks update-cluster-config", complains="Unknown options: --no-deletion-protection\n", code=252))
        said = self.run_phase("down", code=1)
        self.assertIn("mexico: this version of aws cannot turn a cluster's deletion protection off: install a newer one", said)
        self.assertEqual(self.calls("mexico destroy"), [])

    def test_a_database_that_a_restore_has_left_stops_it(self):
        self.first(rule("us-east-1 rds describe-db-instances --output text", "payment-latency-api-mexico-old\n"))
        said = self.run_phase("down", code=1)
        self.assertIn("mexico: database payment-latency-api-mexico-old, left over from a restore, still exists", said)
        self.assertEqual(self.calls("mexico destroy|us-east-1 rds modify"), [])
        self.assertTrue(self.calls("spain destroy"))

    def test_a_machine_without_contexts_gets_them(self):
        self.run_phase("down", SITES="mexico")
        for site, region in SITES.items():
            self.in_order(f"{region} eks update-kubeconfig --name payment-latency-api-{site} --alias {site}", f"context {site} .*get --raw /readyz")

    def test_twice_is_once(self):
        self.run_phase("down")
        self.flags = ["no spain", "no mexico"]
        self.first(rule("eks describe-cluster", complains="ResourceNotFoundException\n", code=254),
                   rule("rds describe-db-instances --db-instance-identifier", code=254), rule("ecr describe-repositories", code=254))
        said = self.run_phase("down")
        self.assertEqual(self.calls("terraform .* destroy"), [])
        self.assertEqual(self.calls("kubectl .* delete (ingress|applicationset)"), [])
        self.assertIn("spain has no cluster", said)

    def test_where_nothing_was_ever_made_there_is_nothing_to_do(self):
        self.first(rule("eks describe-cluster", complains="ResourceNotFoundException\n", code=254),
                   rule("s3api head-bucket", complains="An error occurred (404) when calling the HeadBucket operation: Not Found\n", code=254))
        said = self.run_phase("down")
        self.assertEqual(said.count("Terraform has nothing to destroy: there is no state bucket"), 2)
        self.assertEqual(self.calls("terraform"), [])

    def test_what_a_lost_cluster_left_is_removed_through_aws(self):
        balancer = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/k8s/1"
        group = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/k8s/1"
        self.first(
            rule("us-east-1 eks describe-cluster", complains="ResourceNotFoundException\n", code=254),
            *behind_elb("us-east-1", [balancer], [group], unless=["no balancer"]),
            rule("us-east-1 ec2 describe-network-interfaces", "eni-1\teni-2\n"),
            rule("us-east-1 ec2 describe-security-groups", "sg-1\n"),
            rule("elbv2 delete-load-balancer", sets=["no balancer"]), rule("(elbv2|ec2) delete-"))
        self.run_phase("down")
        self.in_order(f"us-east-1 elbv2 delete-load-balancer --load-balancer-arn {balancer}", "mexico destroy")
        for what in (f"delete-target-group --target-group-arn {group}", "delete-network-interface --network-interface-id eni-2",
                     "delete-security-group --group-id sg-1"):
            self.assertEqual(len(self.calls(f"us-east-1 .*{what}")), 1)
        self.assertEqual(self.calls("eu-south-2 (elbv2|ec2) delete"), [])
        self.assertIn("patch application payment-latency-api-mexico", "\n".join(self.calls()))

    def test_known_races_are_tried_again(self):
        self.first(rule("mexico destroy", complains="Error: deleting EC2 Subnet: DependencyViolation\n", code=1, times=2))
        said = self.run_phase("down")
        self.assertEqual(len(self.calls("mexico destroy")), 3)
        self.assertEqual(len(self.calls("spain destroy")), 1)
        self.assertIn("mexico | - mexico: a resource is still in use, or AWS is busy; try 3 of 5", said)

    def test_not_for_ever(self):
        self.first(rule("mexico destroy", complains="DependencyViolation\n", code=1))
        said = self.run_phase("down", code=1, DESTROY_TRIES="3")
        self.assertEqual(len(self.calls("mexico destroy")), 3)
        self.assertIn("after 3 tries, a resource is still in use or AWS is busy", said)

    def test_any_other_failure_stops_one_region_and_not_the_other(self):
        self.first(rule("mexico destroy", complains="Error: AccessDenied\n", code=1))
        said = self.run_phase("down", code=1)
        self.assertEqual(len(self.calls("mexico destroy")), 1)
        self.assertIn("spain  | - spain is torn down", said)
        self.assertIn("make down", said)

    def test_after_a_failure_it_goes_on_with_what_is_left(self):
        self.first(rule("mexico destroy", complains="Error: AccessDenied\n", code=1, times=1))
        self.run_phase("down", code=1)
        self.run_phase("down")
        self.assertEqual((len(self.calls("spain destroy")), len(self.calls("mexico destroy"))), (1, 2))

    def test_an_argo_cd_that_does_not_finish_is_not_waited_for_without_end(self):
        self.first(rule("get application payment-latency-api-mexico .*--output name", "application/payment-latency-api-mexico\n"))
        said = self.run_phase("down", APPLICATIONS_GO_S="1")
        self.in_order("delete application payment-latency-api-mexico", 'patch application payment-latency-api-mexico .*"finalizers":null',
                      "--context mexico .*delete ingress")
        self.assertIn("does not finish deleting the Application of mexico", said)

    def test_a_cluster_without_argo_cd_is_emptied_all_the_same(self):
        self.first(rule("delete applicationset", complains="error: the server doesn't have a resource type \"applicationset\"\n", code=1))
        self.assertIn("Argo CD is not installed", self.run_phase("down"))
        self.assertEqual(len(self.calls("delete ingress --all")), 2)

    def test_one_region_alone_leaves_the_other_its_application(self):
        self.first(rule("context spain .* get application payment-latency-api-spain .*--output name", "application/payment-latency-api-spain\n"))
        self.run_phase("down", SITES="mexico")
        self.assertEqual(self.calls("delete application payment-latency-api-spain|context spain .*delete ingress|spain destroy"), [])
        self.assertTrue(self.calls("mexico destroy"))
        self.in_order("delete applicationset", "delete application payment-latency-api-mexico", "delete secret cluster-mexico",
                      "context spain apply .*applicationset.yaml")

    def test_a_region_that_is_not_deployed_is_not_deployed_by_the_end_of_the_other(self):
        self.run_phase("down", SITES="mexico")
        self.assertEqual(self.calls("applicationset.yaml"), [])

    def test_both_regions_leave_no_application_set(self):
        self.run_phase("down")
        self.assertEqual(self.calls("applicationset.yaml"), [])

    def test_credentials_that_are_gone_are_not_a_cluster_that_is_gone(self):
        self.first(rule("eks describe-cluster", complains="ExpiredToken\n", code=254))
        self.assertIn("cannot find out whether its cluster exists: ExpiredToken", self.run_phase("down", code=1))
        self.assertEqual(self.calls("terraform|delete"), [])


class Rotation(Phases):
    """The secret is stateful here: one key, then two, then the new one. The pods follow it."""

    def setUp(self):
        super().setUp()
        self.settings = {"CONFIRM": "yes", "SITES": "spain"}
        self.first(
            rule("secretsmanager put-secret-value", "AWSCURRENT\n", unless=["two"], sets=["two", "put"]),
            rule("secretsmanager put-secret-value", "AWSCURRENT\n", when=["two"], sets=["put"], clears=["two"]),
            rule("eu-south-2 secretsmanager get-secret-value", f"{SECRETS['next']},{SECRETS['spain']}\n", when=["two"]),
            rule("get secret payment-latency-api-api-key", self.encoded(f"{SECRETS['next']},{SECRETS['spain']}"), when=["two"]),
            rule("get secret payment-latency-api-api-key", self.encoded(SECRETS["spain"])),
        )

    @staticmethod
    def encoded(text):
        return subprocess.run(["base64", "-w0"], input=text, capture_output=True, text=True, check=True).stdout

    def test_both_are_valid_until_the_new_one_has_arrived_everywhere(self):
        self.run_phase("rotate-api-key")
        self.in_order("get-secret-value", "put-secret-value", "annotate externalsecret payment-latency-api-api-key force-sync=",
                      "get secret payment-latency-api-api-key", "curl --config -", "put-secret-value", "annotate externalsecret")
        both, last = self.given("put-secret-value")
        new, old = both.split(",")
        self.assertEqual(old, SECRETS["spain"])
        self.assertRegex(new, "^[0-9a-f]{64}$")
        self.assertEqual(last, SECRETS["next"])
        asked = self.given("curl")[0]
        self.assertIn(f'header = "X-API-Key: {SECRETS["next"]}"', asked)
        self.assertEqual(asked.count("url ="), 100)

    def test_a_pod_that_refuses_the_new_key_keeps_the_old_one_valid(self):
        self.first(rule("curl --config -", PAID * 99 + "403 0.1 0.2 \n"))
        said = self.run_phase("rotate-api-key", code=1, KEY_WAIT_S="2")
        self.assertIn("timed out after 2 s waiting until every pod accepts the new key (last seen: 99 of 100 payments accepted)", said)
        self.assertEqual(len(self.given("put-secret-value")), 1)

    def test_a_cluster_that_does_not_fetch_keeps_the_old_one_valid(self):
        self.first(rule("get secret payment-latency-api-api-key", self.encoded(SECRETS["spain"])))
        said = self.run_phase("rotate-api-key", code=1, KEY_WAIT_S="2")
        self.assertIn("timed out after 2 s waiting until External Secrets has copied the change into the cluster", said)
        self.assertEqual(len(self.given("put-secret-value")), 1)

    def test_an_interrupted_rotation_goes_on_with_the_same_keys(self):
        self.world(*self.rules, flags=["two"])
        said = self.run_phase("rotate-api-key", SITES="spain mexico")
        self.assertIn("continuing the rotation that was started in spain; no other region is rotated", said)
        self.assertEqual(self.given("put-secret-value"), [SECRETS["next"]])
        self.assertEqual(self.calls("us-east-1 secretsmanager put"), [])

    def test_callers_are_waited_for(self):
        said = self.run_phase("rotate-api-key", code=1, CONFIRM="")
        self.assertIn("The old key is removed next", said)
        self.assertEqual(len(self.given("put-secret-value")), 1)

    def test_without_a_key_it_names_the_phase_that_makes_one(self):
        self.first(rule("get-secret-value", complains="ResourceNotFoundException\n", code=254))
        self.assertIn("error: spain: the key cannot be read: if there is none yet, run make phase-5", self.run_phase("rotate-api-key", code=1))
        self.assertEqual(self.given("put-secret-value"), [])


if __name__ == "__main__":
    unittest.main()
