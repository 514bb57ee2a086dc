"""Ask the run in this container whether it is alive; exit code 0 where it is. Needs nothing but Python."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

__all__ = ["main"]

_SECONDS = 4.0


def main() -> int:
    """Ask ``/healthz`` on this machine, on the port that ``SLT_HEALTH__PORT`` names.

    Returns:
        0 = alive, 1 = not.
    """
    port = os.environ.get("SLT_HEALTH__PORT", "9464")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=_SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, ValueError) as error:
        print(f"no health on port {port}: {error}", file=sys.stderr)  # noqa: T201 # what `docker inspect` shows
        return 1


if __name__ == "__main__":
    sys.exit(main())
