"""Checks what the documents say against the repository: links and anchors, the `make` targets, scripts and tests that
they name, drawings, and the commands that they mark with ```sh check. scripts/docs-check.sh calls it.

docs.py [FOLDER]: the repository to check; this one by default.
docs.py --links: prints every external link and the places that have it, for scripts/links.sh, which follows them.
docs.py --rehearsed: prints a hash of the runbook's commands that the rehearsal runs.
docs.py --blocks DOCUMENT FOLDER: writes each of its shell blocks to a file in FOLDER, named after its line and its
fence; likewise each command of AWS or Kubernetes within a sentence, as `inline`.
"""

import fnmatch
import hashlib
import pathlib
import re
import subprocess
import sys

COMMAND_TIMEOUT_S = 60
FENCE = re.compile(r"^(```+|~~~+)(.*)$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
INLINE = re.compile(r"`((?:aws|kubectl) [^`]+)`")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
MAKE = re.compile(r"(?:^|[\s;&|(])make ([a-z][a-z0-9-]*)\b")
SCRIPT = re.compile(r"(?<![\w/.-])((?:scripts|benches)/[\w/-]+\.(?:sh|py))\b")
# A path of this repository, without placeholders.
PATH = re.compile(r"^(?:src|tests|benches|fuzz|chart|terraform|argocd|migrations|scripts|docs)(?:/[\w.-]+)+/?$")
# What reads like a test's name: at least four words.
TEST = re.compile(r"^[a-z0-9]+(?:_[a-z0-9]+){3,}$")
RUNBOOK = "docs/DEPLOYMENT-RUNBOOK.md"
# What cannot run in the rehearsal: Terraform's provider, and phase 1 by itself, charts from the internet, commands inside of a pod and ports of
# one, what needs psql 16, and what moto does not know. A block of the runbook with none of it is rehearsed.
NOT_REHEARSED = re.compile(
    r"\btf (apply|plan|import|destroy)\b|\bmake phase-1$|\\bind\b|\bhelm (--kube-context \S+ upgrade|show)\b|\bkubectl .* exec\b"
    r"|\bin_pod\b|\bport-forward\b|\b(describe-addon-versions|update-nodegroup-version|describe-db-engine-versions"
    r"|describe-engine-default-parameters|enable-region)\b"
)


class Document:
    """A file's text, its code and its anchors."""

    def __init__(self, root, path):
        self.name = str(path.relative_to(root))
        self.path = path
        self.blocks = []  # (first line, words behind the fence, text)
        self.prose = []  # (line, text), outside of blocks
        self.anchors = set()
        self.read(path.read_text().splitlines())

    def read(self, lines):
        fence, began, info, block = None, 0, "", []
        for number, line in enumerate(lines, 1):
            found = FENCE.match(line.strip())
            if fence:
                if found and line.strip() == fence:
                    self.blocks.append((began, info, "\n".join(block)))
                    fence = None
                else:
                    block.append(line)
            elif found:
                fence, began, info, block = found.group(1), number, found.group(2).strip(), []
            else:
                self.prose.append((number, line))
                if heading := HEADING.match(line):
                    self.add_anchor(heading.group(2))
                self.anchors.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        if fence:
            raise ValueError(f"{self.name}:{began}: the code block is not closed")

    def add_anchor(self, heading):
        """Adds the anchor that GitHub makes of a heading."""
        text = LINK.sub(lambda link: link.group(0)[1:].split("]")[0].lstrip("["), heading).replace("`", "")
        base = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        anchor, count = base, 0
        while anchor in self.anchors:
            count += 1
            anchor = f"{base}-{count}"
        self.anchors.add(anchor)

    def links(self):
        # Searched in all lines together: a link's text may continue in the next line. Link syntax in backticks is not a
        # link; a link whose text is code is one.
        spoken = [(number, CODE.sub(lambda span: re.sub(r"[\[\]()]", " ", span.group()), line))
                  for number, line in self.prose]  # fmt: skip
        text = "\n".join(line for _, line in spoken)
        for link in LINK.finditer(text):
            yield spoken[text.count("\n", 0, link.start(1))][0], link.group(1)

    def code(self):
        """Everything that is typed or named: spans and blocks."""
        for number, line in self.prose:
            for span in CODE.finditer(line):
                yield number, span.group(1)
        for began, _, text in self.blocks:
            for offset, line in enumerate(text.splitlines(), 1):
                yield began + offset, line


def tracked(root):
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [root / name for name in listed.stdout.split("\0") if (root / name).is_file()]


def broken_links(root, documents):
    for document in documents.values():
        for number, link in document.links():
            if re.match(r"[a-z]+:", link):
                if not re.match(r"(https://[\w.-]+\.[a-z]+(/|$)|mailto:)", link):
                    yield f"{document.name}:{number}: {link} is not an https address"
                continue
            path, _, anchor = link.partition("#")
            target = (document.path.parent / path).resolve() if path else document.path
            if not target.exists():
                yield f"{document.name}:{number}: {link}: the file does not exist"
            elif anchor and target.suffix == ".md":
                other = documents.get(target)
                if other is None or anchor not in other.anchors:
                    yield f"{document.name}:{number}: {link}: the heading does not exist"


def unknown_names(root, documents, files):
    makefile = (root / "Makefile").read_text() if (root / "Makefile").exists() else ""
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    code = "\n".join(
        path.read_text(errors="replace") for path in files
        if path.suffix in {".rs", ".py", ".hcl", ".sh", ".toml", ".yaml", ".tf", ".go"} and root / "docs" not in path.parents
    )  # fmt: skip
    words = set(re.findall(r"\w+", code))
    for document in documents.values():
        for number, text in document.code():
            for target in MAKE.findall(text):
                if target not in targets:
                    yield f"{document.name}:{number}: the Makefile has no target {target}"
            for script in SCRIPT.findall(text):
                if not (root / script).exists():
                    yield f"{document.name}:{number}: {script} does not exist"
            # NAME and SITE stand for any name. A file that git ignores has an example beside it.
            if PATH.match(text) and not [*root.glob(re.sub("NAME|SITE", "*", text)), *root.glob(f"{text}.example")]:
                yield f"{document.name}:{number}: {text} does not exist"
            if TEST.match(text) and text.removesuffix("_total") not in words and text not in words:
                yield f"{document.name}:{number}: no test or code has the name {text}"


def alerts_without_mention(root, documents):
    """The runbook links to the page of every alert."""
    runbook = documents.get((root / RUNBOOK).resolve())
    if not runbook:
        return
    linked = {(runbook.path.parent / link.partition("#")[0]).resolve() for _, link in runbook.links()}
    for page in sorted((root / "docs/alerts").glob("*.md")):
        if page.resolve() not in linked:
            yield f"{RUNBOOK}: does not link to {page.relative_to(root)}"


def unset_variables(documents):
    """If a document has a block for `operator.env`, its other blocks use only what it or they themselves set."""
    name = r"[a-z][a-z_]*"
    sets = re.compile(
        rf"(?:^|[\s;(])({name})\+?=|\bfor ({name}) in |\b(?:read|mapfile) (?:-\w+ )*((?:{name} ?)+)|\blocal ((?:{name} ?)+)",
        re.MULTILINE,
    )
    known = lambda text: {word for found in sets.findall(text) for part in found for word in part.split()}
    for document in documents.values():
        values = [text for _, info, text in document.blocks if info == "sh operator.env"]
        for began, info, text in document.blocks if values else ():
            if info.partition(" ")[0] == "sh" and info not in ("sh check", "sh operator.env"):
                # Text between apostrophes belongs to another program.
                used = re.findall(rf"\$\{{?({name})", re.sub(r"'[^']*'", "", text))
                for variable in sorted(set(used) - known(text) - known(values[0])):
                    yield f"{document.name}:{began}: nothing sets ${variable}"


def stale_drawings(root):
    """A drawing names the text that it was made from by its hash, so this check does not need Graphviz."""
    for source in sorted(source for source in (root / "docs/drawings").glob("*") if source.suffix in (".dot", ".tsv")):
        picture = source.with_suffix(".svg")
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        if not picture.exists() or digest not in picture.read_text():
            yield f"{source.relative_to(root)}: `make drawings` has not been run since it changed"


def changed_pictures(root, files):
    """Whatever draws pictures writes their hashes beside them."""
    for picture in files:
        if picture.suffix == ".svg":
            sums = picture.parent / "svg.sha256"
            line = f"{hashlib.sha256(picture.read_bytes()).hexdigest()}  {picture.name}"
            if not sums.exists() or line not in sums.read_text().splitlines():
                yield f"{picture.relative_to(root)}: not as it was drawn: draw it again from its text"


def unrehearsed_blocks(root, documents):
    """Every block of the runbook that could run in the rehearsal is marked, by a word that the rehearsal looks for."""
    runbook, play = documents.get((root / RUNBOOK).resolve()), root / "scripts/rehearse/play.sh"
    if not runbook or not play.exists():
        return
    globs = re.findall(r"\*-(?:sh|sql)-[\w*.-]+", play.read_text())
    for began, info, text in runbook.blocks:
        if info in ("sh", "sql") and not NOT_REHEARSED.search(text):
            yield f"{RUNBOOK}:{began}: the block could run in the rehearsal, but is not marked for it"
        name = f"-{info.replace(' ', '-')}"
        if re.match(r"(sh|sql) (?!check$)", info) and not any(fnmatch.fnmatch(name, glob) for glob in globs):
            yield f"{RUNBOOK}:{began}: scripts/rehearse/play.sh looks for no block that is marked {info}"


def rehearsed_commands(root):
    """A hash of what the rehearsal may run of the runbook and of the alerts' pages."""
    runbook = Document(root, root / RUNBOOK)
    texts = [f"{info}\n{text}" for _, info, text in runbook.blocks if re.match(r"(sh|sql) (?!check$)", info)]
    for page in sorted((root / "docs/alerts").glob("*.md")):
        texts += [text for _, info, text in Document(root, page).blocks if info == "sh"]
    texts += [command for _, line in runbook.prose for command in INLINE.findall(line)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def stale_rehearsal(root):
    """The run that is drawn has every step of rehearse.sh, with what the step shows, and the runbook's commands."""
    script, run = root / "scripts/rehearse.sh", root / "docs/drawings/rehearsal.tsv"
    if not script.exists():
        return
    steps = re.findall(r'^ *act "([^"$]+)" "([^"]+)"', script.read_text(), re.MULTILINE)
    drawn = {tuple(line.split("\t")[2:4]) for line in run.read_text().splitlines() if not line.startswith("#")}
    for step, shows in sorted(set(steps) - drawn):
        yield f"{run.relative_to(root)}: the recorded run does not have the step “{step}”: {shows}"
    if rehearsed_commands(root) not in run.read_text():
        yield f"{run.relative_to(root)}: {RUNBOOK} or docs/alerts has other commands than the recorded run: see docs/REHEARSAL.md, “A run”"


def failed_commands(root, documents):
    """Runs the blocks that are marked for it; returns their number and what went wrong."""
    count, wrong = 0, []
    for document in documents.values():
        for number, info, text in document.blocks:
            if info.split()[:1] == ["sh"]:
                run = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
                if run.returncode:
                    wrong.append(f"{document.name}:{number}: the block is not valid bash: {run.stderr.strip()}")
            if info.split() != ["sh", "check"]:
                continue
            count += 1
            if re.search(r"(^|[;&|]|do|then)\s*! .*\n.*\S", text, re.MULTILINE):
                wrong.append(f"{document.name}:{number}: `bash -e` ignores a failure of `!` before the last line")
            if re.search(r"^(test|\[|grep|diff|jq|!) .* && .*\n.*\S", text, re.MULTILINE):
                wrong.append(f"{document.name}:{number}: `bash -e` ignores a failure before `&&` unless it is in the last line")
            try:
                run = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", text], cwd=root, stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND_TIMEOUT_S,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                wrong.append(f"{document.name}:{number}: the block timed out after {COMMAND_TIMEOUT_S} s")
                continue
            if run.returncode:
                wrong.append(f"{document.name}:{number}: the block exited with {run.returncode}:\n{text}\n{run.stdout}".rstrip())
    return count, wrong


def check(root):
    files = tracked(root)
    documents = {path.resolve(): Document(root, path) for path in files if path.suffix == ".md"}
    wrong = [
        *broken_links(root, documents),
        *unknown_names(root, documents, files),
        *alerts_without_mention(root, documents),
        *unset_variables(documents),
        *stale_drawings(root),
        *changed_pictures(root, files),
        *unrehearsed_blocks(root, documents),
        *stale_rehearsal(root),
    ]
    count, failed = failed_commands(root, documents)
    return len(documents), count, wrong + failed


def external(root):
    """External addresses without their fragment, and the places that have them."""
    found = {}
    for path in tracked(root):
        if path.suffix == ".md":
            document = Document(root, path)
            for number, link in document.links():
                if link.startswith("https://"):
                    found.setdefault(link.partition("#")[0], []).append(f"{document.name}:{number}")
    return found


def write_blocks(document, folder):
    folder.mkdir(parents=True)
    for began, info, text in Document(document.parent, document).blocks:
        if info.split()[:1] in (["sh"], ["sql"]):
            (folder / f"{began:04}-{info.replace(' ', '-')}").write_text(text + "\n")
    for number, line in Document(document.parent, document).prose:
        for place, command in enumerate(INLINE.findall(line)):
            (folder / f"{number:04}.{place}-inline").write_text(command + "\n")


def main(arguments):
    if arguments[:1] == ["--blocks"]:
        write_blocks(*map(pathlib.Path, arguments[1:]))
        return
    if arguments == ["--rehearsed"]:
        print(rehearsed_commands(pathlib.Path(__file__).parent.parent.resolve()))
        return
    if arguments == ["--links"]:
        found = external(pathlib.Path(__file__).parent.parent.resolve())
        print("\n".join(f"{link} {' '.join(places)}" for link, places in sorted(found.items())))
        return
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent).resolve()
    documents, commands, wrong = check(root)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"checked {documents} documents and ran {commands} blocks of commands in them")


if __name__ == "__main__":
    main(sys.argv[1:])
