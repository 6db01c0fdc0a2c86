#!/usr/bin/env bash
set -e
docker build --build-arg GIT_COMMIT_HASH=$(git rev-parse HEAD) -t app/backend backend
docker build -t app/frontend frontend
