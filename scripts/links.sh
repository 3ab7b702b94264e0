#!/usr/bin/env bash
# `make links`: follows every external link of the documents. It needs the internet, so CI does not run it; `make docs-check`
# looks at their form alone. A site that refuses programs (401, 403, 405, 429) is named and fails nothing.
source "$(dirname "$0")/lib.sh"

need python3 python3
need curl curl

# follow URL DOCUMENT:LINE...: one line about a link; 1 if it leads nowhere.
follow() {
  local url=$1 status
  status=$(curl --silent --location --max-time 30 --retry 2 --output /dev/null --write-out '%{http_code}' "$url") || status=000
  case $status in
    2??) return ;;
    401 | 403 | 405 | 429) echo "look by hand: $status $*" ;;
    *) echo "leads nowhere: $status $*"; return 1 ;;
  esac
}
export -f follow

mapfile -t links < <(python3 -B scripts/docs.py --links)
[ ${#links[@]} -gt 0 ] || die "the documents have no links"
say "following ${#links[@]} links"
printf '%s\n' "${links[@]}" | xargs -P 4 -L 1 bash -c 'follow "$@"' follow || die "links are broken"
say "every link leads somewhere"
