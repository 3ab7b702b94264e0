"""The Ingress has only annotations that the AWS Load Balancer Controller knows, with values that it and AWS accept.

Sources: the controller's page "Ingress annotations" (guide/ingress/annotations, version 2.x), and AWS's
pages "Edit attributes for your Application Load Balancer", "Target group attributes" and "Security policies for your
Application Load Balancer".
"""

import json
import re
import unittest

from support import NAME, REGIONS, helm_template, render

PREFIX = "alb.ingress.kubernetes.io/"
NUMBER = r"[0-9]+"
# Maps an annotation to the pattern of its values.
KNOWN = {
    "certificate-arn": r"arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+",
    "backend-protocol": r"HTTP|HTTPS",
    "healthcheck-interval-seconds": NUMBER,
    "healthcheck-path": r"/.*",
    "healthcheck-port": r"traffic-port|[0-9]+",
    "healthcheck-protocol": r"HTTP|HTTPS",
    "healthcheck-timeout-seconds": NUMBER,
    "healthy-threshold-count": NUMBER,
    "inbound-cidrs": r"[0-9./,:a-f]+",
    "listen-ports": r".*",
    "load-balancer-attributes": r".*",
    "manage-backend-security-group-rules": r"true|false",
    "scheme": r"internal|internet-facing",
    "security-groups": r".+",
    "ssl-policy": r"ELBSecurityPolicy-TLS13-1-[23](-Res)?(-FIPS)?-PQ-2025-09",
    "ssl-redirect": NUMBER,
    "subnets": r".+",
    "success-codes": r"[0-9,-]+",
    "tags": r"[^=,]+=[^=,]*(,[^=,]+=[^=,]*)*",
    "target-group-attributes": r".*",
    "target-type": r"instance|ip",
    "unhealthy-threshold-count": NUMBER,
    "wafv2-acl-arn": r"arn:aws:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/.+",
}
# Maps an attribute to a test of its values.
LOAD_BALANCER = {
    "access_logs.s3.bucket": lambda value: value,
    "access_logs.s3.enabled": lambda value: value in ("true", "false"),
    "access_logs.s3.prefix": lambda value: value,
    "idle_timeout.timeout_seconds": lambda value: 1 <= int(value) <= 4000,
    "routing.http.desync_mitigation_mode": lambda value: value in ("monitor", "defensive", "strictest"),
    "routing.http.drop_invalid_header_fields.enabled": lambda value: value in ("true", "false"),
    "routing.http2.enabled": lambda value: value in ("true", "false"),
}
TARGET_GROUP = {
    "deregistration_delay.timeout_seconds": lambda value: 0 <= int(value) <= 3600,
    "load_balancing.algorithm.type": lambda value: value in ("round_robin", "least_outstanding_requests", "weighted_random"),
}
# What an operator may set as an annotation: no guard and no template depends on it.
FREE = {"healthcheck-interval-seconds", "healthcheck-timeout-seconds", "healthy-threshold-count", "unhealthy-threshold-count"}
CALLERS = {"ingress": {"inboundCidrs": ["192.0.2.0/24", "2001:db8::/32"]}}
EVERYTHING = {
    "ingress": {
        "certificateArn": "arn:aws:acm:eu-south-2:111122223333:certificate/1",
        "wafAclArn": "arn:aws:wafv2:eu-south-2:111122223333:regional/webacl/payments/1",
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "accessLogs": {"bucket": "payments-logs"},
    }
}


def annotations(region="spain", **values):
    found = render(region, **values)[("Ingress", NAME)]["metadata"]["annotations"]
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


def pairs(text):
    return dict(one.split("=", 1) for one in text.split(","))


class Annotations(unittest.TestCase):
    def test_every_annotation_is_known_and_has_a_value_that_is_taken(self):
        for found in [annotations(region) for region in REGIONS] + [annotations(**EVERYTHING), annotations(**CALLERS)]:
            for name, value in found.items():
                with self.subTest(name):
                    self.assertIn(name, KNOWN)
                    self.assertIsInstance(value, str)
                    self.assertRegex(value, re.compile(f"^({KNOWN[name]})$"))
            for name, known in [("load-balancer-attributes", LOAD_BALANCER), ("target-group-attributes", TARGET_GROUP)]:
                for attribute, value in pairs(found[name]).items():
                    with self.subTest(attribute):
                        self.assertTrue(known[attribute](value), value)

    def test_every_value_of_the_list_can_be_reached(self):
        self.assertEqual(set(annotations(**EVERYTHING)) | set(annotations(**CALLERS)), set(KNOWN))

    def test_the_load_balancer_is_told_what_the_service_needs(self):
        found = annotations()
        self.assertEqual(found["target-type"], "ip")
        self.assertEqual(found["healthcheck-path"], "/readyz")
        self.assertEqual(found["ssl-redirect"], "443")
        self.assertEqual(json.loads(found["listen-ports"]), [{"HTTP": 80}, {"HTTPS": 443}])
        attributes = pairs(found["load-balancer-attributes"])
        self.assertEqual(attributes["idle_timeout.timeout_seconds"], "60")
        self.assertEqual(attributes["routing.http.desync_mitigation_mode"], "defensive")
        self.assertEqual(attributes["routing.http.drop_invalid_header_fields.enabled"], "true")
        # If it were left out, a value that somebody once set would stay.
        self.assertEqual(attributes["access_logs.s3.enabled"], "false")
        attributes = pairs(found["target-group-attributes"])
        self.assertEqual(attributes["load_balancing.algorithm.type"], "least_outstanding_requests")
        self.assertEqual(attributes["deregistration_delay.timeout_seconds"], "20")

    def test_an_annotation_by_value_wins_where_nothing_rests_on_it(self):
        given = {f"{PREFIX}{name}": "7" for name in FREE}
        found = annotations(ingress={"annotations": given})
        self.assertEqual({found[name] for name in FREE}, {"7"})

    def test_an_annotation_that_has_a_value_of_its_own_is_refused(self):
        refused = {name: f"{PREFIX}{name}" for name in set(KNOWN) - FREE}
        said = helm_template(values={"ingress": {"annotations": dict.fromkeys(refused.values(), "7")}}).stderr
        for name, key in refused.items():
            self.assertIn(f'ingress.annotations has "{key}": ', said, name)

    def test_access_logs_and_firewall_come_by_value(self):
        found = annotations(**EVERYTHING)
        attributes = pairs(found["load-balancer-attributes"])
        self.assertEqual(
            [attributes[f"access_logs.s3.{name}"] for name in ("enabled", "bucket", "prefix")],
            ["true", "payments-logs", NAME],
        )
        self.assertNotIn("wafv2-acl-arn", annotations())
        self.assertNotIn("certificate-arn", annotations())


if __name__ == "__main__":
    unittest.main()
