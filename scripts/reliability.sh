#!/usr/bin/env bash
# Runs in full what `make test` tries only for a moment: faults | abuse | soak | overload | growth | tables. The results
# are recorded in docs/reliability/results.json, from which the tables of docs/RELIABILITY.md are written.
source "$(dirname "$0")/lib.sh"

# build_service SECTION: builds the program to measure, optimised whatever drives it, and starts the section's record.
build_service() {
  need_rust
  say "building the service (takes minutes the first time)"
  local target
  target=$(rustc -vV | sed -n 's/^host: //p')
  build_for_image "$target"
  export SERVICE="$ROOT/target/$target/release/payment-latency-api"
  need python3 python3
  python3 -B benches/reliability.py --begin "$1"
}

# Runs the part of tests/reliability that $1 names, one test after the other.
drive() {
  need setpriv util-linux
  need pgbouncer pgbouncer
  scripts/postgres.sh install
  PG_BINDIR=$(scripts/postgres.sh bindir)
  export PG_BINDIR RELIABILITY_RECORD="$ROOT/docs/reliability/results.json"
  ulimit -n "$(ulimit -Hn)"
  cargo test --locked --quiet --test reliability --no-run
  "${@:2}" cargo test --locked --quiet --test reliability "$1::" -- --test-threads=1 --nocapture
}

# Runs benches/overload.py on a database in memory.
measure() {
  need chrt util-linux
  stage_in_memory "$SERVICE"
  python3 -B benches/overload.py "$@"
}

case "${1:-}" in
  faults)
    build_service "$1"
    FAULT_ROUNDS=${ROUNDS:-20} drive faults
    ;;
  abuse)
    build_service "$1"
    need chrt util-linux
    # The service has its own core, as in a pod. The payers and the database have priority over the attackers, who in
    # reality are on other machines: this measures what crowds do to the service, not what all of these do to each
    # other.
    cores=$(nproc)
    [ "$cores" -ge 2 ] || die "abuse needs at least two cores, one of them for the service, and this machine has $cores"
    chrt --fifo 1 true || die "abuse needs real-time priorities (chrt --fifo): run it as root"
    SERVICE_CORE=0 ABUSE_SECONDS=${SECONDS_EACH:-20} drive abuse chrt --fifo 1 taskset --cpu-list "1-$((cores - 1))"
    ;;
  soak)
    build_service "$1"
    SOAK_SECONDS=$((${MINUTES:-30} * 60)) drive soak
    ;;
  overload)
    build_service "$1"
    measure overload --seconds "${SECONDS_EACH:-60}"
    ;;
  growth)
    build_service "$1"
    measure growth
    ;;
  tables) need python3 python3 ;;
  *) die "usage: $0 faults|abuse|soak|overload|growth|tables" ;;
esac
python3 -B benches/reliability.py
python3 -B benches/quotes.py
