#!/usr/bin/env bash
# Records the logs of testdata/docker-20.10 anew, with a Docker engine of its own (see scripts/engine.sh; as root).
#
# usage: scripts/record-testdata.sh [DIR]      (default: testdata/docker-20.10)

set -u
repository=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
# shellcheck source=SCRIPTDIR/engine.sh
source "$repository/scripts/engine.sh"

# Errors of the engine name its directory, so it stands where no name of a machine or a person is in the path.
engine=/tmp/bklog-engine
child=
end() { [[ -z $child ]] || { kill "$child" && wait "$child"; } 2>/dev/null; exit "$1"; }
trap 'engine_stop "$engine"' EXIT
trap 'end 130' INT
trap 'end 143' TERM HUP
engine_start "$engine" && variables=$(engine_env "$engine") || exit 1
eval "$variables"
PYTHONDONTWRITEBYTECODE=1 python3 "$repository/scripts/e2e" --record "${1:-$repository/testdata/docker-20.10}" &
child=$!
wait "$child"
