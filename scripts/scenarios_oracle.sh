#!/usr/bin/env bash
# Asks the scenario oracle, and asks again about the scenarios that failed.
#
# usage: scripts/scenarios_oracle.sh BKLOG ORACLE.py
#
# Some scenarios need files that are written within one tick of the clock (06n: what mv brings along). A replay on a busy machine does
# not always make them so, and then the tree is not the one that was built. Such a scenario gets two more tries; every other failure
# fails them too.
set -euo pipefail
bklog=$1 oracle=$2
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
if python3 "$oracle" "$bklog" | tee "$answer"; then
    exit 0
fi
failed=$(sed -n 's/^FAIL \([^:]*\):.*/\1/p' "$answer" | sort -u)
[ -n "$failed" ] || exit 1
for name in $failed; do
    echo "again: $name"
    python3 "$oracle" "$bklog" --only "$name" || python3 "$oracle" "$bklog" --only "$name"
done
