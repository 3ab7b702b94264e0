#!/usr/bin/env bash
# `make links`: follows every external link of the documents, as `make docs-check` does if there is internet access.
# links.sh URL...: follows these instead.
# A page that no longer exists fails the check. A site that refuses programs, or is down, is only named.
source "$(dirname "$0")/lib.sh"

need python3 python3
need curl curl

# follow URL DOCUMENT:LINE...: prints a line about a link that could not be followed; returns 1 if it is broken.
follow() {
  local url=$1 status code=0
  status=$(curl --silent --location --max-time 30 --retry 2 --retry-all-errors --output /dev/null --write-out '%{http_code}' "$url") || code=$?
  case $code:$status in
    0:2??) return ;;
    # curl's 6: the host name does not resolve.
    6:* | 0:404 | 0:410) echo "broken link: $status $*"; return 1 ;;
    *) echo "check by hand: $status $*" ;;
  esac
}
export -f follow

mapfile -t links < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else python3 -B scripts/docs.py --links; fi)
[ ${#links[@]} -gt 0 ] || die "no external link was found in the documents"
say "following ${#links[@]} links"
printf '%s\n' "${links[@]}" | xargs -P 4 -L 1 bash -c 'follow "$@"' follow || die "some links are broken: see above"
say "no broken link was found"
