#!/usr/bin/env bash
# A deploy script that does not deploy code that is not the commit's.
#
# usage: deploy.sh [SERVICE]…          all services by default; each has its Dockerfile at services/NAME/Dockerfile
#
# It builds every service into one log, checks that log, and goes on only if every image holds the commit's code.
# Set DEPLOY to the command that deploys what was built. BKLOG_HISTORY names the history (default .bklog/history).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
while [[ ! -e .git && $PWD != / ]]; do cd ..; done

services=("$@")
if ((${#services[@]} == 0)); then
    for file in services/*/Dockerfile; do
        services+=("$(basename "$(dirname "$file")")")
    done
fi

commit=$(git rev-parse HEAD)
log=$(mktemp "${TMPDIR:-/tmp}/build-XXXXXX.log")
export BKLOG_HISTORY=${BKLOG_HISTORY:-.bklog/history}
trap 'echo "the log of the builds: $log"' EXIT

echo "Building from commit: $commit" | tee -a "$log"
commands=()
for service in "${services[@]}"; do
    echo "=== Building $service ===" | tee -a "$log"
    build=(docker build --progress=plain --build-arg "GIT_COMMIT_HASH=$commit" -f "services/$service/Dockerfile" -t "$service:$commit" .)
    "${build[@]}" 2>&1 | tee -a "$log"
    # The check reads context, Dockerfile and arguments from the command that made the log.
    commands+=(--build "$(printf '%q ' "${build[@]}")")
done

# 1: the code in an image is not the commit's, or another error; the deploy ends here.
bklog check "$log" "${commands[@]}" --commit "$commit" --record

if [[ -n ${DEPLOY:-} ]]; then
    for service in "${services[@]}"; do
        $DEPLOY "$service:$commit"
    done
fi
