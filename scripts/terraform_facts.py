"""Prints values from Terraform's files: distinct values, one per line, as JSON. Comments and settings that nothing uses
do not count: `local.…` is followed to its value from where a module or a resource uses it.

terraform_facts.py FOLDER PATH...   FOLDER below terraform/, such as modules/vpc
terraform_facts.py --named REGEX    every attribute, resource type and block of that name in all folders, and its value

A PATH begins with locals, module, variable, resource or tfvars, and has dots between names; a name that has dots itself
is in brackets; `*` is each element; what does not exist is null. A value that depends on a variable or on a function is
printed as the text of its expression, `${…}`.
"""

import hashlib
import json
import os
import pathlib
import re
import sys
from importlib import metadata

ROOT = pathlib.Path(__file__).parent.parent / "terraform"
# Each version of the parser has its own folder, in the one that scripts/lib.sh names.
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "payment-latency-api")
PARSED = CACHE / f"parsed-{metadata.version('python-hcl2')}"
LOCAL = re.compile(r"\$\{local((?:\.\w+)+)\}")
ABOUT_THE_FILE = re.compile(r"__\w+__")


def plain(node):
    """Drops the parser's quotes and notes. A block that occurs once becomes its content."""
    if isinstance(node, dict):
        return {plain(name): plain(value) for name, value in node.items() if not ABOUT_THE_FILE.fullmatch(name)}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if isinstance(node, str) and len(node) > 1 and node[0] == node[-1] == '"':
        return node[1:-1].replace('\\"', '"')
    return node


def merge(one, other):
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(one.get(name), dict):
            merge(one[name], value)
        else:
            one[name] = value


def parsed(path):
    """A file as the parser sees it, which is kept by the hash of the file: the parser is slow."""
    text = path.read_text()
    kept = PARSED / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if not kept.exists():
        import hcl2

        PARSED.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(hcl2.loads(text)))
        new.replace(kept)
    return plain(json.loads(kept.read_text()))


def read(folder):
    """All files of a folder as one tree."""
    tree = {}
    for path in sorted(folder.glob("*.tf")):
        for kind, blocks in parsed(path).items():
            for block in blocks if isinstance(blocks, list) else [blocks]:
                merge(tree.setdefault(kind, {}), block)
    for path in folder.glob("*.tfvars"):
        merge(tree.setdefault("tfvars", {}), parsed(path))
    return tree


def values(tree, node, path):
    """Everything at the path."""
    if isinstance(node, str) and (found := LOCAL.fullmatch(node)):
        return values(tree, tree["locals"], [*found.group(1).split(".")[1:], *path])
    if not path:
        return [resolved(tree, node)]
    if path[0] == "*":
        below = list(node.values()) if isinstance(node, dict) else node
        return [value for one in below or [None] for value in values(tree, one, path[1:])]
    if isinstance(node, list):
        return [value for one in node for value in values(tree, one, path)]
    if not isinstance(node, dict) or path[0] not in node:
        return [None]
    return values(tree, node[path[0]], path[1:])


def resolved(tree, node):
    if isinstance(node, dict):
        return {name: values(tree, value, [])[0] for name, value in node.items()}
    if isinstance(node, list):
        return [values(tree, value, [])[0] for value in node]
    return node


def named(node, pattern, path=()):
    """(path, value) of every name that matches; expressions are searched as text."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(name, str) and re.fullmatch(pattern, name):
            yield (*path, name), value
        if isinstance(value, (dict, list)):
            yield from named(value, pattern, (*path, str(name)))
        elif isinstance(value, str):
            for found in re.finditer(rf"\b(?:{pattern}) = (?P<value>\[[^\]]*\]|[^,}}]+)", value):
                yield (*path, str(name), found.group(0).split(" ")[0]), found["value"]


def main(arguments):
    if arguments[0] == "--named":
        for folder in sorted({path.parent for path in ROOT.glob("**/*.tf") if not path.is_symlink()}):
            for path, value in named(read(folder), arguments[1]):
                print(f"{folder.relative_to(ROOT)} {'.'.join(path)} = {json.dumps(value, sort_keys=True)}")
        return
    folder, *paths = arguments
    tree = read(ROOT / folder)
    for path in paths:
        names = [name.strip("[]") for name in re.findall(r"\[[^]]*\]|[^.]+", path)]
        found = [json.dumps(value, sort_keys=True) for value in values(tree, tree, names)]
        print("\n".join(dict.fromkeys(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
