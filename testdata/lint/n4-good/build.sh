#!/usr/bin/env bash
set -euo pipefail
export GIT_COMMIT_HASH="${GIT_COMMIT_HASH:-$(git rev-parse HEAD)}"
docker compose build "$@"
