from __future__ import annotations

import io
import subprocess
import sys

import attrs
import pytest
from rich.console import Console

from slt.report import render_summary, summary_lines


def print_on(summary, *, terminal, width=100, path=None):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    render_summary(summary, console, path)
    return console.file.getvalue()


class TestSummaryLines:
    def test_summary_lines_tell_what_a_person_asks(self, data):
        text = "\n".join(summary_lines(data.summary, "out/demo-1.html"))
        s = data.summary
        for words in (
            "run: demo-1 (backtest), 2025-05-04 00:00 to",
            "SYNTHETIC MARKET: the candles were made by a program",
            f"trades: {s.trades}, {s.wins} won",
            "USDT after fees and funding",
            "max drawdown: ",
            "model ict_smc v2: 24 samples, effective 2025-05-",
            "trades decided, promoted: log-loss 0.6712",
            "trades decided, refused: log-loss 0.6951",
            f"proposals: {sum(s.decisions.values())}, {s.trades} entered; refused by cost 480, warm 180",
            "accounts: close",
            f"trade hash: {s.trade_hash}",
            "report: out/demo-1.html",
        ):
            assert words in text
        assert all(f"exit {g.key}: {g.trades} trades" in text for g in s.by_exit)

    def test_summary_lines_own_names_are_plain_ascii_lines(self, data):
        lines = summary_lines(data.summary)
        assert all(line.isascii() and "\n" not in line for line in lines)

    def test_summary_lines_nothing_happened_says_so(self, empty_data):
        text = "\n".join(summary_lines(empty_data.summary))
        assert "trades: 0, 0 won" in text
        assert "win rate: n/a" in text
        assert "models: no fit took place (UNTRAINED)" in text
        assert "SYNTHETIC" not in text
        assert "report:" not in text

    def test_summary_lines_open_accounts_shout(self, data):
        wrong = attrs.evolve(data.summary, final_equity=data.summary.final_equity + 1)
        assert any("DO NOT CLOSE, off by 1.0000" in line for line in summary_lines(wrong))

    def test_summary_lines_many_gates_sum_up_the_rest(self, data):
        crowded = attrs.evolve(data.summary, decisions={f"gate{i}": 10 - i for i in range(8)})
        assert "proposals: 52, 0 entered; refused by gate0 10, gate1 9, gate2 8, gate3 7, gate4 6, others 12" in (
            summary_lines(crowded)
        )


class TestRenderSummary:
    def test_render_summary_without_terminal_prints_the_plain_lines(self, data):
        printed = print_on(data.summary, terminal=False, width=40, path="a b.html")
        assert printed.splitlines() == summary_lines(data.summary, "a b.html")

    def test_render_summary_on_a_terminal_shows_tables(self, data):
        printed = print_on(data.summary, terminal=True, path="out/demo-1.html")
        for words in ("demo-1 (backtest)", "SYNTHETIC MARKET", "Net PnL (USDT)", "Verdict", "promoted", "refused",
                      data.summary.trade_hash, "out/demo-1.html", "2.9", "Max drawdown"):  # fmt: skip
            assert words in printed

    @pytest.mark.parametrize("width", [60, 80, 140])
    def test_render_summary_any_width_keeps_inside(self, data, width):
        assert max(map(len, print_on(data.summary, terminal=True, width=width).splitlines())) <= width

    def test_render_summary_markup_in_names_stays_text(self, data):
        groups = (attrs.evolve(data.summary.by_exit[0], key="[red]x[/red]"),)
        named = attrs.evolve(data.summary, by_exit=groups, market="[bold]m[/bold]", run_id="[i]r")
        for terminal in (True, False):
            printed = print_on(named, terminal=terminal)
            assert all(text in printed for text in ("[red]x[/red]", "[bold]m[/bold]", "[i]r"))

    @pytest.mark.parametrize("width", [80, 140])
    def test_render_summary_many_versions_shows_the_latest_and_counts_the_others(self, data, width):
        one = data.summary.models[0]
        versions = [
            attrs.evolve(one, version=v, effective_time=v, promoted=v in {3, 50}, verdict="refused: " + "too few " * 30)
            for v in range(1, 59)
        ]
        crowded = attrs.evolve(data.summary, models=tuple(versions))
        lines = print_on(crowded, terminal=True, width=width).splitlines()
        rows = [line.split()[1] for line in lines if line.strip().startswith(f"{one.strategy} v")]
        assert rows == [f"v{v}" for v in range(49, 59)]
        assert any(f"48 earlier versions, promoted of them: {one.strategy} v3" in line for line in lines)

    def test_render_summary_nothing_happened_says_so(self, empty_data):
        printed = print_on(empty_data.summary, terminal=True)
        assert "No trade was closed." in printed
        assert "No fit took place (UNTRAINED)." in printed


@pytest.mark.parametrize("module", ["slt.report", "slt.statistics"])
def test_import_alone_stays_light(module):
    heavy = "{'plotly', 'rich', 'cattrs', 'pandas', 'numba', 'xgboost', 'asyncpg', 'pyarrow', 'aiohttp'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
