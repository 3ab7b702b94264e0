#!/usr/bin/env bash
# `make docs-check`: checks the documents against the repository and the records, and names what it could not check.
# LINKS=no skips the links to other sites, which `make links` follows.
source "$(dirname "$0")/lib.sh"

CODESPELL_VERSION=2.4.3
need python3 python3
need git git
need curl curl

say "the checks themselves"
(cd scripts && python3 -B -m unittest --quiet docs_test)
say "figures"
python3 -B benches/report.py --check
python3 -B benches/reliability.py --check
python3 -B benches/quotes.py --check
python3 -B scripts/checklist.py --check
say "links, names, drawings, commands"
python3 -B scripts/docs.py
# If the host that most links go to answers, there is internet access.
if [ "${LINKS:-}" = no ]; then
  echo "skipping external links, because LINKS=no is set (make links follows them)"
elif curl --silent --head --max-time 10 --output /dev/null https://docs.aws.amazon.com; then
  scripts/links.sh
else
  unchecked="external links: docs.aws.amazon.com does not answer (make links follows them)"
fi

say "spelling"
need_packages "$CACHE/codespell" "codespell==$CODESPELL_VERSION"
git ls-files -co --exclude-standard -z '*.md' '*.yaml' '*.sh' '*.py' '*.rs' '*.tf' '*.sql' '*.dot' Makefile Dockerfile |
  xargs -0 "$VENV/bin/codespell" --ignore-words=scripts/words.txt
say "the documents passed"
[ -z "${unchecked:-}" ] || echo "NOT CHECKED: $unchecked"
