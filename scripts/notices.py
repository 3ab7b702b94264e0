"""Writes the copyright notices and licences of what others wrote of the binary: `notices.py TARGET SBOM FILE`.

They are those of the crates that SBOM lists as required, of Rust's standard library, and of the C library.
"""

import html
import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
# Debian's package of what is linked statically.
C_LIBRARY = pathlib.Path("/usr/share/doc/libc6-dev/copyright")
LGPL = pathlib.Path("/usr/share/common-licenses/LGPL-2.1")
HEAD = """\
payment-latency-api is under the Apache License 2.0. Its binary also holds what is listed here, each part under the
terms that follow its name. The C library is linked statically under the LGPL 2.1: to link the program with another
version of it, build it from its source (`make image`).
"""


def said_by(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def crates(target, sbom):
    """Names of the crates in the binary, each with the texts that its package brings."""
    listed = json.loads(pathlib.Path(sbom).read_text())["components"]
    required = {(entry["name"], entry["version"]) for entry in listed if entry["scope"] == "required"}
    metadata = said_by("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    for package in json.loads(metadata)["packages"]:
        if (package["name"], package["version"]) in required:
            folder = pathlib.Path(package["manifest_path"]).parent
            # Code that a crate has taken from others has its licence in a folder below: mimalloc's, fiat-crypto's.
            found = [path for path in folder.rglob("*") if NAMES.fullmatch(path.name) and path.suffix != ".rs"]
            files = sorted(path for path in found if path.is_file())
            if not files:
                sys.exit(f"error: {package['name']} {package['version']} has no file with its licence")
            yield f"{package['name']} {package['version']} ({package['license']})", files


def standard_library():
    """What rustc's own folder says of the library that it links."""
    page = pathlib.Path(said_by("rustc", "--print", "sysroot").strip(), "share/doc/rust/COPYRIGHT-library.html")
    if not page.exists():
        sys.exit(f"error: there is no {page}")
    text = re.sub(r"<style.*?</style>|<[^>]*>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\n\s*\n+", "\n\n", html.unescape(text)).strip()


def main(target, sbom, path):
    for file in (C_LIBRARY, LGPL):
        if not file.exists():
            sys.exit(f"error: there is no {file}: on Debian, the packages libc6-dev and base-files have them")
    owners = {}
    for name, files in crates(target, sbom):
        for file in files:
            owners.setdefault(file.read_text(errors="replace").strip(), []).append(name)
    owners[standard_library()] = ["Rust's standard library, and what it is made of"]
    owners[C_LIBRARY.read_text().strip() + "\n\n" + LGPL.read_text().strip()] = ["GNU C library"]
    rule = "\n" + "=" * 100 + "\n"
    parts = ["\n".join(dict.fromkeys(names)) + f"\n\n{text}\n" for text, names in owners.items()]
    pathlib.Path(path).write_text(rule.join([HEAD, *parts]))
    print(f"==> {path}: {sum(map(len, owners.values()))} notices, {len(owners)} of them different")


main(*sys.argv[1:])
