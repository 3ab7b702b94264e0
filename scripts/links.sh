#!/usr/bin/env bash
# `make links`: follows every external link of the documents; `make docs-check` does so, too, where there is an internet.
# links.sh URL...: these instead.
# A page that is gone fails the check. A site that refuses programs, or is down, is only named.
source "$(dirname "$0")/lib.sh"

need python3 python3
need curl curl

# follow URL DOCUMENT:LINE...: one line about a link that could not be followed; 1 if it leads nowhere.
follow() {
  local url=$1 status code=0
  status=$(curl --silent --location --max-time 30 --retry 2 --retry-all-errors --output /dev/null --write-out '%{http_code}' "$url") || code=$?
  case $code:$status in
    0:2??) return ;;
    # curl's 6: the host's name is unknown.
    6:* | 0:404 | 0:410) echo "leads nowhere: $status $*"; return 1 ;;
    *) echo "look by hand: $status $*" ;;
  esac
}
export -f follow

mapfile -t links < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else python3 -B scripts/docs.py --links; fi)
[ ${#links[@]} -gt 0 ] || die "the documents have no links"
say "following ${#links[@]} links"
printf '%s\n' "${links[@]}" | xargs -P 4 -L 1 bash -c 'follow "$@"' follow || die "links are broken"
say "no link is known to lead nowhere"
