"""Makes the plugins beside this file importable by the tests and by the processes an audit starts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
