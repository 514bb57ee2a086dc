"""What the documentation shows is what there is: files, links, configurations, commands, names, outputs."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import examples
import pytest
from click.testing import CliRunner

from slt.cli.root import root
from slt.config import KERNEL_SECTIONS
from slt.hookspecs import KINDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = {str(path.relative_to(ROOT)): path for path in examples.documents()}
BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^ *(?P=fence)$", re.MULTILINE | re.DOTALL
)
PACKAGES = [path.parent for path in sorted((ROOT / "docs").rglob("pyproject.toml"))]
MAIN = "python3 -m venv .venv && .venv/bin/pip install -e '.[embedded]' && .venv/bin/slt run --config config.toml"
TESTS = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def blocks(path):
    """``(language, attributes, body)`` of every fenced block of a page."""
    for match in BLOCK.finditer(path.read_text(encoding="utf-8")):
        language, *attributes = match["info"].split() or [""]
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        yield language, dict(a.split("=", 1) for a in attributes if "=" in a), body


def blocks_of(*languages):
    found = []
    for name, path in DOCUMENTS.items():
        for number, (language, attributes, body) in enumerate(blocks(path)):
            if language in languages:
                found.append(pytest.param(path, attributes, body, id=f"{name}-{number}"))
    assert found
    return found


def prose(path):
    return BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path):
    """The anchors that a page's headings have on the usual hosts."""
    heads = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_each_file_of_a_package_is_shown_whole_by_its_page(package):
    pages = [path for path in DOCUMENTS.values() if path.parent == package.parent]
    shown = {(page.parent / a["file"]).resolve() for page in pages for _, a, _ in blocks(page) if "file" in a}
    files = {path.resolve() for path in package.rglob("*") if path.suffix in {".toml", ".py", ".md"}}
    files = {path for path in files if not {"runs", "data"} & {part.name for part in path.parents}}
    left_out = {package / "README.md"} if package.name == "slt-first-strategy" else set()
    assert files - left_out == shown & files


@pytest.mark.parametrize(("path", "attributes", "body"), blocks_of("python", "toml", "markdown"))
def test_block_that_names_a_file_equals_it(path, attributes, body):
    if "file" in attributes:
        assert body == (path.parent / attributes["file"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "attributes", "body"), blocks_of("python"))
def test_python_block_compiles(path, attributes, body):
    compile(body, str(path), "exec")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_relative_link_resolves(name):
    path = DOCUMENTS[name]
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{name}: no `{file}`"
        if anchor:
            assert anchor in anchors(linked), f"{name}: `{target}`; the page has {sorted(anchors(linked))}"


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """The packages of the documentation, installed."""
    site = tmp_path / "site"
    for package in PACKAGES:
        examples.install(package, site)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.mark.parametrize(("path", "attributes", "body"), blocks_of("toml"))
def test_toml_block_parses_and_a_whole_config_passes_the_check(path, attributes, body, third_party, monkeypatch):
    tables = tomllib.loads(body)
    plugins = tables.get("plugins", {})
    if "build-system" in tables or not {"feed", "strategies", "sizer"} <= plugins.keys():
        assert set(tables) <= {"build-system", "project", "tool", *KERNEL_SECTIONS, *KINDS}
        return
    monkeypatch.chdir(third_party.parent)
    Path("shown.toml").write_text(body, encoding="utf-8")
    done = CliRunner().invoke(root, ["config", "check", "--config", "shown.toml"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def partial_tables():
    for param in blocks_of("toml"):
        tables = tomllib.loads(param.values[2])
        if "build-system" not in tables and "project" not in tables and "feed" not in tables.get("plugins", {}):
            yield pytest.param(tables, id=param.id)


@pytest.mark.parametrize("tables", list(partial_tables()))
def test_part_of_a_config_fits_a_whole_one(tables, third_party, monkeypatch):
    """The options shown exist and the plugins chosen are there."""
    chosen = tables.get("plugins", {})
    named = {kind: list(tables[kind]) for kind in KINDS if kind in tables}
    singles = {"feed": "feeds", "broker": "brokers", "storage": "storages", "model": "models", "sizer": "sizers"}
    lines = {"feed": "synthetic", "strategies": ["ema_cross"], "sizer": "fixed_risk"}
    lines |= {option: named[kind][0] for option, kind in singles.items() if kind in named}
    lines |= {kind: names for kind, names in named.items() if kind not in singles.values()} | chosen
    if lines.get("broker", "paper") != "paper" and "run" not in tables:
        lines["feed"], tables = lines["broker"], {"run": {"mode": "live"}} | tables  # a real broker wants a live feed
    text = "[plugins]\n" + "".join(f"{key} = {value!r}\n" for key, value in lines.items())
    for section, content in tables.items():
        if section in KINDS:
            text += "".join(f"[{section}.{name}]\n{as_toml(options)}" for name, options in content.items())
        elif section != "plugins":
            text += f"[{section}]\n{as_toml(content)}"
    monkeypatch.chdir(third_party.parent)
    Path("whole.toml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(root, ["config", "check", "--config", "whole.toml"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def as_toml(table):
    return "".join(f"{key} = {value!r}\n" for key, value in table.items())


def commands(body):
    """Every call of ``slt`` in a shell block, as its arguments."""
    for line in re.sub(r"\\\n\s*", " ", body).splitlines():
        for part in re.split(r"&&|\|(?!\|)|;", line):
            words = [w for w in shlex.split(part, comments=True) if not re.match(r"[A-Z_]+=", w)]
            while words and words[0] in {"export", "sudo", "time"}:
                words = words[1:]
            if words and Path(words[0]).name == "slt":
                yield words[1:]


def assert_command(words):
    """The words are a command of slt with options that it has."""
    command, context = root, click.Context(root, info_name="slt")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"no command `{rest[0]}` in `slt {' '.join(words)}`"
        command, context, rest = found, click.Context(found, info_name=rest[0], parent=context), rest[1:]
    known = {o for p in command.get_params(context) for o in (*p.opts, *p.secondary_opts)}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"no option `{word}` in `slt {' '.join(words)}`"
    return command


@pytest.mark.parametrize(("path", "attributes", "body"), blocks_of("sh"))
def test_shell_block_calls_commands_that_exist(path, attributes, body):
    for words in commands(body):
        command = assert_command([w for w in words if w not in {"2>", ">"}])
        assert not isinstance(command, click.Group), f"`slt {' '.join(words)}` is a group of commands"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_named_in_the_text_exist(name):
    for code in re.findall(r"`slt ([^`<]+)`", prose(DOCUMENTS[name])):
        assert_command([word for word in code.split() if not word.isupper() and ":" not in word])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_dotted_names_in_the_text_exist(name, third_party):
    for dotted in re.findall(r"`(slt(?:_[a-z]+)*(?:\.\w+)+)`", prose(DOCUMENTS[name])):
        parts = dotted.split(".")
        if parts[1] == "py" or (parts[0] == "slt" and parts[1] in KINDS):  # a file, or an entry-point group
            continue
        thing, rest = importlib.import_module(parts[0]), parts[1:]
        while rest:
            if not hasattr(thing, rest[0]):
                thing = importlib.import_module(".".join(parts[: len(parts) - len(rest) + 1]))
            else:
                thing = getattr(thing, rest[0])
            rest = rest[1:]


def test_readme_has_the_two_commands_word_for_word_and_no_other_set_up():
    shell = [body for language, _, body in blocks(ROOT / "README.md") if language == "sh"]
    assert [line for body in shell for line in body.splitlines() if "venv" in line] == [MAIN, TESTS]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nobody_is_sent_to_the_stranger_of_the_same_name(name):
    text = DOCUMENTS[name].read_text(encoding="utf-8")
    assert not re.search(r"pip install (?:-\S+ )*slt(?![-\w])", text), "`slt` on the package index is another project"


def shown_examples():
    for name, path in DOCUMENTS.items():
        for match in examples._BLOCK.finditer(path.read_text(encoding="utf-8")):
            yield pytest.param(match["name"], match["body"], id=f"{name}-{match['name']}")


def labels(lines):
    """What a line of a summary or table is about, without its figures."""
    return [
        re.sub(r"^(exit|model) .*", r"\1", re.split(r"[:\t]", line)[0]) if line != "…" else "model" for line in lines
    ]


STABLE = {"strategy-list", "strategy-show", "webhook-list"}


@pytest.mark.parametrize(("name", "body"), list(shown_examples()))
def test_shown_output_is_what_the_commands_print(name, body):
    """To the letter where it depends on nothing; by its labels where figures may differ from machine to machine."""
    assert name in examples.EXAMPLES
    short = {"SLT_FEEDS__SYNTHETIC__DAYS": "12"} if name == "main-run" else {}
    output = examples.output_of(examples.EXAMPLES[name], RECEIVER_PORT="0", **short)
    shown = body.splitlines()
    if name in STABLE:
        assert shown == output, "out of date; run `python docs/examples.py`"
    elif name == "webhook-run":
        assert [re.sub(r"\d.*", "", line) for line in shown] == [re.sub(r"\d.*", "", line) for line in output]
    else:
        assert set(labels(shown)) - {"model", "models"} <= set(labels(output)), "run `python docs/examples.py`"
        assert len(shown) > 1


def test_worked_example_of_sizing_is_what_the_code_computes():
    from slt.config import RiskConfig
    from slt.statistics import wilson_interval
    from slt.testing.markets import make_account, make_proposal
    from slt.trading.sizing import allowed_leverage, cap_size
    from slt.types import LeverageBracket
    from slt_sizers.kelly import Kelly, KellyConfig

    risk, bracket = RiskConfig(), LeverageBracket(0.0, 1e9, 125, 0.004, 0.0)
    proposal = make_proposal(price=100.0, risk=0.8, reward=1.2, confidence=0.75)
    columns = []
    for wins, p_win in ((0, None), (70, None), (70, 0.55)):
        proven = wilson_interval(wins, 100)[0] if wins else 0.0
        leverage = allowed_leverage(risk, bracket, 0.008, proven, 0.75 if p_win is None else p_win)
        size = Kelly(KellyConfig()).slt_size_position(proposal, 0.75, p_win, make_account(leverage=leverage))
        capped = cap_size(size, risk, 10_000.0, 0.0, leverage, 0.008 + 0.0014)
        loss = capped.notional * 0.0094
        figures = (size.numbers["multiplier"], size.margin, capped.notional, loss)
        columns.append([*(f"{f:.2f}" for f in figures), str(leverage), f"{loss / 10_000:.2%}".replace("%", " %")])
    text = DOCUMENTS["docs/explanation/sizing.md"].read_text(encoding="utf-8")
    rows = ("multiplier", "margin asked for", "notional", "loss at the stop, costs included", "leverage allowed")
    for row, cells in zip((*rows, "share of equity"), zip(*columns, strict=True), strict=True):
        assert f"| {row} | {' | '.join(cells)} |" in text
    assert f"{wilson_interval(70, 100)[0]:.1%}".replace("%", " %") in text
    assert f"{wilson_interval(69, 100)[0]:.1%}".replace("%", " %") in text
    assert f"{0.01 * 10_000 / (0.0014 / risk.max_cost_share + 0.0014):,.0f} USDT" in text


def test_every_gate_is_in_the_table_and_every_shadowed_one_is_named():
    from slt.trading.entries import SHADOWED

    sources = (ROOT / "framework" / "slt" / "trading").glob("*.py")
    gates = {g for path in sources for g in re.findall(r'Refusal\(\s*"(\w+)"', path.read_text(encoding="utf-8"))}
    ledger = DOCUMENTS["docs/how-to/read-the-ledger.md"].read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", ledger, re.MULTILINE)) == gates
    text = DOCUMENTS["docs/explanation/learning.md"].read_text(encoding="utf-8")
    shadows = text.partition("## Shadows")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", shadows)) >= SHADOWED


def words_of_the_code():
    """Every text in the code, with what is filled in at run time as `…`."""
    for folder in ("framework", "plugins", "notifiers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_lines_under_troubleshooting_are_those_that_slt_says():
    page = DOCUMENTS["docs/how-to/troubleshooting.md"].read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    shown = {line for cell in first_cells if not cell.startswith("gate ") for line in re.findall(r"`([^`]+)`", cell)}
    strangers = {"Invalid API-key, IP, or permissions", "password authentication failed", "--fresh", "services"}
    spoken = "\n".join(words_of_the_code())
    unsaid = {
        line
        for line in shown - strangers
        if not re.fullmatch(r"code -\d+", line) and not all(part.strip(" :") in spoken for part in line.split("…"))
    }
    assert not unsaid
    assert len(shown) > 30


def test_exits_are_shown_in_the_order_of_the_shipped_config():
    chosen = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))["plugins"]["exits"]
    text = DOCUMENTS["docs/explanation/exits.md"].read_text(encoding="utf-8")
    assert re.findall(r"^\| \d \| `(\w+)`", text, re.MULTILINE) == chosen
