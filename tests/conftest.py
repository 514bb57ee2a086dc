"""For all tests."""

from __future__ import annotations

import os

# The hundreds of processes that tests start would each compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers():
    """More processes than cores: many tests wait for servers, streams and processes more than they compute."""
    return max(2, (os.cpu_count() or 2) * 3 // 2)
