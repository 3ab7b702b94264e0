"""Writes the CycloneDX list of what the binary for a target is made of: `sbom.py TARGET FILE`.

https://cyclonedx.org/docs/1.5/json/: names, versions, licences, the registry's checksums and the dependencies, from
`cargo metadata` and Cargo.lock. What runs only at build time has the scope "excluded".
"""

import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def reach(nodes, root, kinds, ends=()):
    """Everything below `root`, followed along dependencies of these kinds, and not past `ends`."""
    found, left = set(), [root]
    while left:
        name = left.pop()
        if name not in found and name not in ends:
            found.add(name)
            left += [
                dependency["pkg"]
                for dependency in nodes[name]["deps"]
                if any(kind["kind"] in kinds for kind in dependency["dep_kinds"])
            ]
    return found


def in_tree(target):
    """Names and versions of what cargo builds for the binary. `cargo metadata` alone lists more: it includes features
    that only tests enable."""
    tree = cargo(
        "tree", "--locked", "--edges", "normal,build", "--target", target, "--prefix", "none", "--format", "{p}"
    )
    return {tuple(line.split()[:2]) for line in tree.splitlines() if line}


def component(package, checksums, is_built_in):
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if is_built_in else "excluded",
        "purl": reference(package),
    }
    if package["license"]:
        # Old manifests separate alternatives by a slash, which SPDX does not know.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def main(target, path):
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    with open("Cargo.lock", "rb") as file:
        lock = file.read()
    locked = tomllib.loads(lock.decode())["package"]
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in locked}

    built = in_tree(target)
    needed = {
        name
        for name in reach(nodes, root, (None, "build"))
        if (packages[name]["name"], f"v{packages[name]['version']}") in built
    }
    if len(needed) != len(built):
        sys.exit("error: `cargo tree` lists crates that `cargo metadata` does not list")
    # Macros run in the compiler, and so do crates that only macros need.
    macros = {
        name for name, package in packages.items() if any("proc-macro" in one["kind"] for one in package["targets"])
    }
    built_in = reach(nodes, root, (None,), macros)

    graph = {
        reference(packages[name]): sorted(
            reference(packages[dependency["pkg"]])
            for dependency in nodes[name]["deps"]
            if dependency["pkg"] in needed and any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        )
        for name in needed
    }
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    application = component(packages[root], checksums, True) | {"type": "application"}
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same lock file gives the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, lock.hex())}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z"),
            "component": application,
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": sorted(
            (component(packages[name], checksums, name in built_in) for name in needed - {root}),
            key=lambda entry: entry["bom-ref"],
        ),
        "dependencies": [{"ref": name, "dependsOn": graph[name]} for name in sorted(graph)],
    }
    check(sbom)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(sbom, file, indent=2)
        file.write("\n")
    required = [entry for entry in sbom["components"] if entry["scope"] == "required"]
    print(f"==> {path}: {len(required)} crates in the binary, {len(sbom['components']) - len(required)} to build it")


def check(sbom):
    """Every crate must have a licence and a checksum, and every reference must be listed."""
    for entry in sbom["components"]:
        if "licenses" not in entry or "hashes" not in entry:
            sys.exit(f"error: {entry['name']} has no licence or no checksum")
    known = {entry["ref"] for entry in sbom["dependencies"]}
    for entry in sbom["dependencies"]:
        if not known.issuperset(entry["dependsOn"]):
            sys.exit(f"error: {entry['ref']} needs something that is not listed")


main(*sys.argv[1:])
