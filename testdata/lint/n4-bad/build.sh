#!/usr/bin/env bash
set -e
export GIT_COMMIT_HASH=$(git rev-parse HEAD)
docker system prune -af
docker compose build
