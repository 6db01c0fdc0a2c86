#!/usr/bin/env bash
set -e
echo "Clearing Docker cache..."
docker image prune -af
export GIT_COMMIT_HASH=$(git rev-parse HEAD)
docker compose build
