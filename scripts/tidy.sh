#!/usr/bin/env bash
# House rules that grep can check: docs/ARCHITECTURE.md explains them.
source "$(dirname "$0")/lib.sh"

broken=0

# forbid MESSAGE COMMAND...: the command prints the lines that break the rule.
forbid() {
  local message=$1 found code=0
  shift
  found=$("$@") || code=$?
  # grep's 1 means "nothing found"; a higher code means that the search did not run.
  [ "$code" -le 1 ] || die "the check '$message' could not be run"
  if [ -n "$found" ]; then
    printf '%s:\n%s\n' "$message" "$found" >&2
    broken=1
  fi
}

code() { grep -rnE --include='*.rs' "$@"; }

# code_but PATTERN ARGUMENTS...: what `code` finds, without lines that match PATTERN. A pipe would hide its failure.
code_but() {
  local found
  found=$(code "${@:2}") || return
  grep -vE "$1" <<<"$found"
}

forbid "http/ must not use tokio, sockets or the pool" \
  code '\b(tokio|std::net::(Tcp|Udp)|crate::(pool|server|handlers|config))' src/http
forbid "the pool must not use HTTP" code 'crate::(http|handlers|server|route)' src/pool
forbid "handlers must not use sockets or the server" \
  code '\b(tokio::io|AsyncRead|AsyncWrite|socket2|crate::server|server::)' src/handlers
# connector.rs and scram.rs: the threads that open connections share a queue, and the keys of the last login.
forbid "no lock may be in the path of a payment" \
  code --exclude=connector.rs --exclude=scram.rs '\b(Mutex|RwLock)\b' \
  src/server src/http src/handlers src/payment src/pool src/pg
forbid "only pg/ may use the wire protocol" \
  code_but '^src/pg/' --files-with-matches 'postgres_protocol::message' src
forbid "only config may read the environment" \
  code_but '^src/config/' 'env::var' src
forbid "only clock may read the wall clock" \
  code_but '^src/clock\.rs|/tests\.rs:' 'SystemTime::now' src
# Limits that a format dictates, and the size of a module's own block, are named here one by one.
forbid "limits must be defined in limits.rs" code_but \
  '^src/limits\.rs:|/tests\.rs:|const (TRACEPARENT_BYTES|LINE_MAX_BYTES|RECORD_OVERHEAD_BYTES|BLOCK_BYTES)\b' \
  'const [A-Z_]*((_MS|_S|_BYTES|_COUNT|_MAX)\b *: *(u|i|f)|: *(std::time::)?Duration\b)' src
forbid "no unfinished work may be left" code 'TODO|FIXME|XXX|todo!|unimplemented!|#\[ignore' src tests
forbid "no path of one machine may be in the repository" git grep -nIE '(^|[^[:alnum:]_.])/(root|home|Users|work)/' -- ':!scripts/tidy.sh'
forbid "lines must not be longer than 120 columns" code '^.{121,}' src tests
forbid "no line may end in white space" git grep -nIE '[[:blank:]]+$' -- '*.rs' '*.sh' '*.md' '*.toml' '*.yaml' '*.sql'

[ "$broken" = 0 ] || die "the lines above break house rules (docs/ARCHITECTURE.md and CONTRIBUTING.md)"
