"""Prints the notices that come in: something to send to while you try the package."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Takes one notice a request."""

    def do_POST(self) -> None:
        """Print a notice and confirm it."""
        notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(f"{notice['kind']}: {notice['title']}")  # noqa: T201 # what it is for
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Leave the line for each request out."""


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8765), Receiver)
    print(f"waiting at http://127.0.0.1:{server.server_port}/hook")  # noqa: T201 # as above
    server.serve_forever()
