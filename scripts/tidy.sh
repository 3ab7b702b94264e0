#!/usr/bin/env bash
# House rules that grep can check: docs/ARCHITECTURE.md explains them.
source "$(dirname "$0")/lib.sh"

broken=0

# forbid MESSAGE COMMAND...: the command prints the offenders.
forbid() {
  local message=$1 found
  shift
  found=$("$@" || true)
  if [ -n "$found" ]; then
    printf '%s:\n%s\n' "$message" "$found" >&2
    broken=1
  fi
}

code() { grep -rnE --include='*.rs' "$@"; }

forbid "http/ knows nothing of tokio, sockets or the pool" \
  code '\b(tokio|std::net|crate::(pool|server|handlers|config))\b' src/http
forbid "the pool never sees HTTP" code 'crate::(http|handlers|server|route)' src/pool
forbid "only pg/ knows the wire" \
  sh -c "grep -rln --include='*.rs' 'postgres_protocol' src | grep -v '^src/pg/'"
forbid "only config reads the environment" \
  sh -c "grep -rnE --include='*.rs' 'env::var' src | grep -v '^src/config/'"
forbid "only limits holds bounds" \
  sh -c "grep -rnE --include='*.rs' 'const [A-Z_]*(_MS|_S|_BYTES|_COUNT|_MAX)\b *: *(u|i|f)' src | grep -vE '^src/(limits.rs|http/(head|trace).rs|pg/(error|transport).rs|random.rs)'"
forbid "nothing is left open" code 'TODO|FIXME|XXX|todo!|unimplemented!|#\[ignore' src tests
forbid "lines fit 120 columns" sh -c "grep -rnE --include='*.rs' --include='*.sh' '^.{121,}' src tests scripts | cut -c1-100"
forbid "white space at the end of a line" sh -c "git ls-files '*.rs' '*.sh' '*.md' '*.toml' '*.yaml' '*.sql' | xargs -r grep -nE '[ \t]+\$'"

# Links between documents lead somewhere.
while IFS=: read -r file link; do
  target=$(dirname "$file")/${link%%#*}
  if [ ! -e "$target" ]; then
    echo "$file: link to $link leads nowhere" >&2
    broken=1
  fi
done < <(git ls-files '*.md' | xargs -r grep -oHE '\]\([^)]+\)' | sed -E 's/\]\(([^)]*)\)/\1/' | grep -vE ':(https?:|#|mailto:)')

[ "$broken" = 0 ] || die "house rules are broken"
