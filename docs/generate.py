"""Writes ``docs/reference`` from the code, so that the two cannot differ.

    python docs/generate.py            write every page
    python docs/generate.py --check    say which pages are out of date, and leave with 1 if any is

The glossary is written by hand; everything else in that folder comes from here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from docstrings import doc_of, fence, first_paragraph, prose, section, table

import slt.authoring
import slt.errors
import slt.hookspecs
import slt.storage.contract
import slt.testing
import slt.types
from slt.cli.root import root
from slt.config import KERNEL_SECTIONS, SINGLE_KINDS, options_of
from slt.hookspecs import KINDS
from slt.loader import Installed, find_plugins, import_plugin
from slt.run.metrics import collect_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main", "pages"]

REFERENCE = Path(__file__).parent / "reference"
_DISTRIBUTION = "selflearningtrader"
_NOTE = "<!-- Written by docs/generate.py from the code: change the code and run it again. -->\n"
_SINGULAR = {
    "feeds": "feed",
    "brokers": "broker",
    "storages": "storage",
    "caches": "cache",
    "features": "feature set",
    "models": "model",
    "strategies": "strategy",
    "sizers": "sizer",
    "exits": "exit",
    "notifiers": "notifier",
    "services": "service",
}
_EXIT_CODES = (
    ("0", "Fine."),
    ("1", "Something else failed: the feed, the broker, the database, a model, the disk."),
    ("2", "The configuration, a data file or the command line has to be changed."),
    ("3", "A plugin is missing, broken, or failed while running."),
    ("4", "An audit found a law broken."),
    ("5", "The run was stopped, its state is saved, and the same command resumes it."),
    ("70", "The watchdog ended a paper or live run that had stood still for a minute; the same command resumes it."),
    ("130", "Interrupted by Ctrl-C where there is nothing to resume."),
)

_HOOKS = """\
What a plugin of each kind implements. A method is marked with `@hookimpl` (`from slt import hookimpl`), has a name
below, and may take any subset of the arguments, by name. How a plugin is registered and configured:
[Write an exit](../how-to/write-an-exit.md) is the shortest example."""

_CONFIG = """\
One TOML file. The kernel's sections are below; a plugin's options stand in `[<kind>.<name>]` and are listed under
[Plugins](plugins.md). An unknown section, option or plugin is an error, and all problems of a file are told at once.
`slt config check` looks without running anything; `slt config show` prints every option with its value and meaning.

## Environment

* `SLT_<SECTION>__<KEY>` overrides an option: `SLT_RUN__SEED=7`, `SLT_EXITS__TIME_STOP__MAX_HOURS=1.5`,
  `SLT_PLUGINS__EXITS='["time_stop"]'`. The value is read as TOML, and as a text where it is none.
* The four locks answer to their own names: `DISABLE_MODEL_TRAINING`, `DISABLE_WEBSOCKET`, `DISABLE_REST_FALLBACK`,
  `RELAXED_SIGNAL_MODE`; allowed are 1, true, yes, on and 0, false, no, off.
* Secrets come from the environment alone. The file names the variable and never holds the value: `DATABASE_URL`,
  `REDIS_URL`, `DISCORD_WEBHOOK_URL`, `TELEGRAM_TOKEN`, `TELEGRAM_CHAT_ID`, `SLT_HEALTH_TOKEN`.
* `SLT_TRACE_HOOKS=1` prints calls of plugins' hooks with arguments and results on stderr."""

_PLUGINS = """\
The plugins that ship with slt. They are installed and chosen exactly as those of strangers are. `slt plugins list`
shows what is installed, `slt plugins show KIND:NAME` what is below for one plugin."""

_CLI = """\
On a terminal tables and progress are drawn; in a pipe tables are tab-separated lines with a head line, and progress is
a line now and then on stderr."""

_ERRORS = """\
`slt` prints one line per problem on stderr, each beginning with `slt:`, and leaves with one of these codes.
`slt --debug COMMAND` shows the traceback instead."""

_METRICS = """\
What `/metrics` of a paper or live run gives, in Prometheus' text format. How to scrape it, and alert rules:
[Monitor a run](../how-to/monitor.md). The metrics of the feed are those of a live one; those of the cache plugin are 0
without one. Money is in the run's quote currency."""

_EXAMPLE: dict[str, Any] = {
    "run": "demo-001",
    "mode": "live",
    "state": "running",
    "score": 100.0,
    "parts": [{"name": "loop", "score": 100.0}],
    "waits": {"features": "warm at 12:00"},
    "late_loops": [{"name": "writer", "silent_seconds": 1.0}],
    "event_time": 0,
    "trades": 0,
    "equity": 0.0,
    "open_positions": 1,
    "margin_in_use": 0.0,
    "open_risk": 0.0,
    "lag_seconds": 0.0,
    "memory_mib": 0.0,
    "positions": [{"symbol": "BTCUSDT", "side": 1, "gain_r": 0.0, "stop_resting": True, "closing": False}],
    "writer": {"pending": 0, "written": 0, "failures": 0, "journal_failures": 0},
    "cache": {"memory_hits": 0, "shared_hits": 0, "misses": 0, "failures": 0, "is_paused": False},
    "channels": [
        {
            "name": "discord",
            "waiting": 0,
            "delivered": 0,
            "failed": 0,
            "busy": 0,
            "uncertain": 0,
            "duplicates": 0,
            "dropped": 0,
            "expired": 0,
            "digests": 0,
            "off": None,
        }
    ],
    "feed": {
        "connections": [
            {"name": "market-1", "is_up": True, "age_seconds": 0.0, "silent_symbols": (), "reconnects": {"1006": 0}}
        ],
        "queued": (0, 0, 0),
        "counters": {"frames": 0},
    },
    "standing": {
        "day_pnl": 0.0,
        "day_trades": 0,
        "recent_trades": 0,
        "recent_win_rate_low": 0.0,
        "recent_expectancy_r": 0.0,
        "models": [{"strategy": "ict_smc", "version": 1, "fitted_time": 0}],
    },
}
"""A snapshot in which every metric has a value."""

_DATA = """\
The types of `slt.types`, which hooks take and return, and the question a storage answers. Arrays are named by shape:
`t` rows (bar times), `s` symbols, `f` columns of the model's vector, `c` context columns, `n` points. Times are whole
milliseconds UTC; a bar is named by its close time, the exclusive end."""


def pages() -> dict[str, str]:
    """Every generated page by its file name, as it should be."""
    made = {
        "hooks.md": _hooks(),
        "config.md": _config(),
        "plugins.md": _plugins(),
        "cli.md": _cli(),
        "errors.md": _errors(),
        "data.md": _data(),
        "authoring.md": _authoring(),
        "testing.md": _testing(),
        "metrics.md": _metrics(),
    }
    return {name: _tidy(text) for name, text in made.items()}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` compare them; returns the exit code."""
    stale = []
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    word = "out of date" if "--check" in arguments else "written"
    sys.stdout.writelines(f"{name}: {word}\n" for name in stale)
    return 1 if stale and "--check" in arguments else 0


# -- pages -------------------------------------------------------------------------------------------------------------


def _hooks() -> str:
    parts = [
        "# Hooks",
        _HOOKS,
        prose(doc_of(slt.hookspecs).partition("\n\n")[2]),
        "## All hooks at a glance",
        table(
            ("hook", "kind", "arguments", "returns"),
            (
                (f"[`{name}`](#{name})", kind, ", ".join(f"`{a}`" for a in _arguments(hook)) or "none", _returned(hook))
                for kind, spec in KINDS.items()
                for name, hook in _hooks_of(spec)
            ),
        ),
    ]
    for kind, spec in KINDS.items():
        parts += [f"## {kind}", f"{prose(doc_of(spec))} Entry-point group: `slt.{kind}`."]
        for name, hook in _hooks_of(spec):
            parts += [f"### {name}", fence("python", _signature(name, hook)), prose(doc_of(hook))]
    predictor = slt.hookspecs.Predictor
    parts += ["## Predictor", prose(doc_of(predictor)), _members(predictor)]
    return "\n\n".join(parts)


def _config() -> str:
    parts = [
        "# Configuration",
        _CONFIG,
    ]
    for name, cls in KERNEL_SECTIONS.items():
        parts += [f"## [{name}]", prose(doc_of(cls)), _options(cls)]
    return "\n\n".join(parts)


def _plugins() -> str:
    shipped = [p for p in find_plugins() if p.distribution == _DISTRIBUTION]
    parts = [
        "# Plugins",
        _PLUGINS,
        "\n".join(
            f"* {kind}: " + ", ".join(f"[`{p.name}`](#{kind}-{p.name})" for p in shipped if p.kind == kind)
            for kind in KINDS
        ),
    ]
    for plugin in shipped:
        parts += _plugin(plugin)
    return "\n\n".join(parts)


def _plugin(plugin: Installed) -> list[str]:
    config_class: type = import_plugin(plugin.kind, plugin.name)[1].config_class  # type: ignore[attr-defined] # checked
    single = SINGLE_KINDS.get(plugin.kind)
    choice = f'{single} = "{plugin.name}"' if single else f'{plugin.kind} = ["{plugin.name}"]'
    return [
        f"## {plugin.kind}: {plugin.name}",
        prose(doc_of(import_plugin(plugin.kind, plugin.name)[1])),
        fence("toml", f"[plugins]\n{choice}"),
        f"Options in `[{plugin.kind}.{plugin.name}]`:" if attrs.fields(config_class) else "It has no options.",
        _options(config_class),
        f"Source: `{plugin.target}`.",
    ]


def _cli() -> str:
    parts = [
        "# Command line",
        _CLI,
    ]
    for path, command in _commands(root, "slt"):
        context = click.Context(command, info_name=path)
        parts.append(f"{'##' if path.count(' ') < 2 else '###'} {path}" if path != "slt" else "## slt")
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        parts.append(fence("text", usage))
        parts.append(prose(inspect.cleandoc(command.help or "")))
        rows = [row for p in command.params if isinstance(p, click.Option) and (row := _option_row(p, context))]
        parts.append(table(("option", "value", "default", "meaning"), rows) if rows else "")
    return "\n\n".join(parts)


def _errors() -> str:
    _, _, doc = doc_of(slt.errors).partition("\n\n")
    rows, codes = [], {"0", "70", "130"}
    for name in slt.errors.__all__:
        cls = getattr(slt.errors, name)
        rows.append((f"`{name}`", str(cls.exit_code), first_paragraph(cls)))
        codes.add(str(cls.exit_code))
    return "\n\n".join(
        [
            "# Errors and exit codes",
            _ERRORS,
            table(("code", "meaning"), [row for row in _EXIT_CODES if row[0] in codes]),
            "## Classes",
            "For plugin authors: raise the class that says who must act.",
            prose(doc),
            table(("class", "exit code", "meaning"), sorted(rows)),
        ]
    )


def _data() -> str:
    names = ("bars", "features", "signals", "positions", "orders", "records", "learning", "symbols", "exchange")
    parts = [
        "# Data contracts",
        _DATA,
    ]
    for name in names:
        module = importlib.import_module(f"slt.types.{name}")
        parts += [f"## {first_paragraph(module).rstrip('.')}", f"Module `slt.types.{name}`."]
        parts += [part for word in module.__all__ for part in _thing(word, getattr(module, word))]
    parts += ["## What a storage is asked", "Module `slt.storage.contract`."]
    parts += _thing("Query", slt.storage.contract.Query)
    return "\n\n".join(parts)


def _authoring() -> str:
    module = slt.authoring
    parts = ["# Bases for strategy authors", "Module `slt.authoring`. " + prose(doc_of(module))]
    for name in module.__all__:
        thing = getattr(module, name)
        parts += _thing(name, thing)
        for method, function in vars(thing).items():
            if method.startswith("on_"):  # what an author writes: all of it, not only its first sentence
                parts += [
                    f"#### {name}.{method}",
                    fence("python", _signature(method, function)),
                    prose(doc_of(function)),
                ]
    return "\n\n".join(parts)


def _testing() -> str:
    parts = ["# Conformance kits", prose(doc_of(slt.testing).partition("\n\n")[2])]
    for name in slt.testing.__all__:
        kit = getattr(slt.testing, name)
        cards = [(m, getattr(kit, m)) for m in vars(kit) if m.startswith("test_")]
        rows = [(m.split("_")[1].upper(), " ".join(m.split("_")[2:]), _after_card(f)) for m, f in cards]
        parts += [f"## {name}", prose(doc_of(kit)), _attributes(kit), table(("card", "law", "meaning"), rows)]
    markets = importlib.import_module("slt.testing.markets")
    parts += ["## Markets and other things to test with", "Module `slt.testing.markets`. " + prose(doc_of(markets))]
    parts += [part for word in markets.__all__ for part in _thing(word, getattr(markets, word))]
    return "\n\n".join(parts)


# -- parts of pages ----------------------------------------------------------------------------------------------------


def _thing(name: str, value: Any) -> list[str]:
    """A class, function or constant of a public module."""
    if isinstance(value, type) and issubclass(value, Enum):
        return [f"### {name}", prose(doc_of(value)), _enum_members(value)]
    if isinstance(value, type):
        return [f"### {name}", prose(doc_of(value)), _attributes(value), _members(value)]
    if callable(value):
        return [f"### {name}", fence("python", _signature(name, value, of_module=True)), prose(doc_of(value))]
    return [f"### {name}", f"`{value!r}`"]


def _attributes(cls: type) -> str:
    """The ``Attributes:`` section of a class as a table with types and defaults."""
    texts = section(inspect.getdoc(cls) or "", "Attributes")
    types = getattr(cls, "__annotations__", {})
    fields = [f for f in attrs.fields(cls) if not f.name.startswith("_")] if attrs.has(cls) else []
    texts = {f.name: "" for f in fields} | texts
    defaults = {f.name: _default(f.default) for f in fields}
    if not texts:
        return ""
    if not any(defaults.values()):
        rows = ((f"`{n}`", f"`{types[n]}`" if n in types else "", t) for n, t in texts.items())
        return table(("attribute", "type", "meaning"), rows)
    full = ((f"`{n}`", f"`{types[n]}`" if n in types else "", defaults.get(n, ""), t) for n, t in texts.items())
    return table(("attribute", "type", "default", "meaning"), full)


def _default(value: Any) -> str:
    if value is attrs.NOTHING:
        return ""
    if value != value:  # noqa: PLR0124 # NaN, the one value that differs from itself
        return "NaN"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type] # a class, whatever its stub says
        return f"`{value.factory.__name__}()`"
    return f"`{value.value if isinstance(value, Enum) else value!r}`" if str(value) else '`""`'


def _enum_members(cls: type[Enum]) -> str:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    texts: dict[str, str] = {}
    last = ""
    for node in body.body if isinstance(body, ast.ClassDef) else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            last = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            texts[last] = " ".join(str(node.value.value).split())
    rows = [(f"`{m.name}`", f"`{m.value!r}`", texts.get(m.name, "")) for m in cls]
    return table(("member", "value", "meaning"), rows)


def _members(cls: type) -> str:
    """Public methods and properties, each with its first sentence."""
    rows = []
    for name, value in vars(cls).items():
        member = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name.startswith(("_", "slt_")):
            continue
        if isinstance(member, property):
            rows.append((f"`{name}`", first_paragraph(member)))
        elif inspect.isfunction(member) and inspect.getdoc(member):
            rows.append((f"`{name}({', '.join(_arguments(member))})`", first_paragraph(member)))
    return table(("method or property", "meaning"), rows) if rows else ""


def _options(cls: type) -> str:
    rows = []
    for option in options_of(cls):
        default = "required" if option.default is None else f"`{option.default}`" if option.default else "left out"
        rows.append((f"`{option.name}`", option.type, default, option.text))
    return table(("option", "type", "default", "meaning"), rows) if rows else ""


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _commands(inner, f"{path} {name}")


def _option_row(option: click.Option, context: click.Context) -> tuple[str, str, str, str] | None:
    if "--version" in option.opts:
        return None
    if option.is_flag:
        value = ""
    elif isinstance(option.type, click.Choice):
        value = ", ".join(str(choice) for choice in option.type.choices)
    else:
        value = {"integer": "whole number", "path": "path", "text": "text"}.get(option.type.name, option.type.name)
    shown = option.show_default  # a text stands for a default that is computed when the command runs
    default = shown if isinstance(shown, str) else f"`{option.get_default(context)}`" if shown else ""
    return ", ".join(f"`{o}`" for o in option.opts), value, default, option.help or ""


def _hooks_of(spec: type) -> list[tuple[str, Any]]:
    return [(name, hook) for name, hook in vars(spec).items() if name.startswith("slt_")]


def _metrics() -> str:
    rows = []
    for family in collect_metrics(_EXAMPLE):
        name = {"counter": f"{family.name}_total", "info": f"{family.name}_info"}.get(family.type, family.name)
        labels = {label: None for sample in family.samples for label in sample.labels}
        rows.append((f"`{name}`", family.type, ", ".join(f"`{one}`" for one in labels), family.documentation))
    return "\n\n".join(["# Metrics", _METRICS, table(("metric", "type", "labels", "meaning"), rows)])


def _arguments(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in {"self", "cls"}]


def _returned(hook: Any) -> str:
    annotation = inspect.signature(hook).return_annotation
    return "nothing" if annotation == "None" else f"`{annotation}`"


def _signature(name: str, function: Any, *, of_module: bool = False) -> str:
    """A function's head as in its source, one line or one argument a line."""
    signature = inspect.signature(function)
    arguments, is_marked = [] if of_module else ["self"], False
    for p in signature.parameters.values():
        if p.name in {"self", "cls"}:
            continue
        if p.kind is p.KEYWORD_ONLY and not is_marked:
            arguments.append("*")
            is_marked = True
        star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
        default = "" if p.default is p.empty else f" = {p.default!r}"
        arguments.append(f"{star}{p.name}: {p.annotation}{default}")
    head = f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {name}("
    line = f"{head}{', '.join(arguments)}) -> {signature.return_annotation}: ..."
    if len(line) <= 100:
        return line
    return head + "\n    " + ",\n    ".join(arguments) + f",\n) -> {signature.return_annotation}: ..."


def _after_card(card: Any) -> str:
    """A card's first paragraph without the number that some begin with."""
    text = re.sub(r"^[A-Z]\d\d: ", "", first_paragraph(card))
    return text[:1].upper() + text[1:]


def _tidy(text: str) -> str:
    title, _, rest = text.partition("\n\n")
    return re.sub(r"\n{4,}", "\n\n", f"{title}\n\n{_NOTE}\n{rest}").rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
