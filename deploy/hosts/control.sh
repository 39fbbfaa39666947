#!/usr/bin/env bash
# The one control host: the web UI and the daemon, which runs schedules, sensors and the queue.
# The UI listens on loopback; reach it through ssh -L 3000:127.0.0.1:3000.
# Start it like a worker. It needs neither GPU nor much memory.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
dagster-webserver --host 127.0.0.1 --port "${PORT:-3000}" --workspace workspace.yaml &
exec dagster-daemon run --workspace workspace.yaml
