"""The phases' calls of AWS with the real client, against moto: one for each region, as two regions know nothing of each other."""

import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest
import urllib.request

import boto3

from support import ACCOUNT, SITES, WORLD, Phases, behind_elb, facts, pins, rule

AWS = pathlib.Path(os.environ["AWS_BIN"])
KEY = facts("spain")["api_key_secret"]
STATE = {"spain": "example-state-spain-eu-south-2", "mexico": "example-state-mexico-us-east-1"}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Moto(Phases):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.processes, cls.endpoints = [], {}
        for site in SITES:
            port = free_port()
            cls.endpoints[site] = f"http://127.0.0.1:{port}"
            cls.processes.append(subprocess.Popen([os.environ["MOTO_BIN"], "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                                                  stderr=subprocess.DEVNULL, env={**os.environ, "MOTO_ACCOUNT_ID": ACCOUNT}))
        cls.addClassCleanup(cls._end)
        for endpoint in cls.endpoints.values():
            until = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{endpoint}/moto-api/data.json").close()
                    break
                except OSError:
                    assert time.monotonic() < until, "moto does not answer"
                    time.sleep(0.1)
        # The real client in the stand-in's place.
        cls.stand_in = (cls.stage.bin / "aws").read_text()
        (cls.stage.bin / "aws").write_text(f'#!/bin/sh\nexec {AWS} "$@"\n')

    @classmethod
    def _end(cls):
        (cls.stage.bin / "aws").write_text(cls.stand_in)
        for process in cls.processes:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def setUp(self):
        super().setUp()
        self.settings = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "SPAIN_AWS_ENDPOINT_URL": self.endpoints["spain"],
                         "MEXICO_AWS_ENDPOINT_URL": self.endpoints["mexico"]}
        self.first(*[self.zones(site, "abc") for site in SITES])
        # The identity that moto gives to every caller.
        self.stage.write_operator(administrator="user/moto")
        for endpoint in self.endpoints.values():
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()

    def zones(self, site, letters):
        return pins("environments/shared", site=site, availability_zones=[SITES[site] + letter for letter in letters])

    def aws(self, site, *arguments):
        return subprocess.run([AWS, "--region", SITES[site], "--endpoint-url", self.endpoints[site], *arguments], capture_output=True,
                              text=True, check=True, env=self.environment()).stdout.strip()

    def key(self, site):
        return self.aws(site, "secretsmanager", "get-secret-value", "--secret-id", KEY, "--query", "SecretString", "--output", "text")

    def test_the_check_makes_closed_buckets_once_and_finds_zone_and_account(self):
        self.aws("spain", "route53", "create-hosted-zone", "--name", "example.com", "--caller-reference", "1")
        said = self.run_phase("0-check")
        self.assertEqual(said.count("creating it"), 2)
        self.assertIn(f"AWS account {ACCOUNT}", said)
        for site, place in (("spain", "eu-south-2"), ("mexico", "None")):
            bucket = STATE[site]
            self.assertEqual(self.aws(site, "s3api", "get-bucket-location", "--bucket", bucket, "--output", "text"), place)
            self.assertIn("aws:kms", self.aws(site, "s3api", "get-bucket-encryption", "--bucket", bucket))
            self.assertNotIn("false", self.aws(site, "s3api", "get-public-access-block", "--bucket", bucket))
        self.assertNotIn("creating it", self.run_phase("0-check"))

    def test_a_bucket_that_was_made_half_is_completed(self):
        self.aws("spain", "route53", "create-hosted-zone", "--name", "example.com", "--caller-reference", "1")
        self.aws("mexico", "s3api", "create-bucket", "--bucket", STATE["mexico"])
        self.run_phase("0-check")
        self.assertIn("Enabled", self.aws("mexico", "s3api", "get-bucket-versioning", "--bucket", STATE["mexico"]))

    def test_a_region_that_is_there_gets_no_second_bucket(self):
        self.aws("mexico", "rds", "create-db-instance", "--db-instance-identifier", "payment-latency-api-mexico", "--engine", "postgres",
                 "--db-instance-class", "db.m7g.large", "--allocated-storage", "400", "--master-username", "one", "--manage-master-user-password")
        said = self.run_phase("0-check", code=1)
        self.assertIn(f"error: payment-latency-api-mexico exists, but not bucket {STATE['mexico']} with its state", said)
        self.assertNotIn(STATE["mexico"], self.aws("mexico", "s3api", "list-buckets"))

    def test_a_zone_that_is_private_is_not_enough(self):
        self.aws("spain", "route53", "create-hosted-zone", "--name", "example.com", "--caller-reference", "1",
                 "--hosted-zone-config", "PrivateZone=true", "--vpc", "VPCRegion=eu-south-2,VPCId=vpc-1")
        self.assertIn("error: Route 53 has no public hosted zone example.com", self.run_phase("0-check", code=1))

    def test_a_zone_without_the_nodes_types_is_named(self):
        self.first(self.zones("mexico", "aeb"))
        said = self.run_phase("0-check", code=1)
        self.assertIn("error: mexico: EC2 does not offer c7i.large in us-east-1e (available in: us-east-1a us-east-1b us-east-1c ", said)
        self.assertIn("m7i.large in us-east-1e", said)

    def test_keys_are_made_kept_and_rotated(self):
        for site in SITES:
            self.aws(site, "secretsmanager", "create-secret", "--name", KEY)
        self.run_phase("5-secrets")
        first = {site: self.key(site) for site in SITES}
        self.assertNotEqual(first["spain"], first["mexico"])
        for key in first.values():
            self.assertRegex(key, "^[0-9a-f]{64}$")
        self.run_phase("5-secrets")
        self.assertEqual({site: self.key(site) for site in SITES}, first)

        # External Secrets, played by a kubectl that asks Secrets Manager.
        kubectl = self.stage.bin / "kubectl"
        stand_in = kubectl.read_text()
        self.addCleanup(kubectl.write_text, stand_in)
        kubectl.write_text(f'#!/bin/sh\ncase "$*" in *"get secret"*) {AWS} --region us-east-1 --endpoint-url {self.endpoints["mexico"]} '
                           f'secretsmanager get-secret-value --secret-id {KEY} --query SecretString --output text | tr -d "\\n" | base64 -w0 ;; esac\n')
        said = self.run_phase("rotate-api-key", SITES="mexico", CONFIRM="yes")
        self.assertIn("100 payments with the new key, none refused", said)
        second = self.key("mexico")
        self.assertRegex(second, "^[0-9a-f]{64}$")
        self.assertNotIn(second, first.values())
        self.assertEqual(self.key("spain"), first["spain"])
        for key in (second, *first.values()):
            self.assertNotIn(key, said)
            self.assertFalse([line for line in self.calls() if key in line])

    def test_load_balancers_are_found_by_their_cluster_and_swept(self):
        vpc = self.aws("mexico", "ec2", "create-vpc", "--cidr-block", "10.20.0.0/16", "--query", "Vpc.VpcId", "--output", "text")
        subnets = [self.aws("mexico", "ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", f"10.20.{zone}.0/24", "--availability-zone",
                            f"us-east-1{letter}", "--query", "Subnet.SubnetId", "--output", "text") for zone, letter in enumerate("ab")]
        client = boto3.client("elbv2", endpoint_url=self.endpoints["mexico"], region_name="us-east-1", aws_access_key_id="testing",
                              aws_secret_access_key="testing")
        # More than fit on one page, and more than one question about tags takes; ours is the last.
        theirs = [f"theirs-{number}" for number in range(60)]
        for name, cluster in [*((name, "another") for name in theirs), ("ours", "payment-latency-api-mexico")]:
            client.create_load_balancer(Name=name, Subnets=subnets, Tags=[{"Key": "elbv2.k8s.aws/cluster", "Value": cluster}])
            client.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, Tags=[{"Key": "elbv2.k8s.aws/cluster", "Value": cluster}])
        self.run_phase("1-terraform")
        self.assertIn("-var=publish=true", self.calls("mexico plan")[0])
        self.assertIn("-var=publish=false", self.calls("spain plan")[1])
        self.first(rule("mexico destroy"))
        self.run_phase("down", CONFIRM="yes", SITES="mexico")
        self.assertEqual(sorted(one["LoadBalancerName"] for page in client.get_paginator("describe_load_balancers").paginate()
                                for one in page["LoadBalancers"]), sorted(theirs))
        self.assertEqual(sorted(one["TargetGroupName"] for page in client.get_paginator("describe_target_groups").paginate()
                                for one in page["TargetGroups"]), sorted(theirs))


    def test_a_region_that_is_to_move_is_not_taken_down_by_its_next_regions_name(self):
        self.aws("mexico", "s3api", "create-bucket", "--bucket", "example-state-mexico-mx-central-1")
        said = self.run_phase("down", code=1, CONFIRM="yes", SITES="mexico")
        self.assertIn("mexico: its state is in bucket example-state-mexico-mx-central-1, but its terraform.tfvars names us-east-1", said)
        self.assertEqual(self.calls("(terraform|kubectl) "), [])
        self.aws("mexico", "s3api", "create-bucket", "--bucket", STATE["mexico"])
        self.first(rule("mexico destroy"))
        self.run_phase("down", CONFIRM="yes", SITES="mexico")


class CommandLines(Phases):
    """Each command line for AWS, also those that moto does not answer, is one that the real client understands."""

    def test_the_client_knows_every_command_and_option(self):
        balancer, group = (f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:{what}/app/a/1" for what in ("loadbalancer", "targetgroup"))
        # What each has to do, so that it calls all it knows.
        to_do = {
            "0-check": [rule("get-bucket-versioning", code=254), rule("head-bucket", code=254), rule("s3api (create|put)-"),
                        rule("eks describe-cluster", complains="ResourceNotFoundException\n", code=254),
                        rule("rds describe-db-instances --db", complains="DBInstanceNotFound\n", code=254)],
            "1-terraform": [rule("iam get-role", code=254), rule("create-service-linked-role"), rule("secretsmanager delete-secret"),
                            rule("list-secrets", '["payment-latency-api/production/api-key"]')],
            "5-secrets": [rule("secretsmanager describe-secret", "null")],
            "status": [],
            "down": [*behind_elb("us-east-1", [balancer], [group], unless=["swept"]),
                     rule("describe-network-interfaces", "eni-1"), rule("describe-security-groups", "sg-1"),
                     rule("delete-load-balancer", sets=["swept"]), rule("(elbv2|ec2) delete-")],
        }
        commands = {}
        for script, rules in to_do.items():
            self.world(*rules, *WORLD(self.stage))
            self.run_phase(script, code=1 if script == "status" else 0, CONFIRM="yes", LOAD_BALANCERS_GO_S="1")
            for call in self.argv("aws"):
                commands[tuple([*call[2:4], *(word for word in call if word.startswith("--"))])] = call
        self.assertGreater(len(commands), 25)
        for call in commands.values():
            # The version, and a command of the client's own, have no skeleton.
            if call == ["--version"] or "update-kubeconfig" in call:
                continue
            call = ["text" if word == "file:///dev/stdin" else word for word in call]
            done = subprocess.run([AWS, *call, "--generate-cli-skeleton", "input"], capture_output=True, text=True, check=False,
                                  env={**self.environment(), "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"})
            self.assertEqual(done.returncode, 0, f"{call}: {done.stderr}")


if __name__ == "__main__":
    unittest.main()
