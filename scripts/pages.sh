#!/usr/bin/env bash
# Opens the pages that bklog writes in headless Chromium (see pages.py): made-up weeks with hostile names, an empty week, timelines of real
# logs. usage: pages.sh [BKLOG] [DIRECTORY FOR SCREENSHOTS]
set -euo pipefail
cd "$(dirname "$0")/.."
bklog=${1:-target/debug/bklog}
pictures=${2:-target/pages/pictures}
if ! command -v chromium > /dev/null && [ -z "${CHROMIUM:-}" ]; then
    apt-get install --yes --quiet --no-install-recommends chromium > /dev/null
fi
mkdir -p target/pages
rm -f target/pages/*.html
# The unit tests make the reports: the ledger cannot be filled with hostile names through logs alone.
BKLOG_PAGES=$PWD/target/pages cargo test --quiet --lib report::html > /dev/null
# A build that failed ends with 4; its page is written all the same.
"$bklog" show --html target/pages/timeline-timed.html testdata/format/201-ci-gha-raw/prefixed.log || [ $? -eq 4 ]
"$bklog" show --html target/pages/timeline-bake.html testdata/format/049-bake-compose/plain.log* || [ $? -eq 4 ]
"$bklog" show --html target/pages/timeline-failed.html testdata/format/017-failing-run/plain.log* || [ $? -eq 4 ]
"$bklog" show --html target/pages/timeline-odd-names.html testdata/format/169-ansi-in-names/plain.log* || [ $? -eq 4 ]
python3 scripts/pages.py --pictures "$pictures" target/pages/*.html
