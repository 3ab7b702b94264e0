#!/usr/bin/env bash
# `make dates`: names what loses support within 90 days, by the runbook's table. dates.sh DAY: as seen from that day.
source "$(dirname "$0")/lib.sh"

day=${1:-$(date -u +%F)}
mapfile -t rows < <(sed -n '/^### Days on which support ends$/,/^### Upgrade/p' docs/DEPLOYMENT-RUNBOOK.md |
  sed -n '/^|---/,$s/^| \([^|]*\) | \([^|]*\) |.*/\2 \1/p')
[ ${#rows[@]} -gt 0 ] || die "docs/DEPLOYMENT-RUNBOOK.md has no table of days"
near=
for row in "${rows[@]}"; do
  end=${row%% *}
  [[ $end =~ ^20[0-9]{2}-[0-9]{2}-[0-9]{2}$ ]] || die "no day: $row"
  if [[ ! $(date -u -d "$end - 90 days" +%F) > $day ]]; then
    echo "${row#* } ends on $end"
    near=yes
  fi
done
[ -z "$near" ] || die "do what the rows of the runbook say"
say "${#rows[@]} ends, none within 90 days"
