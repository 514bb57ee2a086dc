"""The reference is what the code says, and says everything."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import attrs
import generate
import pytest

import slt.errors
import slt.testing
import slt.types
from slt.config import KERNEL_SECTIONS, options_of
from slt.hookspecs import KINDS
from slt.loader import find_plugins, import_plugin

PAGES = generate.pages()
HOOKS = [(kind, name, hook) for kind, spec in KINDS.items() for name, hook in vars(spec).items() if name[:4] == "slt_"]
SHIPPED = [p for p in find_plugins() if p.distribution == "selflearningtrader"]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name):
    path = generate.REFERENCE / name
    assert path.exists(), f"docs/reference/{name} is missing; run `python docs/generate.py`"
    assert path.read_text(encoding="utf-8") == PAGES[name], "out of date; run `python docs/generate.py`"


def test_no_page_depends_on_the_day_it_is_written_on():
    (row,) = [line for line in PAGES["cli.md"].splitlines() if line.startswith("| `--to`")]
    assert row == "| `--to` | text | yesterday | Last day, UTC. |"
    today = datetime.now(UTC).date()
    for name, page in PAGES.items():
        for day in (today, today - timedelta(days=1)):
            assert str(day) not in page, f"{name} holds {day}"


def test_every_page_of_the_folder_is_generated_or_the_glossary():
    assert {path.name for path in generate.REFERENCE.iterdir()} == {*PAGES, "glossary.md"}


@pytest.mark.parametrize(("kind", "name", "hook"), HOOKS, ids=[name for _, name, _ in HOOKS])
def test_hook_is_documented_with_its_signature_and_every_part_of_the_template(kind, name, hook):
    _, _, page = PAGES["hooks.md"].partition(f"\n### {name}\n")
    section = page.partition("\n### ")[0].partition("\n## ")[0]
    signature = section.split("```")[1]
    for parameter in list(inspect.signature(hook).parameters.values())[1:]:
        assert f"{parameter.name}: {parameter.annotation}" in signature
    assert f"-> {inspect.signature(hook).return_annotation}: ..." in signature
    assert ("async def" in signature) is inspect.iscoroutinefunction(hook)
    for part in ("**Called**", "**On error**", "**Budget**", "**Since**", "*In back-test and live*"):
        assert part in section, f"{kind}: {name} says nothing under {part}"


@pytest.mark.parametrize("section", KERNEL_SECTIONS)
def test_every_option_of_a_section_is_documented(section):
    _, _, page = PAGES["config.md"].partition(f"\n## [{section}]\n")
    part = page.partition("\n## ")[0]
    options = options_of(KERNEL_SECTIONS[section])
    assert options
    for option in options:
        assert option.text, f"{section}.{option.name} has no line under `Attributes:`"
        assert f"| `{option.name}` |" in part


@pytest.mark.parametrize("plugin", SHIPPED, ids=str)
def test_every_option_of_a_plugin_is_documented(plugin):
    _, _, page = PAGES["plugins.md"].partition(f"\n## {plugin.kind}: {plugin.name}\n")
    part = page.partition("\n## ")[0]
    assert plugin.target in part
    for option in options_of(import_plugin(plugin.kind, plugin.name)[1].config_class):
        assert option.text, f"{plugin.kind}.{plugin.name}.{option.name} has no line under `Attributes:`"
        assert f"| `{option.name}` |" in part


def test_every_type_and_each_of_its_attributes_is_documented():
    for name in slt.types.__all__:
        if name == "Record":  # a union of types that are there themselves
            continue
        _, _, page = PAGES["data.md"].partition(f"\n### {name}\n")
        part = page.partition("\n### ")[0]
        assert part, f"{name} is missing"
        cls = getattr(slt.types, name)
        for field in attrs.fields(cls) if isinstance(cls, type) and attrs.has(cls) else ():
            if not field.name.startswith("_"):
                assert f"| `{field.name}` |" in part, f"{name}.{field.name} is missing"


def test_what_a_strategy_author_writes_is_documented_with_arguments_and_answer():
    written = {"DataFrameStrategy.on_frame": ("taker_buy_volume", "target"), "BarStrategy.on_bar": ()}
    for name, columns in written.items():
        _, _, rest = PAGES["authoring.md"].partition(f"\n#### {name}\n")
        part = rest.partition("\n### ")[0]
        for words in ("**Arguments**", "**Returns**", *(f"`{column}`" for column in columns)):
            assert words in part, f"{name} says nothing of {words}"


def test_every_error_is_documented_with_its_exit_code():
    for name in slt.errors.__all__:
        code = getattr(slt.errors, name).exit_code
        assert f"| `{name}` | {code} |" in PAGES["errors.md"]
        assert f"\n| {code} | " in PAGES["errors.md"], f"exit code {code} is not explained"


def test_every_kit_is_documented():
    for name in slt.testing.__all__:
        assert f"\n## {name}\n" in PAGES["testing.md"]


def test_glossary_is_sorted_and_names_every_kind():
    rows = (generate.REFERENCE / "glossary.md").read_text(encoding="utf-8").splitlines()
    words = [row.split("|")[1].strip() for row in rows if row.startswith("| ")][2:]
    assert words == sorted(words, key=str.lower)
    assert len(set(words)) == len(words)
    assert set(generate._SINGULAR.values()) - set(words) == {"feature set"}
