"""timeline.py RECORD PICTURE: draws the record of a run. Each line is a step: when it began and how long it took, in
seconds, its name and what it proves; a line that begins with # names the run."""

import hashlib
import html
import pathlib
import sys
import textwrap

NAMES, BARS, PROOFS, WIDTH, ROW, TOP, LETTERS = 118, 400, 560, 1010, 31, 34, 74
COLOURS = {"stage": ("#d5dae0", "#68737f"), "phase": ("#bcd5f0", "#3f76b0"), "play": ("#f6d3a4", "#b1742a")}
LEGEND = {"stage": "the stage", "phase": "make up, phase by phase", "play": "what comes after"}


def text(x, y, words, size=11, anchor="start", fill="#1a1a1a"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{html.escape(words)}</text>'


def kind(name):
    first = name.partition(" ")[0].rstrip(":")
    return first if first in COLOURS else "play"


def draw(record):
    lines = record.splitlines()
    said = lines[0].removeprefix("# ")
    steps = [(int(began), int(took), name, proof) for began, took, name, proof in (line.split("\t") for line in lines if not line.startswith("#"))]
    end = max(began + took for began, took, *_ in steps)
    scale, bottom = (BARS / end), TOP + ROW * len(steps)
    yield from (f'<rect width="{WIDTH}" height="{bottom + 58}" fill="#fdfdfa"/>', text(10, 20, said, 12))
    for minute in range(end // 60 + 1):
        x = NAMES + minute * 60 * scale
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#dcdcd6"/>'
        if minute % 5 == 0:
            yield text(x, bottom + 14, f"{minute} min", 10, "middle", "#555555")
    for row, (began, took, name, proof) in enumerate(steps):
        y, (fill, stroke) = TOP + row * ROW, COLOURS[kind(name)]
        x, width = NAMES + began * scale, max(took * scale, 2)
        yield text(NAMES - 8, y + 19, name, 11, "end")
        yield f'<rect x="{x:.1f}" y="{y + 6}" width="{width:.1f}" height="{ROW - 12}" fill="{fill}" stroke="{stroke}"/>'
        # Behind the bar, or before it if it would run into the words.
        late = x + width + 36 > NAMES + BARS + 20
        yield text(x - 5 if late else x + width + 5, y + 19, f"{took} s", 10, "end" if late else "start", "#333333")
        parts = textwrap.wrap(proof, LETTERS)[:2]
        for number, part in enumerate(parts):
            yield text(PROOFS, y + (19 if len(parts) == 1 else 13 + 12 * number), part, 10.5, fill="#333333")
    for number, (name, words) in enumerate(LEGEND.items()):
        x, (fill, stroke) = NAMES + number * 210, COLOURS[name]
        yield f'<rect x="{x}" y="{bottom + 28}" width="22" height="14" fill="{fill}" stroke="{stroke}"/>'
        yield text(x + 28, bottom + 39, words)


source, picture = map(pathlib.Path, sys.argv[1:])
content = source.read_text()
body = list(draw(content))
height = body[0].split('height="')[1].split('"')[0]
picture.write_text("\n".join([
    f"<!-- {source.name} {hashlib.sha256(content.encode()).hexdigest()} -->",
    f'<svg width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, sans-serif">',
    *body, "</svg>", ""]))
