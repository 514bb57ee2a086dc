"""``slt plugins``: what is installed, what is chosen, and what one plugin can be told."""

from __future__ import annotations

import json

import pytest

from slt.hookspecs import KINDS
from slt.loader import find_plugins

CHOICE = '[plugins]\nfeed = "replay"\nexits = ["time_stop", "gone"]\n'


def test_plugins_list_json_has_every_field(slt):
    code, out, err = slt("plugins", "list", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [(r["kind"], r["name"], r["version"], r["distribution"]) for r in rows] == [
        (i.kind, i.name, i.version, i.distribution) for i in find_plugins()
    ]
    assert not any(r["chosen"] for r in rows)


def test_plugins_list_marks_what_a_config_chooses(slt, tmp_path):
    (tmp_path / "config.toml").write_text(CHOICE)
    (tmp_path / "other.toml").write_text('[plugins]\nsizer = "kelly"\n')

    def chosen(*arguments):
        return [r["name"] for r in json.loads(slt("plugins", "list", "--json", *arguments)[1]) if r["chosen"]]

    assert chosen() == ["replay", "time_stop"]
    assert chosen("--config", "other.toml") == ["kelly"]


@pytest.mark.parametrize("kind", KINDS)
def test_plugins_list_of_one_kind_has_no_other(slt, kind):
    code, out, _ = slt("plugins", "list", "--kind", kind)
    head, *lines = out.splitlines()
    assert (code, head) == (0, "kind\tname\tversion\tdistribution\tchosen")
    assert {line.split("\t")[0] for line in lines} == {kind}


@pytest.mark.parametrize("content", ["not toml [", "plugins = [1]\n", "[plugins]\nexits = 3\n"])
def test_plugins_list_beside_an_unusable_config_still_works(slt, tmp_path, content):
    (tmp_path / "config.toml").write_text(content)
    code, out, err = slt("plugins", "list")
    assert code == 0
    assert len(out.splitlines()) == len(find_plugins()) + 1
    assert err == "" or err.startswith("slt: what is chosen is not known: config file `config.toml` is not valid TOML:")


def test_plugins_list_with_an_unusable_config_named_is_refused(slt):
    assert slt("plugins", "list", "--config", "none.toml") == (
        2,
        "",
        "slt: config file `none.toml` does not exist; name one with --config\n",
    )


def test_plugins_show_tells_origin_description_and_options(slt):
    code, out, err = slt("plugins", "show", "exits:time_stop")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("exits:time_stop, from selflearningtrader ")
    assert lines[0].endswith("(slt_exits.time_stop:TimeStop)")
    assert "Options of [exits.time_stop]:" in lines
    assert "option\ttype\tdefault\tmeaning" in lines
    assert "max_hours\ta number, more than 0\t2.0\tClose everything this many hours after the first fill." in lines


def test_plugins_show_without_options_says_so(slt):
    assert slt("plugins", "show", "storages:memory")[1].endswith("\nIt has no options.\n")


@pytest.mark.parametrize("installed", find_plugins(), ids=str)
def test_plugins_show_every_option_of_every_plugin_is_documented(slt, installed):
    code, out, _ = slt("plugins", "show", f"{installed.kind}:{installed.name}")
    assert code == 0
    _, _, table = out.partition("option\ttype\tdefault\tmeaning\n")
    assert [line for line in table.splitlines() if len(line.split("\t")) != 4 or not line.split("\t")[3]] == []


@pytest.mark.parametrize(
    ("plugin", "code", "line"),
    [
        ("exits:time_stp", 3, "no exits plugin `time_stp` is installed; did you mean `time_stop`? (installed: "),
        ("exit:time_stop", 2, "found `exit:time_stop`, allowed is KIND:NAME; did you mean `exits`? (kinds: feeds, "),
        ("time_stop", 2, "found `time_stop`, allowed is KIND:NAME (kinds: feeds, "),
        ("exits:", 2, "found `exits:`, allowed is KIND:NAME; did you mean `exits`? (kinds: feeds, "),
    ],
)
def test_plugins_show_unknown_plugin_is_answered_with_the_nearest(slt, plugin, code, line):
    found, out, err = slt("plugins", "show", plugin)
    assert (found, out) == (code, "")
    assert err.startswith(f"slt: {line}")
    assert err.count("\n") == 1
