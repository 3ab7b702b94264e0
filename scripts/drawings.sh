#!/usr/bin/env bash
# `make drawings`: draws docs/drawings/*.dot with Graphviz, and the timeline of a rehearsal. Each picture names the text
# that it was made from.
source "$(dirname "$0")/lib.sh"

need dot graphviz
need python3 python3
python3 -B scripts/rehearse/timeline.py docs/drawings/rehearsal.tsv docs/drawings/rehearsal.svg
say docs/drawings/rehearsal.svg
for source in docs/drawings/*.dot; do
  picture=${source%.dot}.svg
  # Removes Graphviz's own comments, which name its version, and adds the hash that docs-check compares.
  dot -Tsvg "$source" | sed -e '/^<!--.*-->$/d' -e '/^<!--/,/-->$/d' \
    -e "s|^<svg |<!-- ${source##*/} $(sha256sum <"$source" | cut -d' ' -f1) -->\n<svg |" >"$picture"
  say "$picture"
done
# By these, docs-check notices a picture that was changed by hand.
(cd docs/drawings && sha256sum -- *.svg >svg.sha256)
