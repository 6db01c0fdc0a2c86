#!/usr/bin/env bash
# End-to-end test: real builds with a real Docker engine, held against what BKLOG says of them.
#
# usage: scripts/e2e.sh BKLOG [--no-check] [--only TEXT] [--work DIR]     (as root; see scripts/engine.sh for what it installs)
#
#   --no-check  without `bklog check` and `bklog run`, whose verdicts are held against the files in the images
#   --only      only the scenarios whose name holds TEXT (the names stand in scripts/e2e/scenarios.py and freshness.py; `live` is the pipe,
#               `run` is `bklog run`, `compose` the same with docker-compose, `inside` a log in its own context, `images` is
#               `bklog check --image`, `histories` are random histories, of which scripts/e2e/histories.py can run more)
#   --work      keep contexts and logs in DIR
#
# Every check prints an `ok` or a `FAIL` line; the last line is 'N passed, M failed'. Exit code 0 when nothing failed.
# Without an engine nothing is tested, and that is a failure.
# BKLOG_ENGINE_DIR names the engine's directory (default target/e2e-engine); an engine that runs there is used and left running.

set -u
repository=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
# shellcheck source=SCRIPTDIR/engine.sh
source "$repository/scripts/engine.sh"

if (($# < 1)); then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
for tool in python3 git; do
    command -v "$tool" >/dev/null || { printf 'e2e: ERROR: %s is missing\n0 passed, 1 failed\n' "$tool"; exit 1; }
done

# bash runs a trap only when no command is in the foreground, so the tests run in the background and are waited for.
child=
end() { [[ -z $child ]] || { kill "$child" && wait "$child"; } 2>/dev/null; exit "$1"; }
trap 'end 130' INT
trap 'end 143' TERM HUP

engine=${BKLOG_ENGINE_DIR:-$repository/target/e2e-engine}
if ! { [[ -d $engine ]] && engine_pid "$(cd "$engine" && pwd -P)" >/dev/null; }; then
    trap 'engine_stop "$engine"' EXIT
fi
if ! engine_start "$engine" || ! variables=$(engine_env "$engine"); then
    printf 'FAIL  the Docker engine starts: NOTHING WAS TESTED, see the lines above\n0 passed, 1 failed\n'
    exit 1
fi
eval "$variables"
PYTHONDONTWRITEBYTECODE=1 python3 "$repository/scripts/e2e" "$@" &
child=$!
wait "$child"
