"""Wrong values are refused by `helm template`, each with a message that names the value and what would be right."""

import unittest

from support import helm_template

# Arguments of --set, and what the message must hold.
SCHEMA = [
    ("region=Spain", "'/region'", "does not match pattern"),
    ("environment=", "'/environment'", "does not match pattern"),
    ("unknown=1", "additional properties 'unknown' not allowed"),
    ("settings.poolsize=8", "'/settings'", "additional properties 'poolsize' not allowed"),
    ("settings.poolSize=0", "'/settings/poolSize'", "minimum: got 0, want 1"),
    ("settings.poolSize=513", "'/settings/poolSize'", "maximum: got 513, want 512"),
    ("settings.poolSize=eight", "'/settings/poolSize'", "got string, want integer"),
    ("settings.port=80", "'/settings/port'", "minimum: got 80, want 1,024"),
    ("settings.statementMode=prepared", "'/settings/statementMode'", "value must be one of 'unnamed', 'named'"),
    ("settings.defaultCurrency=euro", "'/settings/defaultCurrency'", "does not match pattern"),
    ("settings.logRequests=maybe", "'/settings/logRequests'", "got string, want boolean"),
    ("settings.drainMs=300001", "'/settings/drainMs'", "maximum: got 300,001, want 300,000"),
    ("image.digest=sha256:12", "'/image/digest'", "does not match pattern"),
    ("image.registry=https://r.example.com", "'/image/registry'", "does not match pattern"),
    ("image.pullPolicy=Sometimes", "'/image/pullPolicy'", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("secrets.mode=vault", "'/secrets/mode'", "value must be one of 'files', 'variables'"),
    ("externalSecrets.databaseRefreshInterval=1m", "'/externalSecrets/databaseRefreshInterval'", "does not match pattern"),
    ("serviceAccount.roleArn=payments", "'/serviceAccount/roleArn'", "does not match pattern"),
    ("autoscaling.targetCpuPercent=100", "'/autoscaling/targetCpuPercent'", "maximum: got 100, want 95"),
    ("resources.cpuRequest=0.25", "'/resources/cpuRequest'", "does not match pattern"),
    ("resources.memory=128M", "'/resources/memory'", "does not match pattern"),
    ("resources.cpuLimit=1", "'/resources'", "additional properties 'cpuLimit' not allowed"),
    ("podDisruptionBudget.maxUnavailable=0", "'/podDisruptionBudget/maxUnavailable'", "minimum: got 0, want 1"),
    ("ingress.idleTimeoutSeconds=75", "'/ingress/idleTimeoutSeconds'", "maximum: got 75, want 74"),
    ("ingress.sslPolicy=ELBSecurityPolicy-2016-08", "'/ingress/sslPolicy'", "value must be one of"),
    ("ingress.scheme=public", "'/ingress/scheme'", "value must be one of 'internet-facing', 'internal'"),
    ("ingress.host=PAY.example.com", "'/ingress/host'", "does not match pattern"),
    ("ingress.tags.Owner=a=b", "'/ingress/tags/Owner'", "does not match pattern"),
    ("networkPolicy.databaseCidrs[0]=10.0.0.0", "'/networkPolicy/databaseCidrs/0'", "does not match pattern"),
    ("networkPolicy.databaseCidrs=null", "missing property 'databaseCidrs'"),
    ("monitoring.scrapeInterval=1m", "'/monitoring/scrapeInterval'", "does not match pattern"),
    ("monitoring.alerts.availabilityPercent=100", "'/monitoring/alerts/availabilityPercent'", "want 99.999"),
    ("prune.schedule=daily", "'/prune/schedule'", "does not match pattern"),
    ("prune.olderThan=ninety days", "'/prune/olderThan'", "does not match pattern"),
]

GUARDS = [
    ("region=", "region is empty", "values-spain.yaml or -f values-mexico.yaml"),
    ("shutdown.deregistrationDelaySeconds=25", "shutdown.deregistrationDelaySeconds is 25", "must be less than", "25 s"),
    ("settings.drainMs=1000", "shutdown.deregistrationDelaySeconds is 20", "11 s"),
    ("shutdown.terminationGracePeriodSeconds=30", "shutdown.terminationGracePeriodSeconds is 30", "must be more than", "30 s"),
    ("settings.checkoutTimeoutMs=2001", "settings.checkoutTimeoutMs is 2001", "must not be more than", "which is 2000"),
    ("settings.exchangeTimeoutMs=2001", "settings.exchangeTimeoutMs is 2001", "must not be more than", "which is 2000"),
    ("autoscaling.minReplicas=13", "autoscaling.minReplicas is 13", "autoscaling.maxReplicas, which is 12"),
    ("settings.poolSize=20", "settings.poolSize is 20", "482 connections", "database.connectionsMax, which is 200"),
    ("autoscaling.maxReplicas=30", "with 60 pods", "482 connections"),
    ("externalSecrets.enabled=false", "externalSecrets.enabled is false", "secrets.existingDatabaseSecret (key database_url)"),
    ("externalSecrets.enabled=false,secrets.existingDatabaseSecret=a,secrets.existingApiKeySecret=b",
     "migration.enabled and prune.enabled must be false"),
    ("resources.memory=96Mi", "resources.memory is 96Mi", "need 101Mi"),
    ("settings.maxConnections=100000", "settings.maxConnections, which is 100000", "need 307Mi"),
    ("podDisruptionBudget.maxUnavailable=3", "podDisruptionBudget.maxUnavailable is 3", "the fewest pods, which is 3"),
    ("database.host=db.example.com,database.port=6432", "database.port is 6432", "networkPolicy.databasePort, which is 5432"),
    ("ingress.inboundCidrs={192.0.2.0/24},ingress.securityGroups={sg-1}", "ingress.inboundCidrs has no effect beside"),
    ("ingress.host=", "ingress.host is empty", "such as payments.example.com"),
    ("ingress.wafAclArn=arn:aws:wafv2:us-east-1:111122223333:regional/webacl/a/b", "of the load balancer's region, eu-south-2"),
    ("ingress.certificateArn=arn:aws:acm:us-east-1:111122223333:certificate/a", "of the load balancer's region, eu-south-2"),
    ("database.host=db.us-east-1.rds.amazonaws.com", "it is in us-east-1, but region is eu-south-2"),
    ("monitoring.scrapeTimeout=16s", "monitoring.scrapeTimeout is 16s", "monitoring.scrapeInterval, which is 15s"),
]


class Refusals(unittest.TestCase):
    def test_a_wrong_value_is_named_with_what_would_be_right(self):
        for setting, *said in SCHEMA + GUARDS:
            with self.subTest(setting):
                done = helm_template("--set", setting)
                self.assertNotEqual(done.returncode, 0, "it was taken")
                for words in said:
                    self.assertIn(words, done.stderr)

    def test_every_guard_has_a_case(self):
        from support import CHART

        guards = (CHART / "templates/_guards.tpl").read_text().count("{{- fail ")
        self.assertLessEqual(guards, len(GUARDS))

    def test_a_kubernetes_without_stable_pre_stop_sleep_is_refused(self):
        done = helm_template("--kube-version", "1.33.0")
        self.assertIn("incompatible with Kubernetes v1.33.0", done.stderr)


if __name__ == "__main__":
    unittest.main()
