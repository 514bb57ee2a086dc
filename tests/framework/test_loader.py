"""The loader on strangers' plugins: tiny distributions made on the spot, good ones and broken ones."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from slt.config import read_config
from slt.errors import ConfigError, PluginError, PluginLoadError, PluginNotFoundError
from slt.hookspecs import KINDS
from slt.loader import build_plugins, find_plugins, import_plugin, read_whole_config

ROOT = Path(__file__).parents[2]

HEAD = """
from attrs import field, frozen
from attrs.validators import ge
from slt import hookimpl
from slt.errors import ConfigError


@frozen(kw_only=True)
class Config:
    level: int = field(default=1, validator=ge(0))
    relaxed: bool | None = None


class Base:
    config_class = Config

    def __init__(self, config):
        self.config = config
"""

EVERYTHING = """

class Feed(Base):
    @hookimpl
    def slt_describe_market(self): return "market"
    @hookimpl
    def slt_read_bars(self, start, rows): yield from (start, rows)


class Broker(Base):
    @hookimpl
    async def slt_open_broker(self, market, wallet): return {market: wallet}
    @hookimpl
    async def slt_submit_order(self, order): return [order]
    @hookimpl
    async def slt_cancel_order(self, symbol, client_id, time): return [client_id]
    @hookimpl
    async def slt_query_order(self, symbol, client_id): return [client_id]
    @hookimpl
    def slt_advance_price(self, point): return [point]
    @hookimpl
    def slt_snapshot_broker(self): return {}
    @hookimpl
    def slt_restore_broker(self, state): pass
    @hookimpl
    async def slt_close_broker(self): pass


class Storage(Base):
    @hookimpl
    async def slt_open_storage(self): return "nowhere"
    @hookimpl
    async def slt_write_records(self, records): pass
    @hookimpl
    async def slt_read_records(self, query): return [query]
    @hookimpl
    async def slt_close_storage(self): pass


class Strategy(Base):
    @hookimpl
    def slt_propose_trades(self, features): return features


class Sizer(Base):
    @hookimpl
    def slt_size_position(self, proposal, account): return (proposal, account)


class Exit(Base):
    @hookimpl
    def slt_check_exit(self, position): return position


class First(Exit): pass
class Second(Exit): pass
class Third(Exit): pass


class Notifier(Base):
    @hookimpl
    async def slt_send_notice(self, notice): return notice
"""
GROUPS = """
[slt.feeds]
t_feed = {m}:Feed
[slt.brokers]
t_broker = {m}:Broker
[slt.storages]
t_storage = {m}:Storage
[slt.strategies]
t_strategy = {m}:Strategy
[slt.sizers]
t_sizer = {m}:Sizer
[slt.exits]
t_first = {m}:First
t_second = {m}:Second
t_third = {m}:Third
[slt.notifiers]
t_notifier = {m}:Notifier
"""
CHOICE = """
[plugins]
feed = "t_feed"
broker = "t_broker"
storage = "t_storage"
strategies = ["t_strategy"]
sizer = "t_sizer"
notifiers = ["t_notifier"]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution on the path as pip would: metadata, entry points and one module."""
    made = []

    def install(name, entries, source="", version="0.1"):
        module = name.replace("-", "_")
        info = tmp_path / "site" / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entries.format(m=module))
        (tmp_path / "site" / f"{module}.py").write_text(source)
        made.append(module)

    monkeypatch.syspath_prepend(tmp_path / "site")
    yield install
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def build(tmp_path, install):
    """Build the plugins of a config, with distribution t-kit to choose from."""
    install("t-kit", GROUPS, HEAD + EVERYTHING)

    def build(text="", *, choice=CHOICE, environment=None, reader=read_config):
        path = tmp_path / "my.toml"
        path.write_text(choice + text)
        return build_plugins(reader(path, environment or {}))

    return build


@pytest.mark.parametrize("names", [["t_first", "t_second", "t_third"], ["t_third", "t_first", "t_second"]])
def test_build_plugins_order_in_config_is_order_of_calls(build, names):
    assert [e.name for e in build(f"exits = {names}").exits] == names


def test_build_plugins_hooks_take_every_argument_and_give_each_plugin_its_subset(build):
    plugins = build()
    assert list(plugins.feed.hooks.slt_read_bars(start=1, rows=2)) == [1, 2]
    assert plugins.strategies[0].hooks.slt_propose_trades(bars="b", features="f") == "f"
    assert plugins.strategies[0].hooks.slt_propose_trades("b", "f") == "f"
    size = plugins.sizer.hooks.slt_size_position
    assert size(proposal="p", confidence=0.5, p_win=None, account="a") == ("p", "a")
    assert asyncio.run(plugins.broker.hooks.slt_open_broker(market="m", wallet=1.0)) == {"m": 1.0}


def test_build_plugins_optional_hooks_have_stand_ins(build):
    plugins = build()
    strategy, notifier = plugins.strategies[0].hooks, plugins.notifiers[0].hooks
    assert strategy.slt_snapshot_strategy() == {}
    assert strategy.slt_restore_strategy(state={}) is None
    assert asyncio.run(notifier.slt_open_notifier()) is None
    assert plugins.model is None


def test_build_plugins_options_reach_their_plugin(build):
    plugins = build("exits = ['t_first', 't_second']\n[exits.t_second]\nlevel = 3\n")
    assert [e.config.level for e in plugins.exits] == [1, 3]


@pytest.mark.parametrize(
    ("environment", "text", "is_relaxed"),
    [
        ({}, "", True),
        ({"RELAXED_SIGNAL_MODE": "0"}, "", False),
        ({"RELAXED_SIGNAL_MODE": "0"}, "[strategies.t_strategy]\nrelaxed = true\n", True),
    ],
)
def test_build_plugins_relaxed_signal_mode_reaches_strategies_unless_their_option_says_otherwise(
    build, environment, text, is_relaxed
):
    assert build(text, environment=environment).strategies[0].config.relaxed is is_relaxed


def test_build_plugins_unknown_names_are_told_all_at_once_with_the_nearest(build):
    with pytest.raises(PluginNotFoundError) as caught:
        build("exits = ['t_frist', 't_second', 'zzz']\n[exits.t_second]\nlevel = -1\n[exits.t_third]\n")
    names = re.escape(", ".join(i.name for i in find_plugins("exits")))
    lines = str(caught.value).splitlines()
    assert re.fullmatch(
        rf"no exits plugin `t_frist` is installed; did you mean `t_first`\? \(installed: {names}\)", lines[0]
    )
    assert re.fullmatch(rf"no exits plugin `zzz` is installed \(installed: {names}\)", lines[1])
    assert lines[2:] == [
        "my.toml: exits.t_third: options for a plugin that [plugins] does not choose; choose it or remove them",
        "my.toml: exits.t_second.level: found `-1`, allowed is at least 0",
    ]


def test_build_plugins_wrong_options_of_several_plugins_are_told_all_at_once(build):
    with pytest.raises(ConfigError) as caught:
        build(
            "exits = ['t_first']\n[exits.t_first]\nlevl = 1\nlevel = 'x'\n[feeds.t_feed]\nlevel = 1.5\n",
            environment={"SLT_SIZERS__T_SIZER__LEVEL": "-2"},
        )
    assert caught.value.problems == (
        "my.toml: feeds.t_feed.level: found `1.5`, allowed is a whole number",
        "environment variable `SLT_SIZERS__T_SIZER__LEVEL`: sizers.t_sizer.level: found `-2`, allowed is at least 0",
        "my.toml: exits.t_first.levl: unknown option; did you mean `level`? (options: level, relaxed)",
        'my.toml: exits.t_first.level: found `"x"`, allowed is a whole number',
    )


def test_read_whole_config_tells_problems_of_kernel_and_plugins_together(build):
    with pytest.raises(ConfigError) as caught:
        build(
            "exits = ['t_first', 't_frist']\n[run]\nseed = -1\n[exits.t_first]\nlevel = -1\n", reader=read_whole_config
        )
    assert [re.split(r";|, allowed", p)[0] for p in caught.value.problems] == [
        "my.toml: run.seed: found `-1`",
        "no exits plugin `t_frist` is installed",
        "my.toml: exits.t_first.level: found `-1`",
    ]


def test_read_whole_config_good_file_is_that_of_read_config(build, tmp_path):
    build()
    assert read_whole_config(tmp_path / "my.toml", {}) == read_config(tmp_path / "my.toml", {})


def test_read_whole_config_unreadable_file_is_told_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_whole_config(tmp_path / "none.toml", {})
    assert len(caught.value.problems) == 1


BROKEN = [
    (
        "raise RuntimeError('two\\nlines')",
        "cannot be imported: RuntimeError: two lines",
    ),
    (
        "raise SystemExit(0)",
        "cannot be imported: SystemExit: 0",
    ),
    (
        "import nowhere_to_be_found",
        "cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    (
        "",
        "cannot be imported: AttributeError: module 't_broken' has no attribute 'Broken'",
    ),
    (
        "def Broken(config): pass",
        "is not a class but of type function",
    ),
    (
        "class Broken: pass",
        "has no `config_class` that is an attrs class",
    ),
    (
        HEAD + "class Broken(Base):\n    config_class = dict",
        "has no `config_class` that is an attrs class",
    ),
    (
        HEAD + "@frozen\nclass Odd:\n    x: dict = 1\nclass Broken(Base):\n    config_class = Odd",
        (
            ": its option `x` is of type `dict`, allowed is bool, int, float, str, tuple[str, ...], or one of these or "
            "None"
        ),
    ),
    (
        HEAD + "class Broken(Base):\n    def __init__(self, config): 1 / 0",
        "cannot be made: ZeroDivisionError: division by zero",
    ),
    (
        HEAD + "class Broken(Base): pass",
        "implements no `slt_check_exit`, which every plugin of its kind must",
    ),
    (
        HEAD + "class Broken(Base):\n    def slt_check_exit(self, position): pass",
        (
            "implements no `slt_check_exit`, which every plugin of its kind must; it has a method of that name: mark "
            "it with @hookimpl"
        ),
    ),
    (
        HEAD + "class Broken(Base):\n    @hookimpl\n    def slt_chek_exit(self, position): pass",
        "implements `slt_chek_exit`, which is no hook; did you mean `slt_check_exit`? (hooks: slt_check_exit)",
    ),
    (
        HEAD + "class Broken(Base):\n    @hookimpl\n    def slt_size_position(self, proposal): pass",
        "implements `slt_size_position`, which is a hook of sizers (hooks: slt_check_exit)",
    ),
    (
        HEAD + "class Broken(Base):\n    @hookimpl\n    def slt_check_exit(self, positon): pass",
        (
            "takes an unknown argument `positon` in `slt_check_exit`; did you mean `position`? (arguments: position, "
            "point, outlook)"
        ),
    ),
    (
        HEAD + "class Broken(Base):\n    @hookimpl\n    async def slt_check_exit(self, position): pass",
        "has `slt_check_exit` as `async def`, it must be a plain `def`",
    ),
    (
        HEAD + "class Broken(Base):\n    @hookimpl(wrapper=True)\n    def slt_check_exit(self): return (yield)",
        "implements `slt_check_exit` as a wrapper; a plugin answers for itself alone",
    ),
]


@pytest.mark.parametrize(("source", "words"), BROKEN)
def test_build_plugins_broken_plugin_is_named_with_its_distribution(build, install, source, words):
    install("t-broken", "[slt.exits]\nt_broken = {m}:Broken\n", source, version="2.7")
    with pytest.raises(PluginLoadError) as caught:
        build("exits = ['t_first', 't_broken']")
    space = "" if words.startswith(":") else " "
    assert str(caught.value) == f"exits:t_broken (t_broken:Broken from t-broken 2.7){space}{words}"
    listed = {(i.kind, i.name): i.distribution for i in find_plugins()}
    assert listed["exits", "t_broken"] == "t-broken"
    assert build("exits = ['t_first']").exits[0].name == "t_first"


def test_build_plugins_config_error_of_a_constructor_is_kept(build, install):
    source = HEAD + "class Broken(Base):\n    def __init__(self, config): raise ConfigError('exits.t_broken: no')"
    install("t-broken", "[slt.exits]\nt_broken = {m}:Broken\n", source)
    with pytest.raises(ConfigError, match=r"^exits\.t_broken: no$"):
        build("exits = ['t_broken']")


def test_build_plugins_arguments_with_defaults_and_collected_ones_are_given(build, install):
    source = HEAD + (
        "class One(Base):\n    @hookimpl\n    def slt_check_exit(self, point, outlook=None, own=7): "
        "return point, outlook, own\n"
        "class Two(Base):\n    @hookimpl\n    def slt_check_exit(self, **rest): return sorted(rest)\n"
    )
    install("t-odd", "[slt.exits]\nt_one = {m}:One\nt_two = {m}:Two\n", source)
    one, two = build("exits = ['t_one', 't_two']").exits
    assert one.hooks.slt_check_exit("position", "point", "outlook") == ("point", "outlook", 7)
    assert two.hooks.slt_check_exit("position", "point", "outlook") == ["outlook", "point", "position"]


def test_import_plugin_name_of_two_distributions_names_both(install):
    for name in ("t-one", "t-two"):
        install(name, "[slt.exits]\nt_twice = {m}:Exit\n", HEAD)
    with pytest.raises(PluginLoadError) as caught:
        import_plugin("exits", "t_twice")
    assert str(caught.value) == (
        "exits:t_twice is offered by two distributions, t-one 0.1 (t_one:Exit) and t-two 0.1 (t_two:Exit); uninstall "
        "one of them"
    )
    assert [i.distribution for i in find_plugins("exits") if i.name == "t_twice"] == ["t-one", "t-two"]


def test_import_plugin_same_name_in_two_kinds_is_no_clash(install):
    install("t-both", "[slt.exits]\nt_both = {m}:Exit\n[slt.sizers]\nt_both = {m}:Sizer\n", HEAD + EVERYTHING)
    assert import_plugin("exits", "t_both")[1].__name__ == "Exit"
    assert import_plugin("sizers", "t_both")[1].__name__ == "Sizer"


@pytest.mark.parametrize(
    ("plugin", "hook", "call"),
    [
        ("feed", "slt_describe_market", lambda h: h.slt_describe_market()),
        ("feed", "slt_read_bars", lambda h: list(h.slt_read_bars(start=0, rows=1))),
        ("broker", "slt_open_broker", lambda h: asyncio.run(h.slt_open_broker(market=None, wallet=1.0))),
        ("broker", "slt_advance_price", lambda h: h.slt_advance_price(point=None)),
        ("storage", "slt_open_storage", lambda h: asyncio.run(h.slt_open_storage())),
    ],
)
def test_hooks_that_nobody_else_guards_fail_with_the_plugin_named(build, install, plugin, hook, call):
    kind = plugin.title()
    is_async = "async " if plugin != "feed" and hook != "slt_advance_price" else ""
    body = "yield 1 / 0" if hook == "slt_read_bars" else "1 / 0"
    arguments = ", ".join(["self", *spec_arguments(f"{plugin}s", hook)])
    source = f"from t_kit import *\nclass Bad({kind}):\n    @hookimpl\n    {is_async}def {hook}({arguments}): {body}\n"
    install("t-bad", f"[slt.{plugin}s]\nt_bad = {{m}}:Bad\n", source)
    hooks = getattr(build(choice=CHOICE.replace(f'"t_{plugin}"', '"t_bad"')), plugin).hooks
    with pytest.raises(PluginError) as caught:
        call(hooks)
    assert str(caught.value) == (
        f"{plugin}s:t_bad (t_bad:Bad from t-bad 0.1) raised in {hook}: ZeroDivisionError: division by zero"
    )


def spec_arguments(kind, hook):
    code = getattr(KINDS[kind], hook).__code__
    return code.co_varnames[1 : code.co_argcount]


def test_trace_hooks_tells_every_call_answer_and_error(build, install, monkeypatch, capsys):
    source = HEAD + "class Broken(Base):\n    @hookimpl\n    def slt_check_exit(self, point): raise KeyError(point)\n"
    install("t-broken", "[slt.exits]\nt_broken = {m}:Broken\n", source)
    monkeypatch.setenv("SLT_TRACE_HOOKS", "1")
    plugins = build("exits = ['t_first', 't_broken']")
    plugins.exits[0].hooks.slt_check_exit("P", "p", outlook=None)
    with pytest.raises(KeyError):
        plugins.exits[1].hooks.slt_check_exit("P", "p", None)
    asyncio.run(plugins.notifiers[0].hooks.slt_send_notice(notice="n" * 900))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[:2] == [
        "exits:t_first slt_check_exit('P', 'p', outlook=None) -> 'P'",
        "exits:t_broken slt_check_exit('P', 'p', None) raised KeyError: 'p'",
    ]
    assert lines[2].startswith("notifiers:t_notifier slt_send_notice(notice='nnn")
    assert len(lines[2]) < 1200


def test_trace_hooks_off_leaves_hooks_as_they_are(build, monkeypatch, capsys):
    monkeypatch.delenv("SLT_TRACE_HOOKS", raising=False)
    build("exits = ['t_first']").exits[0].hooks.slt_check_exit("P", "p", None)
    assert capsys.readouterr().err == ""


def test_builtin_plugins_come_in_by_entry_points_and_all_of_them_can_be_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        (group.removeprefix("slt."), name, target)
        for group, entries in project["entry-points"].items()
        for name, target in entries.items()
    }
    assert {kind for kind, _, _ in declared} == set(KINDS)
    found = {
        (p.group.removeprefix("slt."), p.name, p.value)
        for kind in KINDS
        for p in entry_points(group=f"slt.{kind}")
        if p.dist.name == project["name"]
    }
    assert found == declared
    for kind, name, _ in declared:
        installed, cls = import_plugin(kind, name)
        assert cls.__doc__, installed


def test_kernel_imports_no_plugin():
    pattern = re.compile(r"^\s*(from|import) slt_", re.MULTILINE)
    assert [p for p in (ROOT / "framework").rglob("*.py") if pattern.search(p.read_text(encoding="utf-8"))] == []


def test_find_plugins_imports_none_of_them(install):
    install("t-shout", "[slt.exits]\nt_shout = {m}:Exit\n", "raise SystemExit('imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(sys.path[0]))!r}); from slt.loader import find_plugins; "
        "assert 't_shout' in {i.name for i in find_plugins()}; "
        "print([m for m in sys.modules if m.startswith(('slt_', 't_shout'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
