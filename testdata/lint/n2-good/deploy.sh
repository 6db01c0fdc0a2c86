#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"

GIT_COMMIT_HASH=$(git rev-parse HEAD)
export GIT_COMMIT_HASH
echo "Building from commit: ${GIT_COMMIT_HASH:0:7}..."

docker builder prune -f

if [ "${FORCE_REBUILD:-false}" = true ]; then
  docker compose build --no-cache --pull
else
  docker compose build
fi
docker compose up -d
