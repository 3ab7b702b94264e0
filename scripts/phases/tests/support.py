"""A copy of the repository in its own folder, in which the phases run, and stand-ins for tools that connect elsewhere.

A stand-in answers by the first rule whose `call` (a regular expression) is found in its command line:
  says, complains, code   what it prints to standard output and standard error, and its exit code
  when, unless            flags that must, or must not, be set; `sets` and `clears` change them
  times                   how often the rule applies
  each                    what it prints for each url in its standard input
  writes                  files: {expression whose first group is the path: content}
  takes                   seconds
  until_told              runs until it gets SIGTERM, then prints this
git, jq, openssl and all others are the real programs.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
# A git hook may have started this: see scripts/lib.sh.
for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
    os.environ.pop(name, None)
STAND_INS = ["aws", "kubectl", "helm", "terraform", "skopeo", "cosign", "curl"]
# These must not be in any command line, nor in anything that is printed.
SECRETS = {
    "spain": "spainkey" + "5" * 56, "mexico": "mexicokey" + "6" * 55,
    "next": "nextkey" + "9" * 57, "login": "ecrpassword" + "7" * 40, "token": "kubetoken" + "8" * 40,
}
SITES = {"spain": "eu-south-2", "mexico": "us-east-1"}
ACCOUNT = "111122223333"
QUICK = {
    "POLL_S": "0.05", "PROGRESS_S": "0", "KUBELET_S": "0", "DESTROY_WAIT_S": "0", "STATUS_WAIT_S": "120",
}


def rule(call, says="", **more):
    return {"call": call, "says": says, **more}


def facts(site):
    """What Terraform's output `facts` has: every name that outputs.tf gives it."""
    block = (ROOT / "terraform/environments/shared/outputs.tf").read_text()
    block = block[block.index('output "facts"'): block.index('output "nat_addresses"')]
    values = {name: f"{name.replace('_', '-')}-of-{site}" for name in re.findall(r"^    (\w+) +=", block, re.MULTILINE)}
    return values | {
        "site": site, "region": SITES[site], "environment": "production", "host": f"{site}.pay.example.com",
        "cluster_name": f"payment-latency-api-{site}", "image_registry": f"{ACCOUNT}.dkr.ecr.{SITES[site]}.amazonaws.com",
        "image_repository": "payment-latency-api", "api_key_secret": "payment-latency-api/production/api-key",
        "git_repository": "REMOTE", "cluster_endpoint": f"https://{site}.eks.example.com",
    }


# The values of Terraform's variables in these tests, and what AWS then offers.
PINS = {
    "environments/shared": {
        "addon_versions": {"coredns": "v1.13.2-eksbuild.1", "kube-proxy": "v1.35.0-eksbuild.2"}, "kubernetes_version": "1.35",
        "application_nodes": {"instance_types": ["c7i.large"], "min": 3, "max": 6}, "availability_zones": ["a", "b", "c"],
        "database_instance_class": "db.m7g.large", "monthly_budget_usd": 1800,
    },
    "modules/eks": {"system_nodes": {"count": 2, "instance_types": ["m7i.large"]}},
    "modules/rds": {"engine_version": "17"},
}


def pins(folder, site="", **changes):
    """A rule for `terraform console`, which prints a quoted string."""
    return rule(f"{site}/{folder} console", json.dumps(json.dumps(PINS[folder] | changes)) + "\n")


def addons(**versions):
    return json.dumps({"addons": [{"addonName": name, "addonVersions": [{"addonVersion": version} for version in known]}
                                  for name, known in versions.items()]})


def classes(*options):
    return json.dumps({"OrderableDBInstanceOptions": [
        {"Engine": "postgres", "EngineVersion": version, "MultiAZCapable": in_two_zones} for version, in_two_zones in options]})


def behind_elb(region, balancers=(), groups=(), cluster="payment-latency-api-mexico", **more):
    """Load balancers and target groups of a region, all with the tag of one cluster."""
    tags = [{"Key": "elbv2.k8s.aws/cluster", "Value": cluster}, {"Key": "Project", "Value": "payment-latency-api"}]
    return [
        rule(f"{region} elbv2 describe-load-balancers", json.dumps({"LoadBalancers": [{"LoadBalancerArn": arn} for arn in balancers]}), **more),
        rule(f"{region} elbv2 describe-target-groups", json.dumps({"TargetGroups": [{"TargetGroupArn": arn} for arn in groups]})),
        *[rule(f"{region} elbv2 describe-tags --resource-arns {arn}", json.dumps({"TagDescriptions": [{"ResourceArn": arn, "Tags": tags}]}))
          for arn in (*balancers, *groups)],
    ]


def machines(**zones):
    return json.dumps({"InstanceTypeOfferings": [{"InstanceType": f"{name}.large", "LocationType": "availability-zone", "Location": zone}
                                                 for name, letters in zones.items() for zone in letters]})


class Stage:
    """One copy of the repository, committed, with a bare repository to push to."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="phases."))
        self.repository, self.bin, self.stand_ins = (self.folder / name for name in ("repository", "bin", "stand-ins"))
        self.remote = self.folder / "remote.git"
        self.stand_ins.mkdir()
        self._copy()
        self._programs()
        self.git("init", "--quiet", "--initial-branch", "main", ".")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Begin")
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", self.remote], check=True)
        self.git("push", "--quiet", str(self.remote), "main")
        self.begin = self.git("rev-parse", "HEAD")
        self.write_operator()

    def _copy(self):
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "scripts", "argocd", "chart/Chart.yaml",
                                 "terraform", "migrations", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "Dockerfile", "src/main.rs",
                                 ".gitignore", "Makefile"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.splitlines():
            target = self.repository / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        # Stand-ins for builds that take minutes.
        for name, product in (("image.sh", "target/image/payment-latency-api.tar"), ("rotation-package.sh", "terraform/rotation.zip")):
            script = self.repository / "scripts" / name
            script.write_text(f'#!/bin/sh\necho "{name} $*" >>"$STAND_INS/built"\nmkdir -p target/image\n: >{product}\n')

    def _programs(self):
        """All programs of this machine, except those that connect to other machines."""
        self.bin.mkdir()
        for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
            for program in pathlib.Path(folder).iterdir():
                link = self.bin / program.name
                if program.name not in STAND_INS and not link.is_symlink():
                    link.symlink_to(program)
        for name in STAND_INS:
            script = self.bin / name
            script.write_text(f"#!{sys.executable} -SEB\n" + (pathlib.Path(__file__).parent / "stand_in.py").read_text())
            script.chmod(0o755)

    def write_operator(self, administrator="role/operator", network="203.0.113.0/24", **changes):
        values = {"account_id": ACCOUNT, "zone_name": "example.com", "domain": "pay.example.com", "state_bucket_prefix": "example-state",
                  "alert_email": "payments@example.com", "git_repository": str(self.remote)} | changes
        lines = [f'{name} = "{value}"' for name, value in values.items() if value is not None]
        lines += [f'administrators = {{ operator = "arn:aws:iam::{ACCOUNT}:{administrator}" }}', f'operator_cidrs = ["{network}"]']
        (self.repository / "terraform/operator.tfvars").write_text("\n".join(lines) + "\n")

    def git(self, *arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgSign=false"]
        return subprocess.run(["git", *identity, *arguments], cwd=self.repository, capture_output=True, text=True, check=True).stdout.strip()

    def remote_head(self):
        return subprocess.run(["git", "--git-dir", self.remote, "rev-parse", "main"], capture_output=True, text=True, check=True).stdout.strip()

    def reset(self):
        """Resets everything for the next test."""
        self.git("checkout", "--quiet", "--force", "-B", "main", self.begin)
        self.git("clean", "--quiet", "--force", "-d", "-x")
        subprocess.run(["git", "--git-dir", self.remote, "update-ref", "refs/heads/main", self.begin], check=True)
        self.write_operator()
        for name in STAND_INS:
            if not (self.bin / name).exists():
                (self.bin / f"{name}.away").rename(self.bin / name)

    def outputs(self, site):
        values = facts(site) | {"git_repository": str(self.remote)}
        return json.dumps({"facts": {"value": values}, "nat_addresses": {"value": ["192.0.2.10"]}})


class Phases(unittest.TestCase):
    """Runs phases in the stage. Each run is searched for secrets."""

    stage = None

    @classmethod
    def setUpClass(cls):
        if Phases.stage is None:
            Phases.stage = Stage()

    def setUp(self):
        self.stage.reset()
        self.settings = {}
        self.world(*WORLD(self.stage))

    def world(self, *rules, flags=()):
        """Sets the rules; a call that no rule matches is an error."""
        self.rules = list(rules)
        self.flags = list(flags)
        self._write()

    def first(self, *rules):
        """Puts these rules before the others."""
        self.rules = [*rules, *self.rules]
        self._write()

    def _write(self):
        (self.stage.stand_ins / "world.json").write_text(json.dumps({"rules": self.rules, "flags": self.flags}))
        for name in ("calls", "built", "ended"):
            (self.stage.stand_ins / name).write_text("")

    def environment(self, **settings):
        return {
            "PATH": str(self.stage.bin), "HOME": str(self.stage.folder), "STAND_INS": str(self.stage.stand_ins), "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Test",
            "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "test@example.com",
            "TMPDIR": str(self.stage.folder), **QUICK, **self.settings, **settings,
        }

    def run_phase(self, script, *arguments, code=0, **settings):
        """What a phase prints. It must end with `code`."""
        done = subprocess.run(
            [self.stage.repository / "scripts/phases" / f"{script}.sh", *arguments], cwd=self.stage.folder,
            env=self.environment(**settings), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=400, check=False)
        self.no_secret(done.stdout)
        self.assertEqual(done.returncode, code, done.stdout + "\n".join(self.calls()))
        self.assertNotIn("no rule for", done.stdout)
        self.assertNotIn("unbound variable", done.stdout)
        return done.stdout

    def records(self):
        return [json.loads(line) for line in (self.stage.stand_ins / "calls").read_text().splitlines()]

    def calls(self, pattern=""):
        """Command lines of the stand-ins that match a pattern."""
        return [one["line"] for one in self.records() if re.search(pattern, one["line"])]

    def argv(self, program):
        """Arguments of each call of one stand-in."""
        return [one["argv"] for one in self.records() if one["line"].split()[0] == program]

    def given(self, pattern):
        """What these calls read from standard input."""
        return [one["given"] for one in self.records() if re.search(pattern, one["line"])]

    def built(self):
        return (self.stage.stand_ins / "built").read_text().splitlines()

    def no_secret(self, text):
        for name, secret in SECRETS.items():
            self.assertNotIn(secret, text, name)
            for line in self.calls():
                self.assertNotIn(secret, line, name)
        # Keys that a phase made itself.
        for made in self.given("put-secret-value"):
            for key in made.split(","):
                self.assertNotIn(key, text)
                self.assertFalse([line for line in self.calls() if key in line])

    def in_order(self, *patterns):
        """Checks that each pattern matches a call after the one that the pattern before it matched."""
        lines, at = self.calls(), 0
        for pattern in patterns:
            at = next((index + 1 for index, line in enumerate(lines) if index >= at and re.search(pattern, line)), None)
            self.assertIsNotNone(at, f"{pattern} is missing or too early in:\n" + "\n".join(lines))


def application(sync="Synced", health="Healthy", revision="", message="", follows="main"):
    status = {"sync": {"status": sync, "revision": revision}, "health": {"status": health}}
    if message:
        status["conditions"] = [{"type": "ComparisonError", "message": message}]
    return json.dumps({"spec": {"source": {"targetRevision": follows}}, "status": status})


def nodes(ready=3, all_of_them=3):
    return json.dumps({"items": [
        {"status": {"conditions": [{"type": "Ready", "status": "True" if number < ready else "False"}]}} for number in range(all_of_them)]})


def deployment(ready=3, image="registry/payment-latency-api@sha256:" + "a" * 64):
    return json.dumps({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": image}]}}}, "status": {"readyReplicas": ready}})


def keys(pattern=""):
    return [rule(f"aws --region {region} secretsmanager get-secret-value{pattern}", SECRETS[site] + "\n") for site, region in SITES.items()]


PAID = "200 0.010 0.0125 db;dur=0.8, total;dur=0.9\n"


def WORLD(stage):
    """Both regions, up and well."""
    return [
        # aws
        rule("aws --version", "aws-cli/2.31.0 Python/3.13\n"),
        rule("sts get-caller-identity", f"{ACCOUNT}\tarn:aws:iam::{ACCOUNT}:role/operator\n"),
        rule("ec2 describe-regions", "opted-in\n"),
        rule("us-east-1 ec2 describe-availability-zones", "us-east-1a\tuse1-az1\nus-east-1e\tuse1-az3\n"),
        rule("eu-south-2 ec2 describe-availability-zones", "eu-south-2a\teus2-az1\n"),
        rule("s3api get-bucket-versioning", "Enabled\n"),
        rule("s3api list-buckets"),
        rule("s3api head-bucket"),
        rule("route53 list-hosted-zones-by-name", "/hostedzone/Z1\n"),
        rule("service-quotas get-service-quota .*L-1216C47A", "64.0\n"),
        rule("budgets describe-budgets", "{}"),
        rule("eks describe-addon-versions", addons(**{"coredns": ["v1.13.2-eksbuild.4", "v1.13.2-eksbuild.1"], "kube-proxy": ["v1.35.0-eksbuild.2"]})),
        rule("rds describe-orderable-db-instance-options", classes(("17.9", False), ("17.10", True))),
        rule("ec2 describe-instance-type-offerings", machines(c7i="abc", m7i="ab")),
        rule("iam get-role", "{}"),
        rule("secretsmanager list-secrets", "[]"),
        rule("secretsmanager describe-secret", '{"1": ["AWSCURRENT"]}'),
        *keys(),
        rule("secretsmanager put-secret-value", "AWSCURRENT\n"),
        *behind_elb(""),
        rule("eks update-kubeconfig", "Added new context\n"),
        rule("eks (describe-cluster|update-cluster-config)", "{}"),
        rule("rds describe-db-instances --output text"),
        rule("rds (describe-db-instances|modify-db-instance)", "{}"),
        rule("ecr get-login-password", SECRETS["login"] + "\n"),
        rule("ecr (describe-repositories|delete-repository)", "{}"),
        rule("ec2 describe-(network-interfaces|security-groups)", "None\n"),
        rule("logs delete-log-group"),
        rule("cloudwatch describe-alarms", '{"MetricAlarms": [{"AlarmName": "one", "StateValue": "OK", "AlarmActions": ["arn:aws:sns:one"]}]}'),
        rule("sns get-topic-attributes --topic-arn arn:aws:sns:one", "1\n"),
        # kubectl
        rule("kubectl version", "Client Version: v1.35.4\n"),
        rule("kubectl config (get-contexts|delete-context)", "ok\n"),
        rule("get --raw /readyz", "ok"),
        rule("get nodes --no-headers", "a Ready\nb Ready\nc Ready\n"),
        rule("get nodes --output json", nodes()),
        rule("get deployment", deployment()),
        rule("get (application|ingress|pvc|namespace).* --output name"),
        rule("get application ", application(revision=stage.begin)),
        rule("get secret payment-latency-api-api-key", ""),
        rule("get secret grafana-admin", "secret/grafana-admin\n"),
        rule("get pv"),
        rule("exec prometheus-prometheus-prometheus-0", '[{"metric": {"__name__": "payment:errors:increase1h"}}]'),
        rule("kubectl .*(apply|rollout|annotate|delete|patch)", "done\n"),
        # helm
        rule("helm version", "v4.0.0\n"),
        rule("helm .*status", complains="Error: release: not found\n", code=1),
        rule("helm .*(upgrade --install|uninstall|rollback)", "done\n"),
        # terraform
        rule("terraform version", "Terraform v1.11.4\n"),
        rule("terraform .* init", "initialized\n"),
        *[pins(folder) for folder in PINS],
        *[rule(f"environments/{site} output -json$", stage.outputs(site)) for site in SITES],
        rule("output -json nat_addresses", '["192.0.2.10"]\n'),
        rule("terraform .* show -json", '{"resource_changes": [{"address": "a", "change": {"actions": ["create"]}}]}'),
        rule("terraform .* state list", 'aws_security_group.rotation\nmodule.vpc.aws_eip.nat[0]\nmodule.vpc.module.vpc.aws_vpc.this[0]\n'
             'module.dns.data.aws_route53_zone.this\nmodule.audit.aws_cloudtrail.this\nmodule.audit.module.bucket.aws_s3_bucket.this[0]\n'
             'module.audit.module.kms.module.key["audit"].aws_kms_key.this[0]\nmodule.kms.module.key["logs"].aws_kms_key.this[0]\n'),
        rule("terraform .* (plan|apply|destroy)", "Apply complete!\n"),
        # skopeo, curl
        rule("skopeo --version", "skopeo version 1.18.0\n"),
        rule("skopeo login", "Login Succeeded!\n"),
        rule("skopeo inspect", complains="manifest unknown\n", code=1),
        rule("curl --version", "curl 8.5.0\n"),
        rule("curl .*/health", "200"),
        rule("curl --config -", each=PAID),
    ]

