#!/usr/bin/env bash
# `make dates`: names what loses support within 90 days, by the runbook's table. dates.sh DAY: counted from that day.
source "$(dirname "$0")/lib.sh"

day=${1:-$(date -u +%F)}
mapfile -t rows < <(sed -n '/^### Days on which support ends$/,/^### Upgrade/p' docs/DEPLOYMENT-RUNBOOK.md |
  sed -n '/^|---/,$s/^| \([^|]*\) | \([^|]*\) |.*/\2 \1/p')
[ ${#rows[@]} -gt 0 ] || die "the table of days on which support ends was not found in docs/DEPLOYMENT-RUNBOOK.md"
near=
for row in "${rows[@]}"; do
  end=${row%% *}
  [[ $end =~ ^20[0-9]{2}-[0-9]{2}-[0-9]{2}$ ]] || die "not a date (YYYY-MM-DD): $row"
  if [[ ! $(date -u -d "$end - 90 days" +%F) > $day ]]; then
    echo "${row#* }: support ends on $end"
    near=yes
  fi
done
[ -z "$near" ] || die "support ends within 90 days: do what the runbook says in these rows of its table"
say "${#rows[@]} dates checked: no support ends within 90 days"
