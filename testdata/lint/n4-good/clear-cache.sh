#!/usr/bin/env bash
# Clears images and the build cache, once: the next build is a cold one.
set -euo pipefail
docker compose down --rmi local
docker builder prune -af
