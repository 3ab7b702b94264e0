"""Phases 0 to 7: what they do, in which order, what they leave alone the second time, and what they say when they cannot."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import unittest

import yaml

from support import (ACCOUNT, PAID, SECRETS, SITES, STAND_INS, Phases, addons, application, behind_elb, classes, facts, machines, pins,
                     rule)

SCRIPTS = ["0-check", "1-terraform", "2-kubeconfig", "3-image", "4-addons", "5-secrets", "6-argocd", "7-applications",
           "down", "rotate-api-key", "status"]


class DryRuns(Phases):
    def test_a_dry_run_calls_nothing_and_needs_nothing(self):
        for inputs in ("with", "without"):
            for script in SCRIPTS:
                with self.subTest(script=script, inputs=inputs):
                    self.world()
                    if inputs == "without":
                        (self.stage.repository / "terraform/operator.tfvars").unlink(missing_ok=True)
                    before = self.stage.git("rev-parse", "HEAD")
                    said = self.run_phase(script, "--dry-run")
                    self.assertEqual(self.calls(), [])
                    self.assertEqual(self.built(), [])
                    self.assertEqual(self.stage.git("status", "--porcelain"), "")
                    self.assertEqual(self.stage.git("rev-parse", "HEAD"), before)
                    self.assertEqual(self.stage.remote_head(), self.stage.begin)
                    if script != "status":
                        self.assertIn("would run: ", said)

    def test_it_is_a_setting_as_well(self):
        self.world()
        self.assertIn("would run: ", self.run_phase("5-secrets", DRY_RUN="yes"))

    def test_an_unknown_argument_setting_or_region_is_refused(self):
        self.run_phase("5-secrets", "--force", code=2)
        for name, value in (("DRY_RUN", "1"), ("DRY_RUN", "true"), ("CONFIRM", "y")):
            self.assertIn(f"error: {name}={value} is not valid: set it to yes, or leave it out", self.run_phase("5-secrets", code=1, **{name: value}))
        for name, value, other in (("REGISTRY", "ghcr", "ecr or plain"), ("CLUSTERS", "prod", "eks or given")):
            said = self.run_phase("5-secrets", code=1, **{name: value})
            self.assertIn(f"error: {name}={value} is not valid: it must be {other}", said)
        unknown = "which is not a region: the regions are spain and mexico"
        for value, fault in (("france", f"france, {unknown}"), ("shared", f"shared, {unknown}"), (" ", "no region"),
                             ("spain mexico spain", "spain twice")):
            self.assertIn(f"error: SITES names {fault}", self.run_phase("5-secrets", code=1, SITES=value))
        self.assertEqual(self.calls(), [])


class Printed(Phases):
    def test_each_phase_says_what_it_does_how_long_it_took_and_what_is_next(self):
        following = ["make phase-1", "make phase-2", "make phase-3", "make phase-4", "make phase-5", "make phase-6", "make phase-7", "make status"]
        for number, (script, then) in enumerate(zip(SCRIPTS, following)):
            with self.subTest(script=script):
                said = self.run_phase(script, "--dry-run")
                self.assertRegex(said, rf"^\n== phase {number}: .+\n")
                self.assertRegex(said, rf"\n== phase {number} took \d+ s; next: {then}\n$")

    def test_a_failure_says_how_to_go_on(self):
        self.first(rule("secretsmanager describe-secret", complains="AccessDenied\n", code=254))
        said = self.run_phase("5-secrets", code=1)
        self.assertRegex(said, r"== phase 5 stopped after \d+ s. Fix the cause, then run make phase-5 again: it continues where it stopped.")

    def test_a_long_wait_says_what_it_waits_for(self):
        self.first(rule("get application ", application("OutOfSync", "Progressing"), times=3))
        said = self.run_phase("7-applications", SITES="spain")
        self.assertRegex(said, r"spain  \|   \.\.\. \d+ s, waiting until payment-latency-api-spain is Synced and Healthy: OutOfSync, Progressing")
        self.first(rule("upgrade --install external-secrets", takes=0.5))
        self.assertRegex(self.run_phase("4-addons", SITES="spain"), r"spain  \|   \.\.\. \d+ s, waiting until external-secrets is ready\n")


class Check(Phases):
    def test_with_everything_there_it_changes_nothing(self):
        said = self.run_phase("0-check")
        self.assertIn(f"AWS account {ACCOUNT}", said)
        self.assertEqual(self.calls(r"\b(create|put|delete)-| apply"), [])
        self.assertEqual(self.stage.remote_head(), self.stage.begin)

    def test_a_missing_tool_is_named_with_its_version_and_place(self):
        # cosign only where an image is to be verified.
        for tool in set(STAND_INS) - {"cosign"}:
            with self.subTest(tool=tool):
                (self.stage.bin / tool).rename(self.stage.bin / f"{tool}.away")
                said = self.run_phase("0-check", code=1)
                self.assertRegex(said, rf"error: {tool} is missing: install [\d.]+ or later from https://")
                (self.stage.bin / f"{tool}.away").rename(self.stage.bin / tool)

    def test_all_missing_tools_are_named_at_once(self):
        for tool in ("helm", "skopeo"):
            (self.stage.bin / tool).rename(self.stage.bin / f"{tool}.away")
        said = self.run_phase("0-check", code=1)
        self.assertIn("helm is missing", said)
        self.assertIn("skopeo is missing", said)

    def test_an_old_tool_is_named(self):
        self.first(rule("terraform version", "Terraform v1.9.8\n"))
        self.assertIn("terraform is 1.9.8: install 1.11 or later from ", self.run_phase("0-check", code=1))

    def test_what_is_missing_is_one_sentence(self):
        cases = [
            ("credentials", rule("sts", complains="Unable to locate credentials\n", code=253),
             "there are no AWS credentials, or AWS rejects them (run aws configure, or set AWS_PROFILE): Unable to locate credentials"),
            ("the account", rule("sts", "999999999999\tarn:aws:iam::999999999999:user/me\n"),
             f"the credentials are for account 999999999999, but account_id in terraform/operator.tfvars is {ACCOUNT}: "),
            ("the administrator", rule("sts", f"{ACCOUNT}\tarn:aws:sts::{ACCOUNT}:assumed-role/reader/me\n"),
             "administrators in terraform/operator.tfvars does not name reader, the identity of these credentials: "),
            ("the region", rule("describe-regions .*eu-south-2", "not-opted-in\n"),
             "eu-south-2 is not enabled in this account: run aws account enable-region --region-name eu-south-2"),
            ("the zone's id", rule("us-east-1 ec2 describe-availability-zones", "us-east-1b\tuse1-az3\nus-east-1a\tuse1-az1\nus-east-1d\tuse1-az2\n"),
             "us-east-1b is the zone use1-az3 in this account, which has neither RDS Proxy nor the nodes' instance types: set "
             "availability_zones in terraform/environments/mexico/terraform.tfvars to three of us-east-1a us-east-1d"),
            ("the bucket", rule("get-bucket-versioning", complains="An error occurred (AccessDenied)\n", code=254),
             "bucket example-state-spain-eu-south-2 belongs to another account"),
            ("processors", rule("us-east-1 service-quotas", "5.0\n"), "mexico: the account may run 5 vCPUs of standard instances"),
            ("a token for default regions only", rule("aws --region eu-south-2 sts", complains="(InvalidClientTokenId)\n", code=254),
             "eu-south-2 is enabled, but rejects these credentials: (InvalidClientTokenId)"),
            ("the zone", rule("route53", ""), "Route 53 has no public hosted zone example.com"),
        ]
        for what, broken, sentence in cases:
            with self.subTest(what=what):
                self.setUp()
                self.first(broken)
                said = self.run_phase("0-check", code=1)
                self.assertIn(f"error: {sentence}", said)
                self.assertEqual(said.count("error: "), 1)

    def test_what_aws_would_refuse_later_is_one_sentence_beforehand(self):
        shared, tfvars = "terraform/environments/shared/variables.tf", "terraform/environments/mexico/terraform.tfvars"
        other_addons = {"coredns": ["v1.14.0-eksbuild.1", "v1.13.2-eksbuild.4"], "kube-proxy": ["v1.35.0-eksbuild.2"]}
        cases = [
            ("an add-on", [rule("us-east-1 eks describe-addon", addons(**other_addons))],
             "mexico: for Kubernetes 1.35, EKS in us-east-1 does not offer coredns v1.13.2-eksbuild.1 "
             "(available: v1.14.0-eksbuild.1 v1.13.2-eksbuild.4): "
             f"change addon_versions, or kubernetes_version, in {shared}"),
            ("all add-ons", [rule("eu-south-2 eks describe-addon", '{"addons": []}')],
             "spain: for Kubernetes 1.35, EKS in eu-south-2 does not offer coredns v1.13.2-eksbuild.1 (available: none), "
             "kube-proxy v1.35.0-eksbuild.2 (available: none): "),
            ("the class in two zones", [rule("us-east-1 rds describe-orderable", classes(("16.9", True), ("17.10", False), ("170.1", True)))],
             "mexico: on db.m7g.large in two zones, RDS in us-east-1 does not offer PostgreSQL 17 (available: 16.9 170.1): change "
             f"database_instance_class in {shared}, or engine_version in terraform/modules/rds/variables.tf"),
            ("an exact version", [rule("rds describe-orderable", classes(("17.10", True))), pins("modules/rds", engine_version="17.1")],
             "spain: on db.m7g.large in two zones, RDS in eu-south-2 does not offer PostgreSQL 17.1 (available: 17.10): "),
            ("the class", [rule("us-east-1 rds describe-orderable", classes())],
             "mexico: on db.m7g.large in two zones, RDS in us-east-1 does not offer PostgreSQL 17 (available: none): "),
            ("application nodes", [rule("us-east-1 ec2 describe-instance-type-offerings", machines(c7i="ab", m7i="abc"))],
             f"mexico: EC2 does not offer c7i.large in c (available in: a b): change application_nodes in {shared}, system_nodes in "
             f"terraform/modules/eks/variables.tf, or availability_zones in {tfvars}"),
            ("system nodes", [rule("us-east-1 ec2 describe-instance-type-offerings", machines(c7i="abc"))],
             "mexico: EC2 does not offer m7i.large in a (available in: no zone), m7i.large in b (available in: no zone): "),
            ("a budget", [rule("budgets", complains="An error occurred (AccessDeniedException): ask the payer account.\n", code=254)],
             "this account may not have a budget: ask the account that pays for its organization to enable budgets, or set monthly_budget_usd = 0 in "
             f"terraform/environments/spain/terraform.tfvars {tfvars}: An error occurred (AccessDeniedException): ask the payer account."),
            ("Terraform's word", [rule("modules/eks console", complains="Error: no such variable\n", code=1)],
             "spain: cannot read the pinned versions and types from Terraform: Error: no such variable"),
        ]
        for what, broken, sentence in cases:
            with self.subTest(what=what):
                self.setUp()
                self.first(*broken, rule("get-bucket-versioning", code=254))
                said = self.run_phase("0-check", code=1)
                self.assertIn(f"error: {sentence}", said)
                self.assertEqual(said.count("error: "), 1)
                self.assertEqual(self.calls("s3api"), [])

    def test_an_exact_version_and_system_nodes_in_every_zone_are_looked_up(self):
        self.first(pins("modules/rds", engine_version="17.10"), pins("modules/eks", system_nodes={"count": 9, "instance_types": ["c7i.large"]}))
        self.run_phase("0-check")
        self.assertEqual(self.calls("offerings")[0].split("Values=")[1], "c7i.large --output json")

    def test_a_region_that_is_there_gets_no_second_state(self):
        missing = [rule("get-bucket-versioning", code=254), rule("head-bucket", complains="Not Found\n", code=254)]
        no_cluster = rule("eks describe-cluster", complains="(ResourceNotFoundException)\n", code=254)
        no_database = rule("rds describe-db-instances --db", complains="(DBInstanceNotFound)\n", code=254)
        sentence = ("payment-latency-api-spain exists, but not bucket example-state-spain-eu-south-2 with its state: set state_bucket_prefix in "
                    "terraform/operator.tfvars to the prefix that it was created with")
        unknown = "spain: cannot find out whether payment-latency-api-spain exists (rds describe-db-instances): (Throttling)"
        for rules, said in (
            ([no_database], sentence), ([no_cluster], sentence),
            ([no_cluster, rule("rds describe-db-instances --db", complains="(Throttling)\n", code=254)], unknown),
        ):
            with self.subTest(said=said):
                self.setUp()
                self.first(*missing, *rules)
                self.assertIn(f"error: {said}", self.run_phase("0-check", code=1))
                self.assertEqual(self.calls("s3api (create|put)-"), [])
        # A half-made bucket is ours.
        self.setUp()
        self.first(missing[0], rule("s3api put-"))
        self.run_phase("0-check")
        self.assertEqual(self.calls("create-bucket|describe-cluster"), [])

    def test_what_aws_does_not_say_stops_nothing(self):
        for question in ("eks describe-addon-versions", "rds describe-orderable-db-instance-options", "ec2 describe-instance-type-offerings"):
            self.first(rule(question, complains="(AccessDenied)\n", code=254))
        self.first(rule("budgets describe-budgets", complains="(Throttling)\n", code=254))
        said = self.run_phase("0-check")
        self.assertIn("cannot check in advance whether this account may have a budget: (Throttling)", said)
        for question in ("eks describe-addon-versions", "rds describe-orderable-db-instance-options", "ec2 describe-instance-type-offerings"):
            self.assertIn(f"mexico: cannot check in advance, because {question} failed: (AccessDenied)", said)

    def test_budgets_are_asked_for_where_a_region_wants_one(self):
        self.first(pins("environments/shared", site="spain", monthly_budget_usd=0))
        self.run_phase("0-check")
        self.assertEqual(len(self.calls("--region us-east-1 budgets describe-budgets --account-id " + ACCOUNT)), 1)
        self.first(pins("environments/shared", monthly_budget_usd=0))
        self.run_phase("0-check")
        self.assertEqual(self.calls("budgets"), [])

    def test_credentials_are_asked_for_where_every_account_has_them(self):
        # A region that is not enabled accepts no credentials, so its own message would never be reached.
        self.first(rule("aws --region eu-south-2 (sts|ec2)", complains="(InvalidClientTokenId)\n", code=254))
        self.first(rule("describe-regions .*eu-south-2", "not-opted-in\n"))
        self.assertIn("error: eu-south-2 is not enabled in this account", self.run_phase("0-check", code=1))

    def test_processors_that_are_too_few_for_an_upgrade_are_named(self):
        self.first(rule("us-east-1 service-quotas", "16.0\n"))
        self.assertIn("mexico: 16 vCPUs of standard instances are enough to start with", self.run_phase("0-check"))

    def test_a_role_is_known_by_its_name_whatever_its_path(self):
        self.stage.write_operator(administrator="role/aws-reserved/sso.amazonaws.com/Operators_1")
        self.first(rule("sts", f"{ACCOUNT}\tarn:aws:sts::{ACCOUNT}:assumed-role/Operators_1/me@example.com\n"))
        self.run_phase("0-check")

    def test_a_missing_input_is_named_with_its_file(self):
        self.stage.write_operator(alert_email=None, domain=None)
        self.assertIn("error: terraform/operator.tfvars does not set domain alert_email: ", self.run_phase("0-check", code=1))
        (self.stage.repository / "terraform/operator.tfvars").unlink()
        self.assertIn("does not set account_id administrators operator_cidrs", self.run_phase("0-check", code=1))

    def test_inputs_that_do_not_hold_are_named_before_anything_is_made(self):
        """By the real Terraform, with the rules of the real variables."""
        terraform = self.stage.bin / "terraform"
        stand_in = terraform.read_text()
        self.addCleanup(terraform.write_text, stand_in)
        terraform.write_text(f'#!/bin/sh\nexec {shutil.which("terraform")} "$@"\n')
        cases = [
            ({"domain": "pay.example.org"}, "domain must be zone_name or a name in it."),
            ({"zone_name": "example.com.", "domain": "example.com."}, "zone_name must be the domain of a hosted zone in Route 53, without a final dot, "),
            ({"domain": "Pay.example.com"}, "domain must be a host name in lower case, for example pay.example.com."),
            *[({"network": network}, "operator_cidrs must contain at least one IPv4 network, each written with its first address and not ")
              for network in ("0.0.0.0/0", "198.50.0.0/15", "203.0.113.7/24", "203.0.113.7", "2001:db8::/32", "office")],
            *[({"network": network}, "operator_cidrs must be public addresses: EKS refuses 10.0.0.0/8, ")
              for network in ("10.1.2.3/32", "172.31.7.0/24", "192.168.0.0/16", "100.127.0.0/16")],
            ({"administrator": "root"}, "administrators must contain ARNs of IAM roles or users of this account, at least one: "),
            ({"alert_email": "nobody"}, "alert_email must be an e-mail address."),
            ({"account_id": "1111"}, "account_id must be twelve digits: aws sts get-caller-identity prints it."),
            ({"state_bucket_prefix": "Example"}, "state_bucket_prefix must be 3 to 41 lower-case letters, digits and hyphens, "),
        ]
        for changes, sentence in cases:
            with self.subTest(changes=changes):
                self.stage.write_operator(**{"git_repository": "https://git.example.com/a.git"} | changes)
                said = self.run_phase("0-check", code=1)
                self.assertIn("error: terraform/operator.tfvars does not pass Terraform's checks: ", said)
                self.assertIn(sentence, said)
        self.assertEqual(self.calls("s3api"), [])
        self.stage.write_operator(administrator="role/another", git_repository="https://git.example.com/a.git")
        said = self.run_phase("0-check", code=1)
        self.assertIn("the operator's inputs: terraform/operator.tfvars", said)
        self.assertIn("does not name operator, the identity of these credentials", said)

    def test_aws_is_asked_for_what_terraform_reads(self):
        """By the real Terraform, from the real variables, and what a region changes."""
        terraform = self.stage.bin / "terraform"
        stand_in = terraform.read_text()
        self.addCleanup(terraform.write_text, stand_in)
        terraform.write_text(f'#!/bin/sh\nexec {shutil.which("terraform")} "$@"\n')
        # Terraform warns about a name that it does not know.
        self.stage.write_operator(git_repository="https://git.example.com/a.git", unknown="name")
        with (self.stage.repository / "terraform/environments/mexico/terraform.tfvars").open("a") as data:
            data.write('kubernetes_version = "1.34"\ndatabase_instance_class = "db.r7g.large"\n'
                       'application_nodes = { min = 3, max = 3, instance_types = ["c7i.xlarge"] }\n')
        self.first(rule("ec2 describe-instance-type-offerings", code=254), rule("us-east-1 eks describe-addon-versions", '{"addons": []}'),
                   rule("eks describe-addon-versions", code=254))
        said = self.run_phase("0-check", code=1)
        variables = (self.stage.repository / "terraform/environments/shared/variables.tf").read_text()
        versions = re.findall(r'^    (\S+) += "(v[^"]+)"$', variables, re.MULTILINE)
        self.assertGreater(len(versions), 4)
        for name, version in versions:
            self.assertIn(f"{name} {version} (available: none)", said)
        self.assertIn("error: mexico: for Kubernetes 1.34, EKS in us-east-1 does not offer ", said)
        for region, asked in (("eu-south-2", ["1.35", "c7i.large,m7i.large", "db.m7g.large"]), ("us-east-1", ["1.34", "c7i.xlarge,m7i.large", None])):
            found = "\n".join(self.calls(f"{region} (eks|rds|ec2) describe-(addon|orderable|instance-type)"))
            for option, value in zip(("--kubernetes-version ", "Values=", "--db-instance-class "), asked):
                self.assertTrue(value is None or f"{option}{value} " in found, f"{option}{value} in {found}")

    def test_in_a_terminal_it_asks_for_what_is_missing_once(self):
        (self.stage.repository / "terraform/operator.tfvars").unlink()
        answers = [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/operator", "203.0.113.0/24,198.51.100.0/24", "example.com", "pay.example.com",
                   "example-state", "payments@example.com", str(self.stage.remote)]
        leader, follower = os.openpty()
        script = self.stage.repository / "scripts/phases/0-check.sh"
        with subprocess.Popen([script], stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=self.environment()) as process:
            os.write(leader, ("\n".join(answers) + "\n").encode())
            said = process.communicate(timeout=300)[0]
        os.close(leader)
        os.close(follower)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn("Public hosted zone in Route 53", said)
        written = (self.stage.repository / "terraform/operator.tfvars").read_text()
        self.assertIn('operator_cidrs = ["203.0.113.0/24", "198.51.100.0/24"]\n', written)
        self.assertIn(f'administrators = {{ operator = "arn:aws:iam::{ACCOUNT}:role/operator" }}\n', written)
        self.assertNotIn("  operator_cidrs", self.run_phase("0-check"))

    def test_a_repository_that_cannot_be_read_or_pushed_to_is_named(self):
        self.stage.write_operator(git_repository="/nowhere.git")
        self.assertIn("error: the git repository /nowhere.git (git_repository in terraform/operator.tfvars) cannot be read",
                      self.run_phase("0-check", code=1))
        bundle = self.stage.folder / "readable.bundle"
        self.stage.git("bundle", "create", "--quiet", str(bundle), "main")
        self.stage.write_operator(git_repository=str(bundle))
        self.assertIn(f"error: cannot push to main of {bundle}", self.run_phase("0-check", code=1))


class Terraform(Phases):
    def test_the_other_region_lets_in_spains_addresses(self):
        self.run_phase("1-terraform")
        self.in_order("environments/spain plan .*-target=module.vpc.aws_eip.nat", "environments/spain apply ", "environments/mexico plan")
        self.assertIn('-var=control_addresses=["192.0.2.10"]', self.calls("mexico plan")[0])
        self.assertFalse([line for line in self.calls("spain plan") if "control_addresses" in line])
        self.assertEqual(len(self.calls("terraform .* apply")), 3)

    def test_the_host_name_points_to_a_load_balancer_that_exists(self):
        for cluster, exists in (("payment-latency-api-mexico", "true"), ("another", "false")):
            self.first(*behind_elb("us-east-1", ["arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/k8s"], cluster=cluster))
            self.run_phase("1-terraform")
            self.assertIn(f"-var=publish={exists}", self.calls("mexico plan")[0])
            self.assertIn("-var=publish=false", self.calls("spain plan")[1])

    def test_tags_are_asked_for_as_many_load_balancers_at_once_as_aws_takes(self):
        *theirs, ours = [f"arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/k8s-{number:02}" for number in range(41)]
        self.first(*behind_elb("us-east-1", theirs, cluster="another"))
        self.first(*behind_elb("us-east-1", [*theirs, ours])[:1], behind_elb("us-east-1", [ours])[2])
        self.run_phase("1-terraform")
        self.assertIn("-var=publish=true", self.calls("mexico plan")[0])
        asked = [line.count("arn:aws:") for line in self.calls("us-east-1 elbv2 describe-tags")]
        self.assertEqual(asked, [20, 20, 1])

    def test_an_answer_that_does_not_come_is_not_taken_for_no_load_balancer(self):
        self.first(rule("us-east-1 elbv2 describe-load-balancers", complains="(Throttling)\n", code=254))
        self.assertIn("mexico failed", self.run_phase("1-terraform", code=1))
        self.assertEqual(self.calls("mexico plan"), [])

    def test_addresses_that_would_go_wait_for_a_yes_and_for_the_gateways_that_hold_them(self):
        doomed = json.dumps({"resource_changes": [{"address": "module.vpc.aws_eip.nat[1]", "change": {"actions": ["delete"]}}]})
        self.first(rule("environments/spain show", doomed))
        said = self.run_phase("1-terraform", code=1)
        self.assertIn("some addresses will be removed, together with the gateways that use them", said)
        self.assertIn("run it again with CONFIRM=yes: module.vpc.aws_eip.nat[1]", said)
        self.assertEqual(self.calls("spain apply"), [])
        self.world(*self.rules)
        self.run_phase("1-terraform", CONFIRM="yes")
        self.assertEqual([line.rsplit("/")[-1] for line in self.calls("spain apply")], ["spain.plan"])

    def test_a_plan_that_takes_something_away_waits_for_a_yes(self):
        doomed = json.dumps({"resource_changes": [{"address": "module.rds.aws_db_instance.this", "change": {"actions": ["delete", "create"]}}]})
        self.first(rule("environments/mexico show", doomed))
        said = self.run_phase("1-terraform", code=1)
        self.assertIn("would remove or replace the following; if that is intended, run it again with CONFIRM=yes: module.rds.aws_db_instance.this",
                      said)
        self.assertEqual(self.calls("mexico apply"), [])
        self.world(*self.rules)
        self.run_phase("1-terraform", CONFIRM="yes")
        self.assertEqual(len(self.calls("mexico apply")), 1)

    def test_a_pause_that_is_replaced_takes_nothing_away(self):
        def change(kind, actions=("delete", "create")):
            return {"address": f"module.eks.{kind}.this", "type": kind, "change": {"actions": list(actions)}}

        self.first(rule("environments/mexico show", json.dumps({"resource_changes": [change("time_sleep"), change("aws_eks_cluster", ["update"])]})))
        self.run_phase("1-terraform", SITES="mexico")
        self.assertEqual(len(self.calls("mexico apply")), 1)
        self.first(rule("environments/mexico show", json.dumps({"resource_changes": [change("time_sleep"), change("aws_eks_cluster")]})))
        said = self.run_phase("1-terraform", code=1, SITES="mexico")
        self.assertIn("run it again with CONFIRM=yes: module.eks.aws_eks_cluster.this\n", said)

    def test_mexico_is_worked_on_while_spain_is_away(self):
        # Questions to another region go through.
        away = "environments/spain|context spain|--region eu-south-2 (?!--region us-east-1)"
        self.first(rule(away, complains="no route to host\n", code=1))
        self.run_phase("1-terraform", code=1, SITES="mexico")
        self.assertEqual(self.calls("mexico (plan|apply)"), [])
        self.run_phase("1-terraform", SITES="mexico", CONTROL_ADDRESSES='["192.0.2.77"]')
        self.assertIn('-var=control_addresses=["192.0.2.77"]', self.calls("mexico plan")[0])
        self.assertEqual(len(self.calls("mexico apply")), 1)

    def test_given_addresses_are_not_taken_for_those_of_a_spain_that_is_worked_on(self):
        self.run_phase("1-terraform", CONTROL_ADDRESSES='["192.0.2.77"]')
        self.assertIn('-var=control_addresses=["192.0.2.10"]', self.calls("mexico plan")[0])

    def test_one_region_that_fails_does_not_stop_the_other(self):
        self.first(rule("environments/mexico apply", complains="Error: no capacity\n", code=1))
        said = self.run_phase("1-terraform", code=1)
        self.assertIn("mexico | Error: no capacity", said)
        self.assertIn("error: mexico failed: the lines above that begin with the region's name say why", said)
        self.assertIn("the other region succeeded", said)
        self.assertEqual(len(self.calls("spain apply")), 2)

    def test_names_that_a_former_region_still_holds_are_given_up(self):
        self.first(rule("us-east-1 secretsmanager list-secrets", '["payment-latency-api/production/api-key"]'), rule("delete-secret", "{}"))
        self.run_phase("1-terraform")
        self.in_order("us-east-1 secretsmanager delete-secret .*--force-delete-without-recovery", "mexico plan")
        self.assertEqual(self.calls("eu-south-2 secretsmanager delete-secret"), [])

    def test_each_service_linked_role_is_made_where_it_is_missing_before_anything_else(self):
        roles = {"autoscaling": "AutoScaling", "rds": "RDS", "eks": "AmazonEKS", "eks-nodegroup": "AmazonEKSNodegroup",
                 "elasticloadbalancing": "ElasticLoadBalancing"}
        for missing in ([], ["rds"], list(roles)):
            with self.subTest(missing=missing):
                self.setUp()
                self.first(*[rule(f"iam get-role --role-name AWSServiceRoleFor{roles[service]}$", code=254) for service in missing],
                           rule("create-service-linked-role", "{}"))
                self.run_phase("1-terraform")
                asked = [line.split("AWSServiceRoleFor")[1] for line in self.calls("iam get-role")]
                self.assertEqual(sorted(asked), sorted(roles.values()))
                made = [line.split("--aws-service-name ")[1] for line in self.calls("create-service-linked-role")]
                self.assertEqual(made, [f"{service}.amazonaws.com" for service in missing])
                for service in missing:
                    self.in_order(f"create-service-linked-role --aws-service-name {service}.amazonaws.com", "terraform .* apply")

    def test_a_service_linked_role_that_cannot_be_made_stops_before_an_apply(self):
        self.first(rule("iam get-role .*EKSNodegroup", code=254), rule("create-service-linked-role", complains="AccessDenied\n", code=254))
        self.assertIn("service-linked role AWSServiceRoleForAmazonEKSNodegroup (once per account)\nAccessDenied",
                      self.run_phase("1-terraform", code=254))
        self.assertEqual(self.calls("terraform"), [])

    def test_an_interruption_lets_terraform_put_down_what_it_holds(self):
        code, said = self.interrupted(lambda process: process.send_signal(signal.SIGINT))
        self.assertEqual(code, 130, said)
        self.assertIn("spain  | put down", said)
        self.assertIn("mexico | put down", said)
        self.assertIn("make phase-1", said)

    def test_a_connection_that_is_lost_lets_it_put_down_what_it_holds(self):
        def hang_up(process):
            process.stdout.close()
            process.send_signal(signal.SIGHUP)

        self.interrupted(hang_up)
        self.assertEqual((self.stage.stand_ins / "ended").read_text(), "put down\n" * len(SITES))

    def interrupted(self, interrupt):
        """How phase 1 ends, and what it says, when it is interrupted while both regions are applied."""
        self.first(rule("environments/spain apply ", "Apply complete!\n", times=1),
                   rule("environments/(spain|mexico) apply .*plan$", until_told="put down"))
        with subprocess.Popen([self.stage.repository / "scripts/phases/1-terraform.sh"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=self.environment(), start_new_session=True,
                              # A test run in the background may have been told to ignore it.
                              preexec_fn=lambda: [signal.signal(which, signal.SIG_DFL) for which in (signal.SIGINT, signal.SIGHUP)]) as process:
            said, holding = "", set()
            # Waits until both have recorded their call, and handle the signal that tells them to end.
            while len(holding) < len(SITES):
                line = process.stdout.readline()
                self.assertTrue(line, said)
                said += line
                holding |= {site for site in SITES if re.match(rf"{site} +\| holding on$", line)}
            interrupt(process)
            said += "" if process.stdout.closed else process.stdout.read()
            try:
                process.wait(300)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode, said

    def test_without_inputs_it_names_the_phase_that_asks(self):
        (self.stage.repository / "terraform/operator.tfvars").unlink()
        self.assertIn("error: terraform/operator.tfvars is missing: run make phase-0", self.run_phase("1-terraform", code=1))

    def test_given_outputs_take_its_place(self):
        self.assertIn("skipped, because Terraform's outputs come from ", self.run_phase("1-terraform", TERRAFORM_OUTPUTS="/somewhere"))
        self.assertEqual(self.calls(), [])


class Kubeconfig(Phases):
    def test_a_context_for_each_region(self):
        said = self.run_phase("2-kubeconfig")
        for site, region in SITES.items():
            self.assertTrue(self.calls(f"aws --region {region} eks update-kubeconfig --name payment-latency-api-{site} --alias {site}$"))
            self.assertIn(f"{site}: 3 nodes are ready", said)

    def test_a_region_that_was_not_made_names_its_phase(self):
        self.first(rule("environments/mexico output -json$", "{}"))
        self.assertIn("error: mexico has not been created yet: run make phase-1", self.run_phase("2-kubeconfig", code=1))

    def test_an_api_that_does_not_answer_is_explained(self):
        self.first(rule("--context mexico .*readyz", complains="i/o timeout\n", code=1))
        said = self.run_phase("2-kubeconfig", code=1)
        self.assertIn("error: the Kubernetes API of mexico does not answer: is your address in operator_cidrs", said)
        self.assertIn("i/o timeout", said)

    def test_terraform_is_connected_anew_where_a_region_has_moved(self):
        state = self.stage.repository / "terraform/environments/mexico/.terraform/terraform.tfstate"
        state.parent.mkdir(parents=True)
        for bucket, times in (("example-state-mexico-us-east-1", 0), ("example-state-mexico-mx-central-1", 1)):
            state.write_text(json.dumps({"backend": {"config": {"bucket": bucket}}}))
            self.run_phase("2-kubeconfig", SITES="mexico")
            connected = self.calls("environments/mexico init")
            self.assertEqual(len(connected), times, bucket)
        self.assertIn("-reconfigure -backend-config=bucket=example-state-mexico-us-east-1", connected[0])

    def test_given_clusters_are_taken_as_they_are(self):
        self.run_phase("2-kubeconfig", CLUSTERS="given")
        self.assertEqual(self.calls("eks"), [])


DIGEST = "sha256:" + "d" * 64


class Image(Phases):
    def setUp(self):
        super().setUp()
        self.first(rule("skopeo copy .*dir:target/image/layers$"),
                   *[rule(f"skopeo copy .* docker://{ACCOUNT}.dkr.ecr.{region}", sets=[site], writes={r"--digestfile (\S+)": DIGEST + "\n"})
                     for site, region in SITES.items()],
                   *[rule(f"skopeo inspect .*{region}", DIGEST + "\n", when=[site]) for site, region in SITES.items()])

    def released(self, site):
        return yaml.safe_load((self.stage.repository / f"argocd/releases/{site}.yaml").read_text())["image"]["digest"]

    def test_one_build_both_registries_one_commit_pushed(self):
        self.run_phase("3-image")
        self.assertEqual(len(self.built()), 1)
        self.assertEqual([self.released(site) for site in SITES], [DIGEST, DIGEST])
        self.assertEqual(self.stage.remote_head(), self.stage.git("rev-parse", "HEAD"))
        self.assertEqual(self.stage.git("diff", "--name-only", self.stage.begin, "HEAD"), "argocd/releases/mexico.yaml\nargocd/releases/spain.yaml")
        self.assertEqual(self.given("skopeo login"), [SECRETS["login"] + "\n"] * 2)

    def test_the_second_time_it_builds_and_commits_nothing(self):
        self.run_phase("3-image")
        head = self.stage.git("rev-parse", "HEAD")
        copies = len(self.calls("skopeo copy"))
        said = self.run_phase("3-image")
        self.assertEqual((len(self.built()), len(self.calls("skopeo copy"))), (1, copies))
        self.assertEqual((self.stage.git("rev-parse", "HEAD"), self.stage.remote_head()), (head, head))
        self.assertIn("main of", said)

    def test_a_push_that_failed_half_way_goes_on_with_the_same_image(self):
        self.first(rule("skopeo copy .*us-east-1", complains="connection reset\n", code=1, times=1))
        self.assertIn("connection reset", self.run_phase("3-image", code=1))
        self.assertEqual(self.stage.remote_head(), self.stage.begin)
        self.run_phase("3-image")
        self.assertEqual(len(self.built()), 1)
        self.assertRegex(self.calls("skopeo copy .*us-east-1")[-1], rf"docker://{ACCOUNT}.dkr.ecr.eu-south-2.amazonaws.com/payment-latency-api@{DIGEST}")
        self.assertEqual(self.stage.remote_head(), self.stage.git("rev-parse", "HEAD"))

    def test_an_image_that_somebody_put_there_is_released_as_it_is(self):
        self.flags = ["spain"]
        self._write()
        self.assertIn("not building it again", self.run_phase("3-image"))
        self.assertEqual(self.built(), [])
        self.assertEqual([self.released(site) for site in SITES], [DIGEST, DIGEST])
        (copy,) = self.calls("skopeo copy")
        self.assertRegex(copy, rf"--preserve-digests .*eu-south-2.amazonaws.com/payment-latency-api@{DIGEST} docker://.*us-east-1")

    def test_a_release_is_copied_once_its_signature_is_good(self):
        image = "ghcr.io/owner/name@sha256:" + "e" * 64
        workflow = "https://github.com/Owner/Name/.github/workflows/release.yaml@refs/tags/v"
        signer = workflow + re.search(r'^version = "(.*)"', (self.stage.repository / "Cargo.toml").read_text(), re.MULTILINE)[1]
        for wrong, said in (
            ({"IMAGE": image}, "IMAGE_SIGNER must be the identity that signed"),
            ({"IMAGE": image, "IMAGE_SIGNER": workflow + "9.9.9"}, "IMAGE_SIGNER must be the identity that signed"),
            ({"IMAGE": "ghcr.io/owner/name:1.2.3", "IMAGE_SIGNER": signer}, "IMAGE=ghcr.io/owner/name:1.2.3 is not valid: "),
            ({"IMAGE": image.replace("@", ":1.2.3@"), "IMAGE_SIGNER": signer}, "IMAGE=ghcr.io/owner/name:1.2.3@sha256:"),
        ):
            for phase in ("0-check", "3-image"):
                self.assertIn(f"error: {said}", self.run_phase(phase, code=1, **wrong))
        self.first(rule("skopeo .* inspect --format .*Architecture.* docker://ghcr.io", "arm64\n"), rule("cosign verify"))
        self.assertIn("error: IMAGE is built for arm64", self.run_phase("3-image", code=1, IMAGE=image, IMAGE_SIGNER=signer))
        self.first(rule("skopeo .* inspect --format .*Architecture.* docker://ghcr.io", "amd64\n"),
                   rule("cosign verify", complains="no matching signatures\n", code=1, times=1), rule("cosign verify"),
                   *[rule(f"skopeo --override-os linux --override-arch amd64 copy .* docker://{ACCOUNT}.dkr.ecr.{region}", sets=[site],
                          writes={r"--digestfile (\S+)": DIGEST + "\n"}) for site, region in SITES.items()])
        self.assertIn(f"has no valid signature by {signer}", self.run_phase("3-image", code=1, IMAGE=image, IMAGE_SIGNER=signer))
        self.assertEqual((self.calls("skopeo .*copy"), self.stage.remote_head()), ([], self.stage.begin))
        self.run_phase("3-image", IMAGE=image, IMAGE_SIGNER=signer)
        self.assertRegex(self.calls("cosign")[-1], rf"issuer https://token.actions.githubusercontent.com --certificate-identity {signer} {image}")
        self.assertEqual(self.built(), [])
        self.assertEqual([self.released(site) for site in SITES], [DIGEST, DIGEST])
        for copy in self.calls("skopeo .*copy"):
            self.assertRegex(copy, rf"--dest-authfile \S+ .*docker://{image} docker://.*-signed-eeeeeeeeeeee")

    def test_a_commit_that_was_not_pushed_is_pushed(self):
        self.run_phase("3-image")
        subprocess.run(["git", "--git-dir", self.stage.remote, "update-ref", "refs/heads/main", self.stage.begin], check=True)
        self.run_phase("3-image")
        self.assertEqual(self.stage.remote_head(), self.stage.git("rev-parse", "HEAD"))

    def test_a_branch_that_has_moved_on_is_said(self):
        self.stage.git("commit", "--quiet", "--allow-empty", "--message", "Elsewhere")
        self.stage.git("push", "--quiet", str(self.stage.remote), "main")
        self.stage.git("reset", "--quiet", "--hard", self.stage.begin)
        self.assertIn("if somebody else pushed first, run git pull --rebase, then make phase-3", self.run_phase("3-image", code=1))

    def test_what_is_not_committed_is_not_released(self):
        (self.stage.repository / "src/main.rs").write_text("fn main() {}\n")
        self.assertIn("error: commit these changes first, or nobody could tell what is running:  M src/main.rs", self.run_phase("3-image", code=1))

    def test_another_branch_is_not_released(self):
        self.stage.git("checkout", "--quiet", "-b", "feature")
        self.assertIn("error: the current branch is feature, but releases go to main", self.run_phase("3-image", code=1))
        self.run_phase("3-image", RELEASE_BRANCH="feature")

    def test_a_registry_that_takes_no_login_is_named(self):
        self.first(rule("skopeo login .*us-east-1", complains="denied\n", code=1))
        self.assertIn(f"error: mexico: cannot log in to the registry {ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", self.run_phase("3-image", code=1))

    def test_a_plain_registry_needs_neither_login_nor_tls(self):
        self.run_phase("3-image", REGISTRY="plain")
        self.assertEqual(self.calls("login"), [])
        self.assertIn("--dest-tls-verify=false", self.calls("skopeo copy .*us-east-1")[0])

    def test_mexico_is_released_while_spain_is_away(self):
        self.first(rule("environments/spain|eu-south-2", complains="no route to host\n", code=1))
        self.run_phase("3-image", SITES="mexico")
        self.assertEqual(self.released("mexico"), DIGEST)
        self.assertEqual(self.stage.remote_head(), self.stage.git("rev-parse", "HEAD"))

    def test_one_region_alone_is_released_alone(self):
        self.run_phase("3-image", SITES="mexico")
        self.assertEqual([self.released(site) for site in ("spain", "mexico")], ["", DIGEST])


class Addons(Phases):
    def test_each_chart_at_its_pinned_version_in_both_regions(self):
        self.run_phase("4-addons")
        pins = [line.split() for line in (self.stage.repository / "scripts/phases/addons/charts.txt").read_text().splitlines()
                if not line.startswith("#")]
        for name, namespace, repository, version in pins:
            for site in SITES:
                wanted = f"helm --kube-context {site} upgrade --install {name} {name} --repo {repository} --version {version} --namespace {namespace} "
                self.assertEqual(len(self.calls(wanted)), 0 if name == "argo-cd" else 1, wanted)

    def test_the_load_balancer_controller_is_told_region_network_and_role(self):
        self.run_phase("4-addons")
        line = self.calls("helm --kube-context mexico upgrade --install aws-load-balancer-controller")[0]
        for setting in ("clusterName=payment-latency-api-mexico", "region=us-east-1", "vpcId=vpc-id-of-mexico",
                        r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=load-balancer-role-arn-of-mexico"):
            self.assertIn(setting, line)

    def test_what_a_setting_names_is_skipped_and_said(self):
        names = "aws-load-balancer-controller external-secrets cluster-autoscaler kube-prometheus-stack metrics-server"
        said = self.run_phase("4-addons", SKIP_ADDONS=names)
        self.assertEqual(self.calls("helm|kubectl"), [])
        for name in names.split():
            self.assertIn(f"- {name}: skipped, because SKIP_ADDONS names it", said)

    def test_the_operators_own_values_come_last(self):
        values = self.stage.repository / "own"
        values.mkdir()
        (values / "kube-prometheus-stack.yaml").write_text("{}\n")
        self.run_phase("4-addons", ADDON_VALUES=str(values))
        for line in self.calls("upgrade --install"):
            self.assertEqual(line.endswith(f"--values {values}/kube-prometheus-stack.yaml"), "install kube-prometheus-stack" in line)

    def test_an_interrupted_install_is_undone_first(self):
        for status, remedy in (("pending-install", "uninstall"), ("pending-upgrade", "rollback")):
            with self.subTest(status=status):
                self.setUp()
                self.first(rule("status external-secrets", json.dumps({"info": {"status": status}})))
                self.run_phase("4-addons", SITES="spain")
                self.in_order(f"helm .*{remedy} external-secrets", "upgrade --install external-secrets")

    def test_a_chart_that_fails_names_its_region_and_the_other_is_done(self):
        self.first(rule("--kube-context mexico upgrade --install external-secrets", complains="Error: timed out\n", code=1))
        said = self.run_phase("4-addons", code=1)
        self.assertIn("mexico | error: mexico: external-secrets could not be installed: run kubectl --context mexico --namespace external-secrets", said)
        self.assertTrue(self.calls("--kube-context spain upgrade --install cluster-autoscaler"))

    def test_grafanas_password_is_random_and_kept(self):
        self.run_phase("4-addons")
        self.assertEqual(self.given("apply .*--filename -"), [])
        self.first(rule("get secret grafana-admin", complains="Unauthorized\n", code=1))
        self.assertIn("spain  | Unauthorized", self.run_phase("4-addons", code=1))
        self.assertEqual(self.given("apply .*--filename -"), [])
        self.first(rule("get secret grafana-admin .*--ignore-not-found"))
        self.run_phase("4-addons")
        passwords = [json.loads(text)["items"][1]["stringData"]["password"] for text in self.given("apply .*--filename -")]
        self.assertEqual(len(set(passwords)), 2)
        for password in passwords:
            self.assertEqual(len(password), 64)
            self.assertFalse([line for line in self.calls() if password in line])


class Secrets(Phases):
    def test_a_key_that_is_there_is_kept(self):
        said = self.run_phase("5-secrets")
        self.assertIn("which is kept", said)
        self.assertEqual(self.calls("put-secret-value|get-secret-value"), [])

    def test_a_missing_key_is_random_and_differs_by_region(self):
        self.first(rule("describe-secret", "null"))
        self.run_phase("5-secrets")
        made = self.given("put-secret-value")
        self.assertEqual(len(set(made)), 2)
        for key in made:
            self.assertRegex(key, "^[0-9a-f]{64}$")

    def test_one_region_that_has_no_secret_does_not_stop_the_other(self):
        self.first(rule("us-east-1 secretsmanager describe-secret", complains="ResourceNotFoundException\n", code=254), rule("describe-secret", "null"))
        said = self.run_phase("5-secrets", code=1)
        self.assertIn("mexico | error: mexico: the secret payment-latency-api/production/api-key cannot be read: if it does not exist, run make phase-1",
                      said)
        self.assertEqual(len(self.given("put-secret-value")), 1)


class ArgoCd(Phases):
    def secrets(self):
        found = {}
        for text in self.given("apply .*--filename -"):
            one = yaml.safe_load(text)
            if one["kind"] == "Secret":
                found[one["metadata"]["name"]] = one
        return found

    @staticmethod
    def data(secret, name):
        return base64.b64decode(secret["data"][name]).decode()

    def test_cluster_secrets_carry_every_fact(self):
        self.run_phase("6-argocd")
        secrets = self.secrets()
        for site in SITES:
            secret = secrets[f"cluster-{site}"]
            expected = {**facts(site), "git_repository": str(self.stage.remote), "git_revision": "main"}
            self.assertEqual(secret["metadata"]["annotations"], expected)
            self.assertEqual(secret["metadata"]["labels"], {
                "argocd.argoproj.io/secret-type": "cluster", "app.kubernetes.io/part-of": "payment-latency-api"})
            self.assertEqual({name: self.data(secret, name) for name in ("name", "namespaces", "clusterResources")},
                             {"name": site, "namespaces": "payment-latency-api", "clusterResources": "true"})
        self.assertEqual(self.data(secrets["cluster-spain"], "server"), "https://kubernetes.default.svc")
        self.assertEqual(self.data(secrets["cluster-mexico"], "server"), "https://mexico.eks.example.com")
        self.assertEqual(json.loads(self.data(secrets["cluster-mexico"], "config")), {
            "awsAuthConfig": {"clusterName": "payment-latency-api-mexico", "roleARN": "deployer-role-arn-of-mexico"},
            "tlsClientConfig": {"insecure": False, "caData": "cluster-ca-of-mexico"}})

    def test_given_clusters_are_registered_as_the_kubeconfig_has_them(self):
        view = {"clusters": [{"cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}}],
                "users": [{"user": {"token": SECRETS["token"]}}]}
        self.first(rule("config view", json.dumps(view)))
        self.run_phase("6-argocd", CLUSTERS="given")
        secret = self.secrets()["cluster-mexico"]
        self.assertEqual(self.data(secret, "server"), "https://127.0.0.1:6443")
        self.assertEqual(json.loads(self.data(secret, "config")), {
            "bearerToken": SECRETS["token"], "tlsClientConfig": {"insecure": False, "caData": "Q0E="}})

    def test_the_project_names_the_repository_and_all_else_as_in_its_file(self):
        self.run_phase("6-argocd")
        project = next(one for one in map(yaml.safe_load, self.given("apply .*--filename -")) if one["kind"] == "AppProject")
        expected = yaml.safe_load((self.stage.repository / "argocd/project.yaml").read_text())
        expected["spec"]["sourceRepos"] = [str(self.stage.remote)]
        self.assertEqual(project, expected)

    def test_rights_go_to_the_other_region_alone(self):
        self.run_phase("6-argocd")
        self.assertTrue(self.calls("kubectl --context mexico apply .*argocd/rbac.yaml"))
        self.assertEqual(self.calls("kubectl --context spain apply .*argocd/rbac.yaml"), [])

    def test_argo_cd_takes_on_its_role(self):
        self.run_phase("6-argocd")
        line = self.calls("helm --kube-context spain upgrade --install argo-cd")[0]
        for account in ("controller", "server"):
            self.assertIn(rf"{account}.serviceAccount.annotations.eks\.amazonaws\.com/role-arn=argocd-role-arn-of-spain", line)


class Applications(Phases):
    def test_they_settle_are_published_and_pay(self):
        self.first(rule("get application ", application("OutOfSync", "Missing"), times=2))
        said = self.run_phase("7-applications")
        self.in_order("apply .*applicationset.yaml", "get application ", "terraform .* plan", "curl --config -")
        for site in SITES:
            self.assertIn(f"{site:6} | - https://{site}.pay.example.com: paid in 12.5 ms; 2.5 ms without opening the connection, "
                          "0.9 ms of that in the service", said)
        self.assertIn(f'header = "X-API-Key: {SECRETS["mexico"]}"', "".join(self.given("curl")))

    def test_synced_to_an_older_commit_is_not_enough(self):
        self.first(rule("get application payment-latency-api-spain", application(revision="0" * 40)))
        said = self.run_phase("7-applications", code=1, APPLICATIONS_WAIT_S="2")
        self.assertIn("timed out after 2 s waiting until payment-latency-api-spain is Synced and Healthy (last seen: Synced, Healthy)", said)
        self.assertEqual(self.calls("terraform .* plan"), [])

    def test_a_region_that_is_held_says_so(self):
        self.first(rule("get application payment-latency-api-mexico", application(revision="0" * 40, follows="0" * 40)))
        said = self.run_phase("7-applications", code=1, APPLICATIONS_WAIT_S="2")
        self.assertIn(f"(last seen: Synced, Healthy, held at {'0' * 12})", said)

    def test_what_argo_cd_complains_of_is_shown(self):
        self.first(rule("get application payment-latency-api-mexico", application("Unknown", "Missing", message="failed to load\n target state")))
        self.assertIn("(last seen: Unknown, Missing: failed to load target state)", self.run_phase("7-applications", code=1, APPLICATIONS_WAIT_S="2"))

    def test_an_application_that_is_not_there_yet_is_waited_for(self):
        self.first(rule("get application ", complains="NotFound\n", code=1, times=3))
        self.run_phase("7-applications")

    def test_a_key_that_has_not_arrived_and_a_name_that_is_unknown_are_waited_for(self):
        self.first(rule("curl --config -", each="000 0 0 \n", times=1), rule("curl --config -", each="403 0.1 0.2 \n", times=1))
        self.run_phase("7-applications", SITES="spain")
        self.assertEqual(len(self.calls("curl --config -")), 3)

    def test_a_payment_that_is_never_served_says_its_status(self):
        self.first(rule("curl --config -", each="503 0.1 0.2 \n"))
        self.assertIn("timed out after 2 s waiting until a payment is served at https://spain.pay.example.com (last seen: status 503)",
                      self.run_phase("7-applications", code=1, SITES="spain", PAYMENT_WAIT_S="2"))

    def test_a_region_may_be_reached_elsewhere(self):
        self.run_phase("7-applications", SITES="spain", SPAIN_PAYMENTS_URL="http://127.0.0.1:1", SPAIN_AWS_ENDPOINT_URL="http://127.0.0.1:2")
        self.assertIn('url = "http://127.0.0.1:1/api/payment/simulate"', self.given("curl")[0])
        asked = [one["argv"][-2:] for one in self.records() if one["line"].startswith("aws")]
        self.assertEqual(asked, [["--endpoint-url", "http://127.0.0.1:2"]] * len(asked))
        self.assertTrue(asked)

    def test_a_payment_is_one_payment(self):
        self.run_phase("7-applications", SITES="spain")
        self.assertEqual(self.given("curl")[0].count("url ="), len(PAID.splitlines()))


if __name__ == "__main__":
    unittest.main()
