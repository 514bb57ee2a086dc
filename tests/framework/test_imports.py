"""Every module imports alone, in a fresh interpreter, with warnings as errors; and every public name is really there.

An interpreter for each of some two hundred modules would take minutes, most of them spent on numpy and the like. So two
interpreters import the libraries that many modules stand on, and nothing of slt, and fork once for each module.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("framework", "plugins", "strategies", "exits", "notifiers")
MODULES = {
    ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
PACKAGES = sorted({name.partition(".")[0] for name in MODULES})

CHILD = """
import importlib, json, os, sys, warnings
warnings.simplefilter("error")
import attr, attrs, numpy
for library in "aiohttp asyncpg click hypothesis numba pandas plotly pyarrow pytest rich structlog websockets".split():
    importlib.import_module(library)
assert not [m for m in sys.modules if m.startswith("slt")]
for name in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        try:
            module = importlib.import_module(name)
            public = getattr(module, "__all__", ())
            missing = [n for n in public if not hasattr(module, n)]
            if missing or len(set(public)) != len(public):
                raise AttributeError(f"__all__ is wrong: missing {missing} of {public}")
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
print("done")
"""


async def import_each(names):
    """What went wrong, one line a module, and ``done``."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "/tmp")},
    )
    out, err = await child.communicate(json.dumps(names).encode())
    assert child.returncode == 0, err.decode()
    return out.decode().splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_every_module_imports_alone_and_has_what_it_names():
    names = list(MODULES)
    assert await asyncio.gather(import_each(names[::2]), import_each(names[1::2])) == [["done"], ["done"]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_import_each_tells_what_fails(tmp_path, monkeypatch):
    (tmp_path / "slow_warner.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning)\n")
    (tmp_path / "promiser.py").write_text("__all__ = ['nothing']\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert await import_each(["slt.nowhere", "slow_warner", "promiser", "slt.errors"]) == [
        "slt.nowhere: ModuleNotFoundError: No module named 'slt.nowhere'",
        "slow_warner: DeprecationWarning: old",
        "promiser: AttributeError: __all__ is wrong: missing ['nothing'] of ['nothing']",
        "done",
    ]


def is_public(name):
    return not any(part.startswith("_") for part in name.split("."))


@pytest.mark.parametrize("name", [n for n in MODULES if is_public(n)])
def test_public_module_says_what_is_public(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    assigned = {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")}
    defined = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]
    assert "__all__" in assigned or not defined
    code = [n for n in tree.body if not isinstance(n, ast.Expr)]
    assert not code or (isinstance(code[0], ast.ImportFrom) and code[0].module == "__future__")
    assert ast.get_docstring(tree)


def test_folders_are_no_packages():
    assert [folder for folder in FOLDERS if (ROOT / folder / "__init__.py").exists()] == []
    assert [p for p in PACKAGES if p != "slt" and not p.startswith("slt_")] == []
