"""A web service that speaks Telegram's or Discord's API, writes down what it takes, and can be killed at any moment.

    python benchmarks/ops_channel.py telegram 8081 taken.jsonl 7

A message is on file before it is answered, as with the real ones: whoever gets no answer cannot know whether it was
taken. Now and then, drawn from the seed, it asks to wait (429), fails (500), or hangs up on a message that it has just
taken.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BUSY, _BROKEN, _HANGS_UP = 0.02, 0.03, 0.035
"""Up to which draw between 0 and 1 a message meets each of these."""
_ANSWERS = {
    "telegram": {
        200: {"ok": True, "result": {"message_id": 1}},
        429: {
            "ok": False,
            "error_code": 429,
            "description": "Too Many Requests: retry after 1",
            "parameters": {"retry_after": 1},
        },
        500: {"ok": False, "error_code": 500, "description": "Internal Server Error"},
    },
    "discord": {
        200: {"id": "1", "type": 0},
        429: {"message": "You are being rate limited.", "retry_after": 0.3, "global": False},
        500: {"message": "500: Internal Server Error", "code": 0},
    },
}


class Book:
    """The file of what was taken; a line each is one write, so that a kill tears none."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, **entry):
        os.write(self._file, json.dumps({"time": time.monotonic(), **entry}).encode() + b"\n")


def make_handler(kind, book, seed):
    """The handler class of a server."""
    chance, counting, lock = random.Random(f"channel {seed}"), itertools.count(1), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                drawn, number = chance.random(), f"{os.getpid()}-{next(counting)}"
            if drawn < _BUSY:
                return self._answer(429)
            if drawn < _BROKEN:
                return self._answer(500)
            book.note(event="taken", number=number, message=body["text"] if kind == "telegram" else body["embeds"][0])
            if drawn < _HANGS_UP:
                book.note(event="hung up", number=number)
                self.close_connection = True
                return None
            self._answer(200)
            book.note(event="answered", number=number)
            return None

        def _answer(self, status):
            data = json.dumps(_ANSWERS[kind][status]).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Say nothing."""

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that is gone is no news."""


def main():
    kind, port, path, seed = sys.argv[1:]
    book = Book(path)
    server = Server(("127.0.0.1", int(port)), make_handler(kind, book, f"{seed} {os.getpid()}"))
    book.note(event="up")
    server.serve_forever()


if __name__ == "__main__":
    main()
