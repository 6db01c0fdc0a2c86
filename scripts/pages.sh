#!/usr/bin/env bash
# Opens the pages that bklog writes in headless Chromium (see pages.py): made-up weeks with hostile names, a year of builds, an empty week,
# timelines of real logs. The unit tests write the pages. usage: pages.sh [DIRECTORY FOR SCREENSHOTS]
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=${1:-target/pages/pictures}
if ! command -v chromium > /dev/null && [ -z "${CHROMIUM:-}" ]; then
    apt-get install --yes --quiet --no-install-recommends chromium > /dev/null
fi
mkdir -p target/pages
rm -f target/pages/*.html
BKLOG_PAGES=$PWD/target/pages cargo test --quiet --lib report::html > /dev/null
python3 scripts/pages.py --pictures "$pictures" target/pages/*.html
