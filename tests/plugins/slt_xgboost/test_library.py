"""What importing the model brings into a process, and what it leaves out."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import slt_xgboost.model
missing = [name for name in ("pandas", "sklearn") if name in sys.modules]
import pandas
print(missing, pandas.DataFrame({"a": [1]}).shape)
"""


def test_model_is_imported_without_pandas_which_can_be_imported_afterwards():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[] (1, 1)"
