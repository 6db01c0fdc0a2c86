#!/usr/bin/env bash
set -e
cd "$(dirname "$0")"
SERVICES=(
  auth
  user
  targets
  jobs
  execution
  audit-events
  job-management
  target-discovery
)
for svc in "${SERVICES[@]}"; do
  docker build \
    --build-arg SHARED_LIBS_CACHE_BUST=$(date +%s) \
    -f services/$svc/Dockerfile -t farm/$svc .
done
docker build -f services/notification/Dockerfile -t farm/notification .
docker build --build-arg SHARED_LIBS_CACHE_BUST=1 -f services/job-scheduling/Dockerfile .
