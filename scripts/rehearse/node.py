"""What this machine has no kubelet, metrics server and load balancer controller for, in one region, every few seconds:
the newest pod's container runs as a process, its files are renewed, each pod has a figure, the Ingress has an address."""

import json
import subprocess
import time

from cluster import FOLDER, Container, end, get, kubectl
from image import pull
from support import NAME

EVERY_S = 3
LABELS = {"app.kubernetes.io/instance": NAME, "app.kubernetes.io/component": "api"}


class Node:
    """One process for all pods of a version, since both regions' pods share this host's ports."""

    def __init__(self):
        self.version = self.container = self.process = None

    def run(self, pods):
        newest = max(pods, key=lambda one: one["metadata"]["creationTimestamp"], default=None)
        version = newest and newest["metadata"]["labels"]["pod-template-hash"]
        if self.process and (version != self.version or self.process.poll() is not None):
            print("ends:", self.version, end(self.process), flush=True)
            self.version = self.process = None
        if self.process:
            self.container.mount()
        elif newest:
            binary, variables = pull(newest["spec"]["containers"][0]["image"])
            self.container = Container(newest["spec"], NAME, {**variables, "LISTEN_ADDRESS": "127.0.0.1"}, binary)
            self.version, self.process = version, self.container.start("service")
            (FOLDER / "service.pid").write_text(str(self.process.pid))
            print("starts:", newest["metadata"]["name"], newest["spec"]["containers"][0]["image"], flush=True)


def measure(pods):
    """The same figure for every pod, far from where pods would be added."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    items = [{
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "timestamp": now, "window": "1s",
        "metadata": {
            "name": pod["metadata"]["name"], "namespace": NAME, "labels": pod["metadata"]["labels"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}]},
        "containers": [{"name": one["name"], "usage": {"cpu": "25m", "memory": "16Mi"}} for one in pod["spec"]["containers"]],
    } for pod in pods]
    if items:
        kubectl("apply", "--server-side", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def publish(ingress):
    if not ingress.get("status", {}).get("loadBalancer", {}).get("ingress"):
        status = {"status": {"loadBalancer": {"ingress": [{"hostname": "balancer.example.com"}]}}}
        kubectl("patch", "ingress", ingress["metadata"]["name"], "--subresource", "status", "--type", "merge", "--patch", json.dumps(status),
                namespace=NAME)


def look(node):
    items = get("pods,ingresses", namespace=NAME)["items"]
    pods = [one for one in items if one["kind"] == "Pod" and "deletionTimestamp" not in one["metadata"]
            and LABELS.items() <= one["metadata"]["labels"].items()]
    measure(pods)
    for one in items:
        if one["kind"] == "Ingress":
            publish(one)
    node.run([one for one in pods if any(condition["type"] == "Ready" and condition["status"] == "True"
                                         for condition in one.get("status", {}).get("conditions", []))])


NODE = Node()
while True:
    try:
        look(NODE)
    except (subprocess.SubprocessError, OSError, KeyError, AssertionError, ValueError) as error:
        # What is missing now may be there at the next look; the log says what it was.
        print(f"{type(error).__name__}: {error}", flush=True)
    time.sleep(EVERY_S)
