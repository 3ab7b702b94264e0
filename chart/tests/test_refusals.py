"""`helm template` refuses wrong values, each with a message that names the value and says what would be right."""

import itertools
import json
import re
import subprocess
import unittest

from support import CHART, HELM, VERSION, helm_template

# What the schema itself refuses: arguments of --set, and what the message must contain.
SCHEMA = [
    ("unknown=1", "additional properties 'unknown' not allowed"),
    ("settings.poolsize=8", "'/settings'", "additional properties 'poolsize' not allowed"),
    ("settings.poolSize=0", "'/settings/poolSize'", "minimum: got 0, want 1"),
    ("settings.poolSize=513", "'/settings/poolSize'", "maximum: got 513, want 512"),
    ("settings.poolSize=eight", "'/settings/poolSize'", "got string, want integer"),
    ("settings.listenAddress=localhost", "'/settings/listenAddress'", "value must be one of '0.0.0.0', '::'"),
    ("settings.port=80", "'/settings/port'", "minimum: got 80, want 1,024"),
    ("settings.statementMode=prepared", "'/settings/statementMode'", "value must be one of 'unnamed', 'named'"),
    ("settings.logRequests=maybe", "'/settings/logRequests'", "got string, want boolean"),
    ("settings.drainMs=300001", "'/settings/drainMs'", "maximum: got 300,001, want 300,000"),
    ("image.pullPolicy=Sometimes", "'/image/pullPolicy'", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("externalSecrets.nullBytePolicy=Drop", "'/externalSecrets/nullBytePolicy'", "value must be one of '', 'Ignore', 'Fail'"),
    ("ingress.subnets={a,a}", "'/ingress/subnets'", "items at 0 and 1 are equal"),
    ("secrets.mode=vault", "'/secrets/mode'", "value must be one of 'files', 'variables'"),
    ("autoscaling.targetCpuPercent=100", "'/autoscaling/targetCpuPercent'", "maximum: got 100, want 95"),
    ("resources.cpuLimit=1", "'/resources'", "additional properties 'cpuLimit' not allowed"),
    ("podDisruptionBudget.maxUnavailable=0", "'/podDisruptionBudget/maxUnavailable'", "minimum: got 0, want 1"),
    ("ingress.idleTimeoutSeconds=75", "'/ingress/idleTimeoutSeconds'", "maximum: got 75, want 74"),
    ("ingress.sslPolicy=ELBSecurityPolicy-2016-08", "'/ingress/sslPolicy'", "value must be one of"),
    ("ingress.scheme=public", "'/ingress/scheme'", "value must be one of 'internet-facing', 'internal'"),
    ("networkPolicy.databaseCidrs=null", "missing property 'databaseCidrs'"),
    ("monitoring.alerts.availabilityPercent=100", "'/monitoring/alerts/availabilityPercent'", "want 99.999"),]

# Strings: a value's path, the valid example that the sentence must give, and wrong strings. `[]` stands for the items
# of a list, `{}` for the keys of a map, `{k}` for the value of its key k.
FORMS = [
    ("region", "eu-south-2", "Spain", "eu-south", "EU-SOUTH-2", "eu-nowhere-9"),
    ("environment", "production", "", "a b", "e" * 64),
    ("nameOverride", "payments", "1pay", "Pay", "a.b", "a-", "a" * 47),
    ("fullnameOverride", "payments", "1pay", "pay_ments", "a..b"),
    ("commonLabels{}", "example.com/team", "a b", "/team", "-team", "a" * 64),
    ("commonLabels{team}", "payments", "a b", "-a", "a" * 64),
    ("image.registry", "111122223333.dkr.ecr.eu-south-2.amazonaws.com", "https://r.example.com", "r..example.com", "R.example.com"),
    ("image.repository", "payment-latency-api", "Payment", "a/", "a:1"),
    ("image.tag", VERSION, "a b", "-a", "a" * 129),
    ("image.digest", "sha256:0123", "sha256:12", "0" * 64, "sha256:" + "0" * 65, "sha256:" + "A" * 64),
    ("image.pullSecrets[]", "payments-database", "", "A", "a..b"),
    ("settings.defaultCurrency", "EUR or MXN", "euro", "eur", "ZZZ", "XAU", "HRK"),
    ("database.host", "db.example.com", "db:5432", "a..b", "-", "DB.us-east-1.rds.amazonaws.com", "postgresql://db"),
    ("database.ownerHost", "db.example.com", "db:5432", "a..b"),
    ("database.name", "payments", "", "1a", "a-b", "a" * 64),
    ("database.caConfigMap", "payments-database", "a..b", "Ca"),
    ("secrets.existingDatabaseSecret", "payments-database", "a..b", "a_b", ".a"),
    ("secrets.existingApiKeySecret", "payments-database", "a..b", "a."),
    ("externalSecrets.apiKeyName", "payment-latency-api/production/database", "a b", "a#b"),
    ("externalSecrets.databaseName", "payment-latency-api/production/database", "a b"),
    ("externalSecrets.databaseOwnerName", "payment-latency-api/production/database", "a b"),
    ("externalSecrets.apiKeyRefreshInterval", "1h0m0s", "1h", "60s", "90m0s", "0h30m0s", "1h00m0s", "25h0m0s", "9999h0m0s", "4s", "", "3600"),
    ("externalSecrets.databaseRefreshInterval", "1m0s", "1m", "60s", "01m0s", "1m60s"),
    ("externalSecrets.staticCredentials.secretName", "payments-database", "a..b"),
    ("externalSecrets.staticCredentials.accessKeyIdKey", "access-key-id", "", "a b", ".."),
    ("externalSecrets.staticCredentials.secretAccessKeyKey", "access-key-id", "", "a/b"),
    ("serviceAccount.name", "payments-database", "a..b", "A"),
    ("serviceAccount.roleArn", "arn:aws:iam::111122223333:role/", "payments", "arn:aws:iam::1:role/a", "arn:aws:iam::111122223333:user/a"),
    ("serviceAccount.annotations{}", "example.com/team", "a b"),
    ("resources.cpuRequest", "250m", "0.25", "0", "250", "m"),
    ("resources.memory", "256Mi", "256M", "128", "0Mi", "1.5Gi"),
    ("scheduling.nodeSelector{}", "example.com/team", "a b"),
    ("scheduling.nodeSelector{workload}", "payments", "a b"),
    ("scheduling.priorityClassName", "payments-database", "a..b"),
    ("podLabels{}", "example.com/team", "a b"),
    ("podLabels{team}", "payments", "a b"),
    ("podAnnotations{}", "example.com/team", "a b"),
    ("ingress.className", "payments-database", "", "ALB"),
    ("ingress.host", "payments.example.com", "PAY.example.com", "payments", "https://pay.example.com", "192.0.2.1", "a..com", "*.example.com"),
    ("ingress.certificateArn", "arn:aws:acm:eu-south-2:111122223333:certificate/", "a", "arn:aws:acm:eu-south-2:1:certificate/a"),
    ("ingress.inboundCidrs[]", "10.0.0.0/16", "10.0.0.0", "any", ""),
    ("ingress.subnets[]", "subnet-0123456789abcdef0", "", "a,b", " a"),
    ("ingress.securityGroups[]", "sg-0123456789abcdef0", "", "a,b"),
    ("ingress.accessLogs.bucket", "payments-access-logs", "ab", "a..b", "A-bucket", "s3://logs", "-ab"),
    ("ingress.accessLogs.prefix", "payment-latency-api", "/a", "a/", "a,b", "a//b"),
    ("ingress.wafAclArn", ":regional/webacl/payments/", "a", "arn:aws:wafv2:eu-south-2:111122223333:global/webacl/a/b"),
    ("ingress.tags{}", "Team", "a=b", "a,b", " a"),
    ("ingress.tags{Owner}", "payments", "a=b", "a,b"),
    ("ingress.annotations{}", "example.com/team", "a b"),
    ("networkPolicy.loadBalancerCidrs[]", "10.0.0.0/16", "10.0.0.0"),
    ("networkPolicy.callerNamespaces[]", "monitoring", "", "a.b", "A"),
    ("networkPolicy.databaseCidrs[]", "10.0.0.0/16", "256.0.0.0/8", "10.0.0.0/33", "10.0.0/8", "01.0.0.0/8", ":::/64", "::1::/64",
     "2001:db8::/129", "2001:db8/32", "1:2:3:4:5:6:7:8:9/64", "1:2:3:4:5:6:7::8:9/64", "12345::/16"),
    ("networkPolicy.prometheusNamespace", "monitoring", "", "a.b", "A", "a" * 64),
    ("networkPolicy.dnsNamespace", "monitoring", "kube_system"),
    ("networkPolicy.dnsCidrs[]", "10.0.0.0/16", "169.254.20.10"),
    ("monitoring.labels{}", "example.com/team", "a b"),
    ("monitoring.labels{release}", "payments", "a b"),
    ("monitoring.scrapeInterval", "15s", "1m", "15", "0s", "61s", "999s"),
    ("monitoring.scrapeTimeout", "15s", "500ms"),
    ("monitoring.alerts.availabilityPercent", "99.95", "100", "93.9", "99.9999", "99,9", "high"),
    ("monitoring.alerts.latencyPercent", "99.95", "100", "93", "high"),
    ("monitoring.alerts.runbookBaseUrl", "https://example.com/", "example.com", "https://", "ftp://example.com", "https://example.com/a b"),
    ("monitoring.alerts.labels{}", "team", "a.b", "example.com/team", "1a", "__a"),
    ("monitoring.dashboard.label", "example.com/team", "a b"),
    ("monitoring.dashboard.labelValue", "payments", "a b"),
    ("migration.serviceAccountName", "payments-database", "a..b"),
    ("migration.roleArn", "arn:aws:iam::111122223333:role/", "payments"),
    ("prune.schedule", "17 3 * * *", "daily", "99 99 99 99 99", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "* * * *",
     "*/0 * * * *", "1,, * * * *", "@daily"),
    ("prune.olderThan", "90d", "ninety days", "0d", "90", "90m", "3M", "99999d"),
    ("scheduling.tolerations[].key", "example.com/team", "a b"),
    ("scheduling.tolerations[].value", "payments", "a b"),
]

# Valid strings of the formats.
TAKEN = [
    ("region", "us-east-1", "ap-southeast-4", "us-gov-west-1", "eusc-de-east-1"),
    ("nameOverride", "", "p", "pay-2"),
    ("commonLabels{}", "team", "example.com/a.b_c-d"),
    ("commonLabels{team}", "", "A.b_c-1"),
    ("image.registry", "localhost:5000", "111122223333.dkr.ecr.eu-south-2.amazonaws.com/team/a_b"),
    ("image.repository", "team/payment-latency-api"),
    ("image.digest", "", "sha256:" + "0a" * 32),
    ("settings.defaultCurrency", "", "EUR", "JPY", "CLF"),
    ("database.host", "localhost", "10.0.0.5", "payments.proxy-abc.eu-south-2.rds.amazonaws.com"),
    ("secrets.existingDatabaseSecret", "a", "1", "a.b-c"),
    ("externalSecrets.databaseName", "rds!cluster-0123-4567", "arn:aws:secretsmanager:eu-south-2:111122223333:secret:a/b-0A1b2C"),
    ("externalSecrets.databaseRefreshInterval", "5s", "59s", "1m0s", "59m59s", "1h0m0s", "23h0m1s", "24h0m0s"),
    ("externalSecrets.staticCredentials.accessKeyIdKey", ".aws", "AWS_KEY"),
    ("serviceAccount.roleArn", "arn:aws:iam::111122223333:role/team/payments", "arn:aws-eusc:iam::111122223333:role/a"),
    ("resources.cpuRequest", "1", "1500m"),
    ("resources.memory", "2Gi", "512Mi"),
    ("ingress.host", "a.io", "pay.xn--p1ai", "1.example.com"),
    ("ingress.accessLogs.bucket", "", "abc", "a.b-c"),
    ("ingress.accessLogs.prefix", "", "a", "a/b.c"),
    ("ingress.tags{Owner}", "", "Pagos España", "a/b@c:d+e"),
    ("ingress.inboundCidrs[]", "0.0.0.0/0", "255.255.255.255/32", "::/0", "2001:db8::/32", "1:2:3:4:5:6:7:8/128", "::ffff/112",
     "fe80::1:2/127", "1::8/9"),
    ("monitoring.scrapeInterval", "60s", "5s"),
    ("monitoring.alerts.availabilityPercent", "99.95", "94", "99.999"),
    ("monitoring.alerts.latencyPercent", "94.5"),
    ("monitoring.alerts.runbookBaseUrl", "http://wiki.local:8080", "https://example.com/a/"),
    ("prune.schedule", "* * * * *", "*/5 0-6 1,15 JAN-MAR MON-FRI", "0 0/2 31 12 0", "59 23 1-7 */3 6"),
    ("prune.olderThan", "1d", "9999d", "24h"),
]

GUARDS = [
    ("region=", "region is empty", "values-spain.yaml or -f values-mexico.yaml"),
    ("shutdown.deregistrationDelaySeconds=25", "shutdown.deregistrationDelaySeconds is 25", "must be less than", "25 s"),
    ("settings.drainMs=1000", "shutdown.deregistrationDelaySeconds is 20", "11 s"),
    ("shutdown.terminationGracePeriodSeconds=30", "shutdown.terminationGracePeriodSeconds is 30", "must be more than", "30 s"),
    ("ingress.idleTimeoutSeconds=5", "ingress.idleTimeoutSeconds is 5", "must be more than", "5 s"),
    ("settings.paymentDeadlineMs=60000,shutdown.terminationGracePeriodSeconds=120", "ingress.idleTimeoutSeconds is 60", "63 s"),
    ("settings.checkoutTimeoutMs=2001", "settings.checkoutTimeoutMs is 2001", "must not be more than", "which is 2000"),
    ("settings.exchangeTimeoutMs=2001", "settings.exchangeTimeoutMs is 2001", "must not be more than", "which is 2000"),
    ("autoscaling.minReplicas=13", "autoscaling.minReplicas is 13", "autoscaling.maxReplicas, which is 12"),
    ("settings.poolSize=20", "settings.poolSize is 20", "482 connections", "database.connectionsMax, which is 200"),
    ("autoscaling.maxReplicas=30", "with 60 pods", "482 connections"),
    ("externalSecrets.enabled=false", "externalSecrets.enabled is false", "secrets.existingDatabaseSecret (key database_url)"),
    ("externalSecrets.enabled=false,secrets.existingDatabaseSecret=a,secrets.existingApiKeySecret=b",
     "migration.enabled and prune.enabled must be false"),
    ("resources.memory=128Mi", "resources.memory is 128Mi", "need at least 227Mi"),
    ("settings.maxConnections=100000", "settings.maxConnections, which is 100000", "need at least 1362Mi"),
    ("podDisruptionBudget.maxUnavailable=3", "podDisruptionBudget.maxUnavailable is 3", "the minimum number of pods, which is 3"),
    ("database.host=db.example.com,database.port=6432", "database.port is 6432", "networkPolicy.databasePort, which is 5432"),
    ("ingress.inboundCidrs={192.0.2.0/24},ingress.securityGroups={sg-1}", "ingress.inboundCidrs has no effect if ingress.securityGroups is set"),
    ("ingress.host=", "ingress.host is empty", "such as payments.example.com"),
    ("ingress.wafAclArn=arn:aws:wafv2:us-east-1:111122223333:regional/webacl/a/b", "in the load balancer's region, eu-south-2"),
    ("ingress.certificateArn=arn:aws:acm:us-east-1:111122223333:certificate/a", "in the load balancer's region, eu-south-2"),
    ("externalSecrets.databaseName=arn:aws:secretsmanager:us-east-1:111122223333:secret:a", "externalSecrets.databaseName is arn:",
     "in Secrets Manager of the release's region, eu-south-2"),
    ("database.host=db.us-gov-west-1.example.com", "it is in us-gov-west-1, but region is eu-south-2"),
    ("database.host=db.0a1b.xx-new-1.rds.amazonaws.com", "it is in xx-new-1, but region is eu-south-2"),
    ("database.host=db.us-east-1.rds.amazonaws.com", "it is in us-east-1, but region is eu-south-2"),
    ("monitoring.scrapeTimeout=16s", "monitoring.scrapeTimeout is 16s", "monitoring.scrapeInterval, which is 15s"),
    ("serviceAccount.name=payment-latency-api-migrate", "ServiceAccounts payment-latency-api-migrate, payment-latency-api-migrate",
     "all three must differ"),
    ("serviceAccount.name=default", "ServiceAccounts default, payment-latency-api-migrate", "every namespace already has one named default"),
    ("secrets.existingDatabaseSecret=payment-latency-api-api-key",
     'existingDatabaseSecret is "payment-latency-api-api-key" and secrets.existingApiKeySecret is ""', "set another name"),
    ("secrets.existingApiKeySecret=payment-latency-api-database",
     'existingApiKeySecret is "payment-latency-api-database"', "set another name"),
    ("serviceAccount.create=false", "serviceAccount.create is false", "set serviceAccount.name"),
    ("serviceAccount.create=false,serviceAccount.name=a,serviceAccount.annotations.a=b", "serviceAccount.create is false", "must be empty"),
    ("migration.serviceAccountName=default,serviceAccount.create=false,serviceAccount.name=a", "every namespace already has one named default"),
    ("secrets.existingDatabaseSecret=payment-latency-api-migrate", 'secrets.existingDatabaseSecret is "payment-latency-api-migrate"',
     "set the name of a Secret of your own"),
    ("database.port=6432,networkPolicy.databasePort=6432", "database.port is 6432", "unless database.host is set"),
    ("database.ownerHost=owner.example.com", "database.ownerHost is owner.example.com", "unless database.host is set"),
    ("database.host=db.example.com,database.ownerHost=db.us-east-1.rds.amazonaws.com",
     "database.ownerHost is db.us-east-1.rds.amazonaws.com", "it is in us-east-1, but region is eu-south-2"),
    ("database.name=other", "database.name is other", "unless database.host is set"),
    (r"ingress.tags.aws:Owner=a", 'ingress.tags has "aws:Owner"', "use another key"),
    ("networkPolicy.databaseCidrs={10.0.0.0/8,10.20.30.40/20}", 'networkPolicy.databaseCidrs[1] is "10.20.30.40/20"', "must be 10.20.16.0/20"),
    ("ingress.inboundCidrs={192.0.2.7/0}", 'ingress.inboundCidrs[0] is "192.0.2.7/0"', "must be 0.0.0.0/0"),
    ("scheduling.tolerations[0].effect=NoSchedule", "scheduling.tolerations[0] has no key", "set operator to Exists"),
    ("scheduling.tolerations[0].operator=Exists,scheduling.tolerations[0].value=a", "scheduling.tolerations[0].value is", "set operator to Equal"),
    ("scheduling.tolerations[0].key=a,scheduling.tolerations[0].tolerationSeconds=5",
     "scheduling.tolerations[0].tolerationSeconds is 5", "only if effect is NoExecute"),
    ("ingress.subnets={subnet-1}", "ingress.subnets has only subnet-1", "in at least two zones"),
    ("ingress.accessLogs.prefix=a/AWSLogs", 'ingress.accessLogs.prefix is "a/AWSLogs"', "must not contain AWSLogs"),
    ("prune.schedule=0 6-2 * * *", 'prune.schedule is "0 6-2 * * *"', "the range 6-2 ends before it begins"),
    (r"commonLabels.app\.kubernetes\.io/name=a", 'commonLabels has "app.kubernetes.io/name"', "use another key"),
    (r"commonLabels.helm\.sh/chart=a", 'commonLabels has "helm.sh/chart"', "use another key"),
    (r"podLabels.pod-template-hash=a", 'podLabels has "pod-template-hash"', "use another key"),
    ("podLabels.data-residency=a", 'podLabels has "data-residency"', "commonLabels already sets it"),
    (r"monitoring.labels.app\.kubernetes\.io/version=a", 'monitoring.labels has "app.kubernetes.io/version"', "use another key"),
    ("monitoring.dashboard.label=data-residency", 'monitoring.dashboard.label has "data-residency"', "commonLabels already sets it"),
    ("monitoring.alerts.labels.severity=a", 'monitoring.alerts.labels has "severity"', "use another key"),
    (r"podAnnotations.checksum/config=a", 'podAnnotations has "checksum/config"', "use another key"),
    (r"podAnnotations.eks\.amazonaws\.com/skip-containers=a", 'podAnnotations has "eks.amazonaws.com/skip-containers"',
     "no container gets the role"),
    (r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=a", "serviceAccount.annotations has", "set serviceAccount.roleArn"),
    (r"ingress.annotations.kubernetes\.io/ingress\.class=alb", "ingress.annotations has", "set ingress.className"),
    (r"ingress.annotations.alb\.ingress\.kubernetes\.io/scheme=internal", "ingress.annotations has", "set ingress.scheme"),
    (r"ingress.annotations.alb\.ingress\.kubernetes\.io/load-balancer-attributes=idle_timeout.timeout_seconds\=400",
     '"alb.ingress.kubernetes.io/load-balancer-attributes"', "set ingress.idleTimeoutSeconds"),
    (r"ingress.annotations.alb\.ingress\.kubernetes\.io/target-group-attributes=a", "set shutdown.deregistrationDelaySeconds"),
    (r"ingress.annotations.alb\.ingress\.kubernetes\.io/healthcheck-path=/health", "the health check is /readyz"),
]

# Release names, and the Service names that they make.
RELEASES = [("1a", "1a-payment-latency-api"), ("a.b", "a.b-payment-latency-api"), ("2payment-latency-api", "2payment-latency-api")]


def place(path):
    """The value that a path of the tables is about, without the brackets."""
    return re.split(r"[\[{]", path)[0]


def nested(path, text):
    """Values with `text` at a path of the tables, and how a sentence names that place."""
    at, inside, field = re.fullmatch(r"([A-Za-z.]+)(\[\]|\{\w*\})?(?:\.(\w+))?", path).groups()
    key = (inside or "")[1:-1]
    if inside == "[]" and field:
        value, name = [{field: text, "operator": "Exists"}], f"{at}[0].{field}"
    elif inside == "[]":
        value, name = [text], f"{at}[0]"
    elif key:
        value, name = {key: text}, f"{at}.{key}"
    elif inside:
        value, name = {text: "a"}, f"a key of {at}"
    else:
        value, name = text, at
    for key in reversed(at.split(".")):
        value = {key: value}
    return value, name


def merged(one, other):
    both = {**one, **other}
    for key in one.keys() & other.keys():
        both[key] = merged(one[key], other[key])
    return both


def rounds(table):
    """The strings of a table in as few sets of values as possible: (values, [(path, name in a sentence, text)])."""
    queues = {}
    for path, *texts in table:
        queues.setdefault(place(path), []).extend((path, text) for text in texts)
    for batch in itertools.zip_longest(*queues.values()):
        values, found = {}, []
        for path, text in filter(None, batch):
            value, name = nested(path, text)
            values = merged(values, value)
            found.append((path, name, text))
        yield values, found


def free_texts(one, definitions, path=()):
    """The paths of a schema's strings, and of its lists and maps of strings, except those with an enum."""
    one = {**definitions.get(one.get("$ref", "").removeprefix("#/$defs/"), {}), **one}
    if "string" in one["type"] and "enum" not in one:
        yield ".".join(path)
    below = [one.get("items"), one.get("additionalProperties")]
    for part in [part for part in below if isinstance(part, dict) and "properties" not in part]:
        yield from free_texts(part, definitions, path)
    for key, part in one.get("properties", {}).items():
        yield from free_texts(part, definitions, (*path, key))


class Refusals(unittest.TestCase):
    def test_a_wrong_value_is_named_with_what_would_be_right(self):
        for setting, *said in SCHEMA + GUARDS:
            with self.subTest(setting):
                done = helm_template("--set", setting)
                self.assertNotEqual(done.returncode, 0, "it was accepted")
                for words in said:
                    self.assertIn(words, done.stderr)

    def test_a_wrong_text_is_named_with_what_would_be_right(self):
        examples = {path: example for path, example, *_ in FORMS}
        for values, found in rounds([(path, *wrong) for path, _, *wrong in FORMS]):
            sentences = helm_template(values=values).stderr.splitlines()
            for path, name, text in found:
                with self.subTest(name, text=text):
                    sentence = next((one for one in sentences if f'{name} is "{text}": it must be ' in one), None)
                    self.assertIsNotNone(sentence, "it was accepted")
                    self.assertIn(examples[path], sentence.partition("such as ")[2])

    def test_a_right_text_is_taken(self):
        for values, found in rounds(TAKEN):
            said = helm_template(values=values).stderr
            self.assertNotIn("the specifications of the schema", said)
            for _, name, text in found:
                with self.subTest(name, text=text):
                    self.assertNotIn(f'{name} is "{text}"', said)

    def test_every_text_has_a_form_and_every_form_a_case(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        # A pattern in the schema would be checked first, and its message would only show the pattern.
        self.assertNotIn("'pattern'", str(schema))
        table = (CHART / "templates/_forms.tpl").read_text().split('"app.valueForms" -}}\n')[1].split("{{- end")[0]
        forms = dict(line.split(": ") for line in table.splitlines())
        self.assertEqual(set(forms), set(free_texts(schema, schema["$defs"])))
        cases = {(place(path), "key" if "{}" in path else "value") for path, *_ in FORMS if not path.startswith("scheduling.tol")}
        keys = {path for path, form in forms.items() if "=" in form} | {at for at, what in cases if what == "key"}
        self.assertEqual(cases, {(path, "key") for path in keys} | {
            (path, "value") for path, form in forms.items() if "=" in form or path not in keys})

    def test_every_guard_has_a_case(self):
        guards = (CHART / "templates/_guards.tpl").read_text().count("{{- fail ")
        self.assertLessEqual(guards, len(GUARDS) + 1)

    def test_a_release_whose_name_no_service_may_have_is_refused(self):
        for release, name in RELEASES:
            with self.subTest(release):
                done = helm_template(release=release)
                self.assertIn(f'the release name is "{release}", which makes "{name}" the name of a Service', done.stderr)
                self.assertIn("set fullnameOverride", done.stderr)
                self.assertEqual(helm_template("--set", "fullnameOverride=payments", release=release).returncode, 0)

    def test_a_name_that_yaml_does_not_read_as_a_text_is_refused(self):
        for name in ("true", "false", "yes", "no", "on", "off", "y", "n", "null"):
            with self.subTest(name):
                said = helm_template("--set-string", f"fullnameOverride={name}").stderr
                self.assertIn(f'makes "{name}" the name of a Service: YAML does not read that as a string', said)

    def test_what_the_load_balancer_alone_reads_is_not_compared_without_one(self):
        for setting in ("shutdown.deregistrationDelaySeconds=25", "ingress.idleTimeoutSeconds=5"):
            with self.subTest(setting):
                self.assertEqual(helm_template("--set", f"ingress.enabled=false,{setting}").stderr, "")

    def test_a_share_is_taken_from_set_and_from_set_json(self):
        for option, value in [("--set", "99.95"), ("--set-string", "99.95"), ("--set-json", "99.95"), ("--set", "99")]:
            with self.subTest(option, value=value):
                done = helm_template(option, f"monitoring.alerts.availabilityPercent={value}")
                self.assertEqual(done.stderr, "")
                self.assertIn(f"6 * {0.0005 if value == '99.95' else 0.01}", done.stdout)

    def test_lint_takes_what_template_refuses(self):
        command = [HELM, "lint", "--strict", str(CHART), "-f", str(CHART / "values-spain.yaml"), "--set"]
        for setting, code in [("image.tag=a b", 0), ("autoscaling.minReplicas=13", 0), ("settings.poolSize=0", 1)]:
            with self.subTest(setting):
                self.assertNotEqual(helm_template("--set", setting).returncode, 0)
                self.assertEqual(subprocess.run([*command, setting], capture_output=True, check=False).returncode, code)

    def test_cores_are_taken_as_a_number(self):
        self.assertIn('cpu: "2"', helm_template("--set", "resources.cpuRequest=2").stdout)
        self.assertIn('resources.cpuRequest is "0.25": it must be ', helm_template("--set-json", "resources.cpuRequest=0.25").stderr)

    def test_a_kubernetes_without_stable_pre_stop_sleep_is_refused(self):
        done = helm_template("--kube-version", "1.33.0")
        self.assertIn("incompatible with Kubernetes v1.33.0", done.stderr)


if __name__ == "__main__":
    unittest.main()
