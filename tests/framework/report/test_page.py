from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import attrs
import pytest

from slt.report import render_html
from slt.report.sections import build_trades
from slt.statistics import summarise


class Reader(HTMLParser):
    """Collects text, tags and the content of scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.words, self.scripts, self.open = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in {"script", "style"}:
            self.open.append(tag)
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, text):
        if self.open:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + text)
        else:
            self.words.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def data(self):
        return {a["id"]: json.loads(t) for a, t in self.scripts if a.get("type") == "application/json"}


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def page(data):
    return render_html(data)


@pytest.fixture(scope="module")
def reader(page):
    return read(page)


class TestPage:
    def test_render_html_same_data_gives_same_text(self, data, page):
        assert render_html(data) == page

    def test_render_html_other_record_order_gives_same_text(self, data, page):
        turned = attrs.evolve(
            data,
            trades=data.trades[::-1],
            equity=data.equity[::-1],
            models=data.models[::-1],
            candles=dict(reversed(data.candles.items())),
        )
        assert render_html(turned) == page

    def test_render_html_loads_nothing_from_anywhere(self, reader):
        for tag, attributes in reader.tags:
            assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
            assert "src" not in attributes
            assert attributes.get("href", "#").startswith("#")
        style = "".join(text for _, text in reader.scripts if text.startswith(":root"))
        assert style
        assert "url(" not in style
        assert "@import" not in style

    def test_render_html_holds_plotly_once(self, page):
        assert page.count("* plotly.js v") == 1

    def test_render_html_every_place_has_its_data(self, reader):
        ids = set(reader.data())
        places = [a["data-chart"] for _, a in reader.tags if "data-chart" in a]
        assert len(places) == len(set(places))
        assert {f"data-{place}" for place in places} | {"data-trades"} == ids

    def test_render_html_every_link_has_its_section(self, reader):
        anchors = {a["id"] for tag, a in reader.tags if tag == "section"}
        assert {a["href"][1:] for tag, a in reader.tags if tag == "a"} == anchors

    def test_render_html_every_colour_exists_in_the_style(self, page):
        style = page[page.index("<style>") : page.index("</style>")]
        script = page[page.rindex("<script>") :]
        defined = set(re.findall(r"--([\w-]+):", style))
        assert set(re.findall(r"var\(--([\w-]+)\)", style + script)) <= defined

    def test_render_html_synthetic_market_says_so(self, reader):
        assert "Synthetic market. The candles were made by a program" in reader.text

    def test_render_html_real_market_has_no_banner(self, data):
        real = attrs.evolve(data, summary=attrs.evolve(data.summary, is_synthetic=False))
        assert "Synthetic market." not in read(render_html(real)).text

    def test_render_html_states_the_honest_note_and_the_hash(self, reader, data):
        assert "Past results, simulated or real, do not tell what will come" in reader.text
        assert data.summary.trade_hash in reader.text
        assert "All times are UTC" in reader.text

    def test_render_html_accounts_close_says_so(self, reader):
        assert "the accounts close." in reader.text
        assert "do not close" not in reader.text

    def test_render_html_accounts_off_by_a_cent_raises_the_alarm(self, data):
        wrong = attrs.evolve(data, summary=attrs.evolve(data.summary, final_equity=data.summary.final_equity + 0.01))
        text = read(render_html(wrong)).text
        assert "The accounts do not close. The final equity differs by 0.01" in text

    def test_render_html_verdicts_and_scores_are_in_words(self, reader):
        assert "log-loss 0.6712 against 0.6903 of the champion" in reader.text
        assert "champion.log_loss" in reader.text
        assert "0123456789ab..." in reader.text
        assert "calibration" not in [word for word in reader.words if word.islower()]


class TestTradeRows:
    def test_render_html_holds_every_trade(self, reader, data):
        table = reader.data()["data-trades"]
        titles = [c["title"] for c in table["columns"]]
        net = titles.index("Net PnL")
        assert len(table["rows"]) == len(data.trades)
        assert all(len(row) == len(titles) for row in table["rows"])
        assert math.fsum(row[net] for row in table["rows"]) == pytest.approx(data.summary.net_pnl)
        times = [row[0] for row in table["rows"]]
        assert times == sorted(times, reverse=True)
        assert f"All {len(data.trades)} closed trades." in reader.text

    def test_build_trades_too_many_shows_the_newest_and_says_so(self, data, monkeypatch):
        monkeypatch.setattr("slt.report.sections._MAX_ROWS", 10)
        section = build_trades(data)
        rows = section.drawings[0].content["rows"]
        newest = sorted((t.exit_time for t in data.trades), reverse=True)[:10]
        assert [row[0] for row in rows] == newest
        assert "The newest 10 of 60 closed trades; all of them are in the storage." in section.body

    def test_build_trades_unknown_figures_are_null(self, data):
        trade = attrs.evolve(data.trades[0], confidence=math.nan, p_win=None, r_multiple=math.inf)
        row = build_trades(attrs.evolve(data, trades=[trade])).drawings[0].content["rows"][0]
        assert row.count(None) == 3


class TestEmptyRun:
    def test_render_html_nothing_happened_says_so_in_words(self, empty_data):
        reader = read(render_html(empty_data))
        assert not [a for _, a in reader.tags if "data-chart" in a]
        for words in (
            "No equity points were stored for this run.",
            "No trade was closed.",
            "No candles are kept with a stored run: the chart is in the report that the run wrote at its end.",
            "No fit took place: the rules' confidence decided every trade (UNTRAINED).",
            "No fit stored the importance of its features.",
            "No proposal was recorded.",
        ):
            assert words in reader.text

    def test_render_html_trades_without_candles_says_so(self, data):
        reader = read(render_html(attrs.evolve(data, candles={})))
        assert (
            "No candles are kept with a stored run: the chart is in the report that the run wrote at its end."
            in reader.text
        )
        assert "data-trades" in reader.data()

    def test_render_html_many_symbols_names_what_is_left_out(self, data):
        candles = next(iter(data.candles.values()))
        trades = [attrs.evolve(data.trades[i % 60], symbol=f"S{i:02d}USDT") for i in range(20)]
        summary = summarise(data.run, trades, [], [], initial_equity=1.0)
        many = attrs.evolve(data, trades=trades, summary=summary, candles={t.symbol: candles for t in trades})
        reader = read(render_html(many))
        assert len([a for _, a in reader.tags if "data-tab" in a]) == 16
        assert "4 more traded symbols have no chart here" in reader.text


class TestEscaping:
    EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028$page"

    def test_render_html_hostile_names_stay_text(self, data, rename):
        reader = read(render_html(rename(data, self.EVIL)))
        assert "img" not in {tag for tag, _ in reader.tags}
        assert not [t for a, t in reader.scripts if t.startswith("alert")]
        assert not [a for _, a in reader.tags if any(name.startswith("on") for name in a)]
        assert re.sub(r"\s+", " ", self.EVIL) in reader.text

    def test_render_html_hostile_names_in_charts_are_escaped(self, data, rename):
        content = read(render_html(rename(data, self.EVIL))).data()
        for name in set(content) - {"data-trades"}:
            chart = json.dumps(content[name])
            assert "<script" not in chart, name
            assert "<img" not in chart, name
        assert "&lt;img" in json.dumps(content["data-decisions"])

    def test_render_html_trade_table_keeps_names_as_they_are(self, data, rename):
        rows = read(render_html(rename(data, self.EVIL))).data()["data-trades"]["rows"]
        assert rows[0][1] == self.EVIL
