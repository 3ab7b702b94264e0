"""migrate.py CHECKOUT FACTS: the region's migration as its Job would run it, since KWOK ends Jobs without running them:
from the image that it names, with its own account, store and secret. Twice, as it may be repeated."""

import json
import os
import pathlib
import sys

import yaml

from cluster import Container, apply, command_output, eventually, get, kubectl, secret
from image import pull
from support import HELM, NAME, pod_spec

checkout, facts = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())["facts"]["value"]
JOB = f"{NAME}-migrate"
settings = {
    "image.registry": facts["image_registry"], "serviceAccount.roleArn": facts["application_role_arn"],
    "migration.roleArn": facts["migrate_role_arn"]}
text = command_output([
    HELM, "template", NAME, checkout / "chart", "--namespace", NAME, "--kube-version", os.environ["KUBERNETES_VERSION"],
    "-f", checkout / f"chart/values-{facts['site']}.yaml", "-f", checkout / f"argocd/releases/{facts['site']}.yaml",
    *(f"--set-string={name}={value}" for name, value in settings.items()), "--show-only", "templates/migration.yaml"])
objects = {one["kind"]: one for one in yaml.safe_load_all(text) if one}
passing = ("ServiceAccount", "SecretStore", "ExternalSecret")
for kind in passing:
    apply(objects[kind], NAME)
eventually("the owner's secret is there", lambda: secret(JOB, NAME))
pod = pod_spec(objects["Job"])
binary, variables = pull(pod["containers"][0]["image"])
container = Container(pod, NAME, variables, binary)
for _ in range(2):
    done = container.run()
    print(done.stdout, done.stderr, sep="", end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"the migration of {facts['site']} ended with {done.returncode}")
for kind in reversed(passing):
    kubectl("delete", kind, JOB, namespace=NAME)
eventually("the owner's secret is gone", lambda: JOB not in [one["metadata"]["name"] for one in get("secrets", namespace=NAME)["items"]])
