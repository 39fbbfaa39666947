"""The managed vLLM server and the engine that speaks to it; `server.py` says how it is shared."""
