"""What the end-to-end test does with the control plane and with Secrets Manager, and in place of a kubelet."""

import base64
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import yaml

from support import CHART, NAME, ROOT

FOLDER = pathlib.Path(os.environ["E2E_FOLDER"])
KUBECTL = os.environ["KUBECTL_BIN"]
HELM = os.environ["HELM_BIN"]
# Kept, because Python would warn about each process that still runs.
STARTED = []
AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


class Failed(subprocess.CalledProcessError):
    """A command that failed, with its output."""

    def __str__(self):
        return f"{' '.join(map(str, self.cmd))}: {self.stdout}{self.stderr}"


def command_output(command, **more):
    """The standard output of a command."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def eventually(what, check, seconds=180):
    """What `check` returns once that is true; an exception counts as not yet."""
    until, last = time.monotonic() + seconds, None
    while time.monotonic() < until:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, KeyError, IndexError, OSError, subprocess.CalledProcessError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"timed out after {seconds} s: {what}; last: {last}")


def start(name, command, environment=None, log=None):
    """A process that ends with the cluster: down.sh finds it by `name` in its command line."""
    with open(FOLDER / f"{log or name}.log", "ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    with open(FOLDER / "processes", "a", encoding="utf-8") as processes:
        processes.write(f"{process.pid} {name}\n")
    STARTED.append(process)
    return process


def end(process):
    process.terminate()
    return process.wait(timeout=60)


def kubectl(*arguments, namespace=None, given=None):
    return command_output([KUBECTL, *(["--namespace", namespace] if namespace else []), *arguments], input=given)


def get(*arguments, namespace=None):
    return json.loads(kubectl("get", *arguments, "--output", "json", namespace=namespace))


def apply(one, namespace=None):
    kubectl("apply", "--server-side", "--filename", "-", namespace=namespace, given=json.dumps(one))


def can(verb, what, account, namespace):
    """Whether an account may do something. kubectl's exit code is the same for a no and for a failed request."""
    command = [
        KUBECTL, "auth", "can-i", verb, what, "--namespace", namespace, "--as", f"system:serviceaccount:{namespace}:{account}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # A no may be followed by a dash and a reason.
    answer = done.stdout.strip().partition(" - ")[0]
    if answer not in ("yes", "no"):
        raise Failed(done.returncode, command, done.stdout, done.stderr)
    return answer == "yes"


def evict(namespace, names):
    """Requests these evictions, one right after the other; returns the status of each."""
    config = yaml.safe_load((FOLDER / "kubeconfig").read_text())
    server = config["clusters"][0]["cluster"]
    connection = http.client.HTTPSConnection(
        urllib.parse.urlsplit(server["server"]).netloc, context=ssl.create_default_context(cafile=server["certificate-authority"]))
    statuses = []
    for name in names:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
        connection.request(
            "POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", json.dumps(body),
            {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


def secret(name, namespace):
    return {key: base64.b64decode(value).decode() for key, value in get("secret", name, namespace=namespace)["data"].items()}


class Release:
    """The chart as one region's release in its namespace, run with the commands that operators type."""

    def __init__(self, region, *values):
        self.region, self.values, self.namespace = region, list(values), f"{NAME}-{region}"

    def helm(self, *arguments):
        return command_output([HELM, *arguments], cwd=ROOT, env={**os.environ, "HELM_NAMESPACE": self.namespace})

    def apply(self, verb, *more):
        return self.helm(verb, NAME, "./chart", "-f", f"chart/values-{self.region}.yaml", *self.values, *more)

    def get(self, *arguments):
        return get(*arguments, namespace=self.namespace)

    def pods(self):
        selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=api"
        return [one for one in self.get("pods", "--selector", selector)["items"] if "deletionTimestamp" not in one["metadata"]]

    def ready(self):
        return [one for one in self.pods() if {"type": "Ready", "status": "True"}.items() <= condition(one).items()]

    def rolled_out(self):
        def check():
            one = self.get("deployment", NAME)
            status, wanted = one["status"], one["spec"]["replicas"]
            return (status.get("observedGeneration") == one["metadata"]["generation"] and wanted >= 3
                    and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas") == wanted)

        eventually(f"{self.region} is rolled out", check)


def condition(pod):
    return next((one for one in pod.get("status", {}).get("conditions", []) if one["type"] == "Ready"), {})


class Watch:
    """The smallest number of ready pods of each release while the block runs."""

    def __init__(self, *releases):
        self.least = {one.region: len(one.ready()) for one in releases}
        self.releases, self.looks, self.over, self.failed = releases, 0, threading.Event(), None

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        try:
            while not self.over.is_set():
                for one in self.releases:
                    self.least[one.region] = min(self.least[one.region], len(one.ready()))
                self.looks += 1
        except Exception as error:  # any error ends the watch, and is raised in the test's own thread
            self.failed = error

    def __exit__(self, kind, *_):
        self.over.set()
        self.thread.join()
        # If the block itself failed, its own error says more.
        if kind is None and self.failed is not None:
            raise self.failed


class SecretsManager:
    """moto's Secrets Manager and STS, for all regions."""

    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        # The account of the roles that the test names, because moto separates accounts.
        start("moto_server", [os.environ["MOTO_BIN"], "-H", "127.0.0.1", "-p", port],
              {**os.environ, "MOTO_ACCOUNT_ID": "111122223333"})
        eventually("moto answers", lambda: urllib.request.urlopen(f"{self.url}/moto-api/data.json").status == 200)

    def put(self, region, name, value):
        client = boto3.client(
            "secretsmanager", region_name=region, endpoint_url=self.url,
            aws_access_key_id="testing", aws_secret_access_key="testing")
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            client.put_secret_value(SecretId=name, SecretString=text)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=text)


def external_secrets(endpoint):
    """External Secrets' controllers, with the test's AWS identity as their own."""
    ports = [free_port(), free_port()]
    environment = {
        **os.environ, **AWS, "AWS_REGION": "eu-south-2", "AWS_SECRETSMANAGER_ENDPOINT": endpoint, "AWS_STS_ENDPOINT": endpoint}
    off = [f"--enable-{one}-reconciler=false" for one in
           ("cluster-store", "cluster-external-secret", "cluster-push-secret", "push-secret")]
    process = start(
        "external-secrets",
        [os.environ["EXTERNAL_SECRETS_BIN"], "--metrics-addr", f"127.0.0.1:{ports[0]}", "--live-addr", f"127.0.0.1:{ports[1]}",
         "--store-requeue-interval", "2s", *off],
        environment)
    eventually("External Secrets is alive", lambda: urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/healthz").status == 200)
    return process


class Container:
    """A container as a kubelet would run it: with its pod's command, variables and files, and as the pod's user."""

    def __init__(self, pod, namespace, values=None, binary=None):
        self.pod, self.namespace = pod, namespace
        self.container = pod["containers"][0]
        self.root = FOLDER / f"root-{os.urandom(4).hex()}"
        self.given = values or {}
        self.binary = binary or FOLDER / NAME
        if not self.binary.exists():
            shutil.copy(os.environ["SERVICE_BIN"], self.binary)
        for parent in (FOLDER, FOLDER.parent):
            parent.chmod(0o755)
        self.mount()

    def data(self, kind, name):
        """The data of a Secret or a ConfigMap."""
        return secret(name, self.namespace) if kind == "secret" else get(kind, name, namespace=self.namespace)["data"]

    def volume(self, name):
        """Maps file names to contents."""
        volume = next(one for one in self.pod["volumes"] if one["name"] == name)
        if "configMap" in volume:
            sources = [(self.data("configmap", volume["configMap"]["name"]), volume["configMap"])]
        elif "secret" in volume:
            sources = [(self.data("secret", volume["secret"]["secretName"]), volume["secret"])]
        else:
            sources = [(self.data("secret", one["secret"]["name"]), one["secret"]) for one in volume["projected"]["sources"]]
        return {item["path"]: data[item["key"]] for data, source in sources for item in source["items"]}

    def mount(self):
        """Writes the files, or replaces them, each atomically."""
        (self.root / "run").mkdir(parents=True, exist_ok=True)
        for mount in self.container.get("volumeMounts", []):
            assert mount["mountPath"].startswith("/run/"), mount
            folder = self.root / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in self.volume(mount["name"]).items():
                fresh = folder / f".{name}"
                fresh.write_text(content)
                fresh.chmod(0o440)
                os.chown(fresh, 0, self.pod["securityContext"]["fsGroup"])
                fresh.rename(folder / name)

    def variables(self):
        found = {}
        for one in self.container.get("envFrom", []):
            found |= self.data("configmap", one["configMapRef"]["name"])
        for one in self.container.get("env", []):
            reference = one.get("valueFrom", {}).get("secretKeyRef")
            found[one["name"]] = self.data("secret", reference["name"])[reference["key"]] if reference else one["value"]
        return {**found, **self.given}

    def command(self, arguments=None):
        user = self.container["securityContext"]["runAsUser"]
        script = 'mount --bind "$0" /run && exec setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"'
        return ["unshare", "--mount", "bash", "-c", script, self.root / "run", user,
                self.binary, *(arguments or self.container["args"])]

    def run(self, arguments=None):
        command = [str(part) for part in self.command(arguments)]
        environment = {"PATH": os.environ["PATH"], **self.variables()}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    def start(self, log):
        return start(NAME, self.command(), {"PATH": os.environ["PATH"], **self.variables()}, log)


class Service:
    """The service on loopback."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path, key=None):
        """Status and body."""
        request = urllib.request.Request(self.url + path, headers={"X-API-Key": key} if key else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def postgres(statement):
    return command_output([str(ROOT / "scripts/postgres.sh"), "sql", statement]).strip()


def prometheus(scrape, rules, folder):
    """A Prometheus with this scrape configuration and these rules; its address."""
    folder.mkdir()
    (folder / "rules.json").write_text(json.dumps(rules))
    configuration = {"scrape_configs": [scrape], "rule_files": ["rules.json"], "global": {"evaluation_interval": "1s"}}
    (folder / "prometheus.json").write_text(json.dumps(configuration))
    port = free_port()
    start("prometheus", [
        os.environ["PROMETHEUS_BIN"], f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}"])
    return f"http://127.0.0.1:{port}"


def dashboard():
    return json.loads((CHART / "dashboards" / f"{NAME}.json").read_text())
