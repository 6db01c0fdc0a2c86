#!/usr/bin/env bash
set -e
cd "$(dirname "$0")"
GIT_COMMIT_HASH=$(git rev-parse HEAD)
echo "Building from commit: ${GIT_COMMIT_HASH:0:7}..."
if [ "$FORCE_REBUILD" = true ]; then
  docker compose up -d --build --force-recreate
else
  docker compose build
fi
docker builder prune -f
