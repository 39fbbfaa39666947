#!/usr/bin/env bash
# One URL in front of several vLLM servers: deploy/hosts/router.sh http://gpu1:8000 http://gpu2:8000
# In aidsafe.toml: engine = "endpoint", endpoint.base_url = "http://router:8000/v1",
# endpoint.slots = the slots of all servers.
# Calls are spread evenly, avoid a server that fails, and prefer one that has the prompt's prefix cached.
set -euo pipefail
exec vllm-router --host "${HOST:-127.0.0.1}" --port "${PORT:-8000}" --policy cache_aware --worker-urls "$@"
