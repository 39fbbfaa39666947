#!/usr/bin/env bash
# A worker: takes runs from the queue until it is stopped, RUNS at a time (1 by default).
# Start it in the project's folder, with DAGSTER_HOME set to that folder, where dagster.yaml is
# deploy/hosts/dagster.yaml and aidsafe.toml holds your settings.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec python -m celery -A dagster_celery.app worker --hostname "$(hostname)" --concurrency "${RUNS:-1}" \
    --without-gossip --without-mingle --without-heartbeat
