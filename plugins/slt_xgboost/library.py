"""xgboost, imported without what it would only import in case somebody uses it.

Where pandas and scikit-learn are installed, xgboost imports both, to recognise their objects: seconds of every start
and a hundred MiB that a live run has no use for. They are hidden from it while it is imported, and nothing else
changes: whoever imports them afterwards gets them.
"""

from __future__ import annotations

import sys

__all__ = ["xgb"]

_hidden = [name for name in ("pandas", "sklearn") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type] # None = not installed, as `import` sees it
try:
    import xgboost as xgb
finally:
    for _name in _hidden:
        sys.modules.pop(_name, None)
