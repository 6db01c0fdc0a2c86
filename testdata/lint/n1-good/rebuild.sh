#!/usr/bin/env bash
# Rebuilds one service, or all of them, after a change of shared-libs.
set -euo pipefail
cd "$(dirname "$0")"
SERVICES=(
  auth
  user
  targets
  jobs
  execution
  audit-events
  notification
  job-management
  job-scheduling
  target-discovery
)
BUST=$(date +%s)

rebuild() {
  local service="$1"
  echo "=== $service ==="
  docker build --build-arg SHARED_LIBS_CACHE_BUST="$BUST" -f "services/$service/Dockerfile" -t "farm/$service" .
}

if [ $# -gt 0 ]; then
  for service in "$@"; do
    rebuild "$service"
  done
else
  for service in "${SERVICES[@]}"; do
    rebuild "$service"
  done
fi
