"""Renders the chart with `helm template`, and finds objects in the output."""

import functools
import json
import os
import pathlib
import subprocess

import yaml

TESTS = pathlib.Path(__file__).resolve().parent
CHART = TESTS.parent
ROOT = CHART.parent
HELM = os.environ["HELM_BIN"]
KUBE_VERSION = os.environ["KUBERNETES_VERSION"]
NAME = "payment-latency-api"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
REGIONS = {"spain": "eu-south-2", "mexico": "us-east-1"}


def helm_template(*arguments, region="spain", values=None, namespace=NAME, release=NAME):
    """The finished process of `helm template`, whether it succeeded or not; `values` is a dict."""
    command = [HELM, "template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBE_VERSION]
    if region:
        command += ["-f", str(CHART / f"values-{region}.yaml")]
    if values is not None:
        command += ["-f", "-"]
    text = None if values is None else json.dumps(values)
    return subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, check=False)


def notes(*settings):
    """The notes after an install with these arguments of --set; no cluster is needed."""
    command = [HELM, "install", NAME, str(CHART), "--dry-run=client", "-f", str(CHART / "values-spain.yaml")]
    arguments = [part for one in settings for part in ("--set", one)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split("\nNOTES:\n")[1]


@functools.lru_cache(maxsize=None)
def render_text(region="spain", values="null"):
    """The output of `helm template`; `values` is JSON."""
    done = helm_template(region=region, values=json.loads(values))
    if done.returncode != 0:
        raise AssertionError(f"helm template failed: {done.stderr}")
    return done.stdout


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a key that appears twice, where other loaders take the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key appears twice: {node.start_mark}"
        return super().construct_mapping(node, deep)


def render(region="spain", **values):
    """The rendered objects by (kind, name)."""
    objects = [one for one in yaml.load_all(render_text(region, json.dumps(values or None)), Loader) if one]
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects), "two objects have the same kind and name"
    return found


def containers(one):
    """The containers of an object's pod."""
    pod = pod_spec(one)
    return pod["containers"] if pod else []


def pod_template(one):
    """The pod that an object creates, or is."""
    return {
        "Deployment": lambda: one["spec"]["template"],
        "Job": lambda: one["spec"]["template"],
        "CronJob": lambda: one["spec"]["jobTemplate"]["spec"]["template"],
        "Pod": lambda: one,
    }.get(one["kind"], dict)()


def pod_spec(one):
    return pod_template(one).get("spec")


def limits():
    """The limits in src/limits.rs: name to default."""
    source = (ROOT / "src/limits.rs").read_text()
    found = {}
    for line in source.splitlines():
        if not line.startswith("pub const ") or "=" not in line:
            continue
        name = line.split()[2].rstrip(":")
        value = line.split("=", 1)[1].strip().rstrip(";")
        if value.startswith("bound("):
            value = value[len("bound(") :].split(",")[0]
        try:
            found[name] = eval(value.replace("_", ""), {"__builtins__": {}})  # noqa: S307, a product of numbers
        except (NameError, SyntaxError):
            continue
    return found
