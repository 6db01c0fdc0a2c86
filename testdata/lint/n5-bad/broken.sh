#!/usr/bin/env bash
if [ "$FORCE_REBUILD" = true ]; then
  docker compose build --no-cache --pull
else
  docker compose build
