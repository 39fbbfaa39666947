"""A stand-in for vLLM's server, for tests of processes: same module, arguments and paths.

The model's name says how it behaves. `broken-…` ends at once with a line that vLLM would print,
`slow-…` is never ready, and any other answers every chat with one belief. `titled-…` has a worker
whose title has overwritten its environment, as vLLM's have.
"""

import argparse
import json
import os
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LAST_WORDS = {
    "broken-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "broken-adapter": (
        "ValueError: Loading lora mine failed: No adapter found for adapters/mine"
    ),
    "broken-name": (
        "OSError: broken-name is not a local folder"
        " and is not a valid model identifier listed on the Hub"
    ),
    "broken-gate": "Cannot access gated repo; token " + os.environ.get("HF_TOKEN", ""),
    "broken-gpu": "RuntimeError: Failed to infer device type",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(
            {"data": [{"id": self.server.model}]} if self.path == "/v1/models" else {}
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {
            "role": "assistant",
            "content": json.dumps({"belief": f"from {os.getpid()}"}),
        }
        usage = {"prompt_tokens": 9, "completion_tokens": 3}
        choice = {"message": message, "finish_reason": "stop"}
        self.reply({"model": body["model"], "choices": [choice], "usage": usage})

    def reply(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--host")
parser.add_argument("--port", type=int)
arguments, others = parser.parse_known_args()
print("stand-in for vLLM:", arguments, flush=True)
if arguments.model in LAST_WORDS:
    raise SystemExit(LAST_WORDS[arguments.model])
if arguments.model.startswith("slow"):
    time.sleep(600)
if arguments.model.startswith("titled"):
    worker = subprocess.Popen(["sleep", "600"], env={})
server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
server.model = arguments.model
server.serve_forever()
