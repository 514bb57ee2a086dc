"""config.toml: overrides, locks, and the full text of every refusal."""

from __future__ import annotations

import pytest

from slt.config import (
    KERNEL_SECTIONS,
    LocksConfig,
    PluginChoice,
    RunConfig,
    chosen_plugins,
    options_of,
    plugin_tables,
    read_config,
    read_tables,
)
from slt.errors import ConfigError

PLUGINS = '[plugins]\nfeed = "f"\nbroker = "b"\nstorage = "s"\nstrategies = ["one", "two"]\nsizer = "z"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, *, plugins=PLUGINS):
        path = tmp_path / "my.toml"
        path.write_text(plugins + text, encoding="utf-8")
        return path

    return write


def refused(path, environment=None):
    with pytest.raises(ConfigError) as caught:
        read_config(path, environment or {})
    return list(caught.value.problems)


KINDS = "feeds, brokers, storages, caches, models, sizers, features, strategies, exits, notifiers, services"
SECTIONS = f"{', '.join(KERNEL_SECTIONS)}, {KINDS}"
RUN_OPTIONS = ", ".join(option.name for option in options_of(RunConfig))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[run]\nmode = 'papper'\n", ['my.toml: run.mode: found `"papper"`, allowed is backtest, paper or live']),
        ("[rusk]\n", [f"my.toml: rusk: unknown section; did you mean `risk`? (sections: {SECTIONS})"]),
        ("[exits]\nmax_hours = 2\n", ["my.toml: exits.max_hours: options belong in a table [exits.<plugin>]"]),
        (
            "[run]\nnam = 'x'\nseed = -1\n[account]\ninitial_equity = 0\n[exits]\nx = 1\n",
            [
                f"my.toml: run.nam: unknown option; did you mean `name`? (options: {RUN_OPTIONS})",
                "my.toml: run.seed: found `-1`, allowed is at least 0 and less than 2147483648",
                "my.toml: account.initial_equity: found `0.0`, allowed is more than 0.0",
                "my.toml: exits.x: options belong in a table [exits.<plugin>]",
            ],
        ),
    ],
)
def test_read_config_bad_file_tells_every_problem(write, text, lines):
    assert refused(write(text)) == lines


def test_read_config_options_above_the_first_table_are_told(write):
    assert refused(write(PLUGINS, plugins='risk = 1\nexits = ["a"]\n')) == [
        "my.toml: risk: found `1`, allowed is a table [risk]",
        "my.toml: exits: options belong in a table [exits.<plugin>]; which plugins run is said in [plugins]",
    ]


def test_read_config_without_plugins_names_what_is_missing(write):
    assert refused(write("", plugins="")) == [
        "my.toml: plugins.feed: missing; it has no default, give a text in quotes",
        "my.toml: plugins.strategies: missing; it has no default, give a list of texts",
        "my.toml: plugins.sizer: missing; it has no default, give a text in quotes",
    ]


def test_read_config_strategies_empty_or_doubled_is_refused(write):
    assert refused(write("", plugins=PLUGINS.replace('["one", "two"]', "[]"))) == [
        "my.toml: plugins.strategies: found `[]`, allowed is not empty"
    ]
    assert refused(write("", plugins=PLUGINS.replace('"two"', '"one"'))) == [
        "my.toml: plugins.strategies: `one` is named twice; each plugin can be chosen once"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist; name one with --config"),
        (b"[run\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 5)"),
        (b"[run]\nname = 'x'\nname = 'y'\n", "is not valid TOML: Cannot overwrite a value (at line 3, column 11)"),
        (b"[run]\nname = '\xff'\n", "is not UTF-8 text (byte 14); save it as UTF-8"),
    ],
)
def test_read_config_unreadable_file_is_named(tmp_path, content, words):
    path = tmp_path / "my.toml"
    if content is not None:
        path.write_bytes(content)
    assert refused(path) == [f"config file `{path}` {words}"]


def test_read_config_folder_is_named(tmp_path):
    assert refused(tmp_path) == [f"config file `{tmp_path}` cannot be read: Is a directory; name one with --config"]


def test_read_config_byte_order_mark_is_taken(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("\ufeff" + PLUGINS, encoding="utf-8")
    assert read_config(path, {}).plugins.feed == "f"


def test_read_config_environment_overrides_any_option(write):
    path = write("[run]\nseed = 1\n[exits.x]\nhours = 1\n")
    settings = read_config(
        path,
        {
            "SLT_RUN__SEED": "7",
            "SLT_RUN__NAME": "plain",
            "SLT_PLUGINS__EXITS": '["x", "y"]',
            "SLT_EXITS__X__HOURS": "2.5",
            "SLT_EXITS__Y__IS_ON": "true",
            "SLT_TRACE_HOOKS": "1",
            "PATH": "/bin",
        },
    )
    assert (settings.run.seed, settings.run.name, settings.plugins.exits) == (7, "plain", ("x", "y"))
    assert settings.options == {("exits", "x"): {"hours": 2.5}, ("exits", "y"): {"is_on": True}}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "SLT_RUN__SEED",
            "seven",
            'environment variable `SLT_RUN__SEED`: run.seed: found `"seven"`, allowed is a whole number',
        ),
        (
            "SLT_RUN__SPED",
            "2",
            (
                "environment variable `SLT_RUN__SPED`: run.sped: unknown option; did you mean `speed`? "
                f"(options: {RUN_OPTIONS})"
            ),
        ),
        (
            "SLT_PLUGINS__FEED__X",
            "1",
            "environment variable `SLT_PLUGINS__FEED__X`: `feed` is an option, not a table",
        ),
        (
            "SLT___RUN",
            "1",
            "environment variable `SLT___RUN`: a part of its name is empty; write SLT_<SECTION>__<KEY>",
        ),
        (
            "DISABLE_WEBSOCKET",
            "maybe",
            "environment variable `DISABLE_WEBSOCKET`: found `maybe`, allowed is 1/true/yes/on or 0/false/no/off",
        ),
    ],
)
def test_read_config_bad_override_names_the_variable(write, name, text, line):
    assert refused(write(""), {name: text}) == [line]


def test_read_config_bad_overrides_and_a_bad_file_are_told_together(write):
    lines = refused(write("[run]\nseed = -1\n"), {"RELAXED_SIGNAL_MODE": "x", "SLT_RISK__MAX_POSITIONS": "0"})
    assert [line.partition(" found")[0] for line in lines] == [
        "environment variable `RELAXED_SIGNAL_MODE`:",
        "my.toml: run.seed:",
        "environment variable `SLT_RISK__MAX_POSITIONS`: risk.max_positions:",
    ]


def test_read_config_value_with_a_line_break_stays_a_text(write):
    assert refused(write(""), {"SLT_RUN__SEED": "1\n[risk]\nmax_positions = 9"})[0].startswith(
        'environment variable `SLT_RUN__SEED`: run.seed: found `"1\\n[risk]'
    )


LOCKS = ("disable_model_training", "disable_websocket", "disable_rest_fallback", "relaxed_signal_mode")


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(
    ("word", "value"), [("1", True), ("TRUE", True), ("yes", True), (" on ", True), ("0", False), ("Off", False)]
)
def test_lock_environment_beats_the_file(write, lock, word, value):
    path = write(f"[locks]\n{lock} = {str(not value).lower()}\n")
    assert getattr(read_config(path, {}).locks, lock) is not value
    assert getattr(read_config(path, {lock.upper(): word}).locks, lock) is value


def test_locks_defaults_are_the_safe_ones():
    assert LocksConfig() == LocksConfig(
        disable_model_training=False,
        disable_websocket=False,
        disable_rest_fallback=True,
        relaxed_signal_mode=None,
    )


@pytest.mark.parametrize(
    ("mode", "lock", "is_relaxed"),
    [
        ("backtest", None, True),
        ("paper", None, True),
        ("live", None, False),
        ("backtest", "0", False),
        ("paper", "no", False),
        ("live", "1", True),
    ],
)
def test_relaxed_signal_mode_follows_the_mode_unless_it_is_set(write, mode, lock, is_relaxed):
    environment = {} if lock is None else {"RELAXED_SIGNAL_MODE": lock}
    assert read_config(write(f"[run]\nmode = '{mode}'\n"), environment).is_relaxed is is_relaxed


@pytest.mark.parametrize("mode", ["backtest", "paper", "live"])
def test_disable_websocket_refuses_live_only(write, mode):
    path = write(f"[run]\nmode = '{mode}'\n")
    if mode != "live":
        assert read_config(path, {"DISABLE_WEBSOCKET": "1"}).locks.disable_websocket
        return
    assert refused(path, {"DISABLE_WEBSOCKET": "1"}) == [
        (
            "my.toml: run.mode: found `live` while DISABLE_WEBSOCKET is on, which allows recorded feeds only; choose "
            "backtest or paper, or switch the lock off"
        )
    ]


def test_settings_chosen_gives_kinds_in_order_and_names_as_in_the_file(write):
    settings = read_config(write('exits = ["q", "p"]\nfeatures = ["g"]\nmodel = "m"\n'), {})
    assert settings.chosen() == [
        ("feeds", "f"),
        ("brokers", "b"),
        ("storages", "s"),
        ("features", "g"),
        ("strategies", "one"),
        ("strategies", "two"),
        ("models", "m"),
        ("sizers", "z"),
        ("exits", "q"),
        ("exits", "p"),
    ]


@pytest.mark.parametrize("tables", [{}, {"plugins": ["a"]}, {"plugins": {"feed": 5, "exits": 3}}, {"plugins": None}])
def test_chosen_plugins_passes_over_what_is_no_name(tables):
    assert chosen_plugins(tables) == []


def test_plugin_tables_passes_over_what_is_no_table():
    assert plugin_tables({"exits": {"a": {"x": 1}, "b": 2}, "feeds": 3, "other": {"c": {}}}) == {
        ("exits", "a"): {"x": 1}
    }


def test_read_tables_bad_override_is_refused(write):
    with pytest.raises(ConfigError, match="`DISABLE_WEBSOCKET`: found `x`"):
        read_tables(write(""), {"DISABLE_WEBSOCKET": "x"})


def test_plugin_choice_defaults_to_simulated_orders():
    assert PluginChoice(feed="f", strategies=("s",), sizer="z").broker == "paper"
