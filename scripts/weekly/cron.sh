#!/usr/bin/env bash
# The weekly report from cron, for builds whose history is on this machine. Every Monday at seven:
#
#   0 7 * * 1  BKLOG_HISTORY=/var/lib/bklog REPORTS=/srv/www/builds PROJECT=watchparty /opt/bklog/cron.sh
#
# Each week gets a directory of its own; `latest` leads to the newest. With MAIL=team@example.com the Markdown is mailed too (needs `mail`).
set -euo pipefail
: "${REPORTS:?say where the reports go, for example REPORTS=/srv/www/builds}"
bklog=${BKLOG:-bklog}
project=(${PROJECT:+--project "$PROJECT"})
week=$REPORTS/$(date -u +%G-W%V)

"$bklog" report --since 7d "${project[@]}" --out "$week/" --charts "$week/charts"
ln -sfn "$(basename "$week")" "$REPORTS/latest"
if [ -n "${MAIL:-}" ]; then
    mail -s "Build report ${PROJECT:-}" "$MAIL" < "$week/report.md"
fi
