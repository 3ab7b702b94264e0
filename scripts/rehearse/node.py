"""node.py NETWORK: does, every second, the work of a kubelet, a metrics server and a load balancer controller.

Each pod of the application nodes runs as a process, with its own address in NETWORK (127.N.0). It is ready when its
readiness probe says so, gets changed Secrets in its files, is restarted when it ends, and has its grace period when the
pod is deleted. Its log is there for `kubectl logs`. Every pod gets a figure for the autoscaler, and the Ingress gets an
address.
"""

import base64
import datetime
import http.client
import http.server
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

import yaml

from cluster import FOLDER, Container
from image import pull
from support import NAME

EVERY_S, MEASURE_EVERY_S = 1, 15
# The targets of the load balancer, which balancer.cfg lists as well.
ADDRESSES = [f"{sys.argv[1]}.{number}" for number in range(1, 17)]


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Api:
    """The API server, through one connection."""

    def __init__(self):
        config = yaml.safe_load((FOLDER / "kubeconfig").read_text())
        cluster, self.token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
        self.connection = http.client.HTTPSConnection(
            urllib.parse.urlsplit(cluster["server"]).netloc, timeout=30,
            context=ssl.create_default_context(cafile=cluster["certificate-authority"]))

    def __call__(self, method, path, body=None, kind="application/json"):
        """The answer, or None for a 404."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def items(self, path):
        return (self("GET", path) or {"items": []})["items"]


API = Api()
CORE, NETWORKING, METRICS = (f"/{group}/namespaces/{NAME}" for group in ("api/v1", "apis/networking.k8s.io/v1", "apis/metrics.k8s.io/v1beta1"))


class Files(Container):
    """A container whose Secrets and ConfigMaps are as they were at the last look."""

    FOUND = {}

    def data(self, kind, name):
        return self.FOUND[kind, name]


class Pod:
    """One pod and its process. A step that fails is repeated at the next look."""

    def __init__(self, address):
        self.address, self.process, self.began, self.restarts = address, None, None, -1
        self.told = self.leaving = self.terminated = None
        self.log_starts = []  # where each process' part of the log begins
        self.last = {}  # how the process before this one ended
        # The pod as it was last read from the API server.
        self.one = {}

    def look(self, one):
        """True once there is nothing more to do for it."""
        self.one = one or self.one
        if one is None or "deletionTimestamp" in one["metadata"]:
            return self.leave(one)
        if one["status"]["phase"] in ("Succeeded", "Failed"):
            return False
        if self.process is None:
            self.start()
        elif self.process.poll() is not None:
            self.ended(self.process.returncode)
        else:
            self.container.mount()
            self.tell(self.ready())
        return False

    def start(self):
        spec = self.one["spec"]
        binary, variables = pull(spec["containers"][0]["image"])
        self.container = Files(spec, NAME, {**variables, "LISTEN_ADDRESS": self.address}, binary)
        log = self.log()
        self.log_starts.append(log.stat().st_size if log.exists() else 0)
        self.process = self.container.start(self.one["metadata"]["name"])
        self.began, self.restarts, self.told = now(), self.restarts + 1, None
        print("starts:", self.one["metadata"]["name"], spec["containers"][0]["image"], flush=True)

    def log(self):
        return FOLDER / f"{self.one['metadata']['name']}.log"

    def logged(self, previous):
        """The lines of the process that runs, or of the one before it."""
        starts = [*self.log_starts, None]
        first, last = starts[-3:-1] if previous else starts[-2:]
        return self.log().read_bytes()[first:last].decode().splitlines(keepends=True)

    def ended(self, code):
        print("ended:", self.one["metadata"]["name"], code, flush=True)
        # A signal's number comes as a negative code.
        code = 128 - code if code < 0 else code
        state = {"terminated": {"exitCode": code, "startedAt": self.began, "finishedAt": now(), "reason": "Completed" if code == 0 else "Error"}}
        if self.one["spec"]["restartPolicy"] == "Always":
            self.process, self.last = None, state
        else:
            self.report("Succeeded" if code == 0 else "Failed", False, state)

    def ready(self):
        probe = self.one["spec"]["containers"][0].get("readinessProbe")
        if not probe:
            return True
        port = next(one["containerPort"] for one in self.one["spec"]["containers"][0]["ports"] if one["name"] == probe["httpGet"]["port"])
        connection = http.client.HTTPConnection(self.address, port, timeout=1)
        try:
            connection.request("GET", probe["httpGet"]["path"])
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def tell(self, ready):
        if ready != self.told:
            self.report("Running", ready, {"running": {"startedAt": self.began}})
            self.told = ready

    def report(self, phase, ready, state):
        container = self.one["spec"]["containers"][0]
        conditions = {"Initialized": True, "ContainersReady": ready, "Ready": ready}
        status = {
            "phase": phase, "startTime": self.began, "hostIP": self.address,
            "conditions": [{"type": kind, "status": str(holds), "lastTransitionTime": now()} for kind, holds in conditions.items()],
            "containerStatuses": [{
                "name": container["name"], "image": container["image"], "imageID": container["image"], "ready": ready, "started": "running" in state,
                "containerID": f"process://{self.process.pid}", "restartCount": self.restarts, "state": state, "lastState": self.last}]}
        API("PATCH", f"{CORE}/pods/{self.one['metadata']['name']}/status", {"status": status}, "application/strategic-merge-patch+json")

    def leave(self, one):
        """Ends a pod as a kubelet does: sends SIGTERM after preStop's seconds, and SIGKILL after the grace period."""
        spec = self.one["spec"]
        self.leaving = self.leaving or time.monotonic()
        since = time.monotonic() - self.leaving
        if self.process and self.process.poll() is None:
            self.container.mount()
            stop = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if since >= spec["terminationGracePeriodSeconds"]:
                self.process.kill()
            elif since >= stop and not self.terminated:
                self.process.send_signal(signal.SIGTERM)
                self.terminated = True
            return False
        if one is not None:
            API("DELETE", f"{CORE}/pods/{one['metadata']['name']}", {"gracePeriodSeconds": 0, "preconditions": {"uid": one["metadata"]["uid"]}})
        print("gone:", self.one["metadata"]["name"], self.process and self.process.returncode, flush=True)
        return True


class Node:
    def __init__(self):
        self.pods, self.measured, self.figures = {}, 0, None

    def look(self):
        decoded = lambda data: {name: base64.b64decode(value).decode() for name, value in data.items()}  # noqa: E731
        found = {("secret", one["metadata"]["name"]): decoded(one.get("data", {})) for one in API.items(f"{CORE}/secrets")}
        found |= {("configmap", one["metadata"]["name"]): one.get("data", {}) for one in API.items(f"{CORE}/configmaps")}
        # A Secret that is deleted before its pod stays in the pod's files.
        Files.FOUND = {**Files.FOUND, **found}
        pods = {one["metadata"]["uid"]: one for one in API.items(f"{CORE}/pods") if "nodeName" in one["spec"]}
        for uid in pods.keys() - self.pods.keys():
            taken = [one.address for one in self.pods.values()]
            self.pods[uid] = Pod(next(address for address in ADDRESSES if address not in taken))
        for uid, pod in list(self.pods.items()):
            if attempt(pod.look, pods.get(uid)):
                del self.pods[uid]
        attempt(self.measure, [one for one in pods.values() if one["status"]["phase"] == "Running"])
        for ingress in API.items(f"{NETWORKING}/ingresses"):
            attempt(publish, ingress)

    def measure(self, pods):
        """Gives every pod the same figure, far below the one at which pods would be added: nothing measures them."""
        names = sorted(pod["metadata"]["name"] for pod in pods)
        if names == self.figures and time.monotonic() - self.measured < MEASURE_EVERY_S:
            return
        for pod in pods:
            name = pod["metadata"]["name"]
            API("PATCH", f"{METRICS}/pods/{name}?fieldManager=node&force=true", {
                "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "timestamp": now(), "window": "1s",
                "metadata": {
                    "name": name, "namespace": NAME, "labels": pod["metadata"]["labels"],
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]}]},
                "containers": [{"name": one["name"], "usage": {"cpu": "25m", "memory": "16Mi"}} for one in pod["spec"]["containers"]],
            }, "application/apply-patch+yaml")
        self.measured, self.figures = time.monotonic(), names


def publish(ingress):
    if not ingress.get("status", {}).get("loadBalancer", {}).get("ingress"):
        status = {"status": {"loadBalancer": {"ingress": [{"hostname": "balancer.example.com"}]}}}
        API("PATCH", f"{NETWORKING}/ingresses/{ingress['metadata']['name']}/status", status, "application/merge-patch+json")


def attempt(step, *arguments):
    """Logs an error instead of raising it: what is missing now may exist at the next look."""
    try:
        return step(*arguments)
    except (subprocess.SubprocessError, OSError, http.client.HTTPException, KeyError, AssertionError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return None


class Kubelet(http.server.BaseHTTPRequestHandler):
    """Answers what the API server asks a kubelet for `kubectl logs`, but for `--follow` and `--timestamps`."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        name = path.split("/")[3]
        pod = next((pod for pod in list(NODE.pods.values()) if pod.one.get("metadata", {}).get("name") == name), None)
        if not path.startswith(f"/containerLogs/{NAME}/") or not pod or {"follow", "timestamps"} & asked.keys():
            self.send_error(404)
            return
        lines = pod.logged(asked.get("previous") == "true")
        if "sinceSeconds" in asked:
            since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=int(asked["sinceSeconds"]))
            lines = [line for line in lines if datetime.datetime.fromisoformat(json.loads(line)["timestamp"]) >= since]
        if "tailLines" in asked:
            lines = lines[-int(asked["tailLines"]):] if asked["tailLines"] != "0" else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(lines).encode())

    def log_message(self, *_):
        pass


def kubelet():
    """Serves the logs of all application nodes at one port, and tells the API server where."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    # The API server does not check a kubelet's certificate unless it is given an authority, so its own will do.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "certs/apiserver.crt", FOLDER / "certs/apiserver.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_port}}}
    for node in API.items("/api/v1/nodes?labelSelector=workload%3Dapplication"):
        name = node["metadata"]["name"]
        API("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")
        # For `kubectl top`.
        API("PATCH", f"/apis/metrics.k8s.io/v1beta1/nodes/{name}?fieldManager=node", {
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "timestamp": now(), "window": "1s",
            "metadata": {"name": name}, "usage": {"cpu": "100m", "memory": "1Gi"}}, "application/apply-patch+yaml")


NODE = Node()
kubelet()
while True:
    attempt(NODE.look)
    time.sleep(EVERY_S)
