#!/usr/bin/env bash
set -e
export GIT_COMMIT_HASH=$(git rev-parse HEAD)
docker compose build
docker build -t app/backend backend
