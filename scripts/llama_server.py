"""llama.cpp's OpenAI-compatible server on loopback, from the wheel `xllamacpp`.

    python scripts/llama_server.py MODEL.gguf NAME [--port 8080] [--slots 1] [--threads 1]

NAME is what the model is called in requests and replies. Prints the address once the model is
loaded, and serves until it is ended. A second thread helps only where a second core is idle: on
busy cores threads wait for each other, and calls take many times as long.
"""

import argparse
import signal
import sys

import xllamacpp

CONTEXT = 8192
"""Tokens of prompt and answer together, for each slot."""


def parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.name}
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = CONTEXT * options.slots
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt = True
    params.endpoint_metrics = True
    # The chat template of the model's own file.
    params.use_jinja = True
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    # Blocked before the server starts threads of its own, or one of them would get the signal.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = xllamacpp.Server(parameters(parser.parse_args()))
    print(f"listening at {server.listening_address}", flush=True)
    signal.sigwait(ends)
    sys.exit()


if __name__ == "__main__":
    main()
