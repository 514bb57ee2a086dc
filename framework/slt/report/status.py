"""How a run stands, for the terminal: a picture that is drawn anew every few seconds, and plain lines for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.report.text import duration, integer, money, multiple, percent, price, signed, utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from slt.report.standing import Standing

__all__ = ["StatusView", "render_status", "status_lines"]

_CURRENCY = "USDT"
_BEST = 99.5
_LINES_AROUND = 18
"""Of the picture: rules, heads, blank lines and the five figures."""
_LEAST_TRADES = 3
_RARE_OUTCOMES = (("expired", "expired"), ("uncertain", "uncertain (may have come twice)"))
_TONES = {"green": "bold green", "yellow": "bold yellow", "red": "bold red"}


@frozen
class StatusView:
    """What is shown.

    Attributes:
        vitals: The run's own record, as in its ``health.json``.
        standing: Figures of the day.
        liveness: What has become of the process, one line.
        source: Where `standing` comes from, one line.
    """

    vitals: Mapping[str, Any]
    standing: Standing
    liveness: str
    source: str

    @property
    def has_ended(self) -> bool:
        """Whether the run was left on purpose: its feed, broker and tasks are down because it is, and no fault."""
        return str(self.vitals["state"]) != "running"

    @property
    def parts(self) -> Sequence[Mapping[str, Any]]:
        """The parts of the score; none of a run that has ended."""
        return () if self.has_ended else self.vitals["parts"]

    @property
    def waits(self) -> Mapping[str, str]:
        """Why entries are halted, by source; a run that has ended takes none anyway."""
        return {} if self.has_ended else self.vitals["waits"]


def status_lines(view: StatusView) -> list[str]:
    """The status as plain lines of ``name: value``, each whole on its own."""
    vitals = view.vitals
    lines = [f"run: {vitals['run']} ({vitals['mode']}), {view.liveness}"]
    lines += [f"{name.lower()}: {value}" for name, value, _ in _figures(view)]
    lines += [f"part {part['name']}: {part['score']:.0f}, {part['detail']}" for part in view.parts]
    lines += [f"entries halted by {source}: {reason}" for source, reason in view.waits.items()]
    lines += [f"position {name}" for name in map("; ".join, _positions(vitals))] or ["positions: none open"]
    lines += [f"trade {name}" for name in map("; ".join, _trades(view.standing))] or ["trades: none closed yet"]
    lines += [f"model {text}" for text in _models(view)] or ["model: none in force (UNTRAINED)"]
    lines += [f"notices {text}" for text in _channels(vitals)]
    return [line.replace("\N{MINUS SIGN}", "-").replace("\n", " ") for line in (*lines, f"figures: {view.source}")]


def render_status(view: StatusView, *, height: int | None = None) -> RenderableType:
    """The status as a picture for rich.

    Args:
        view: What is shown.
        height: Lines there are; where they are too few, parts that are well are only named, and the oldest trades left
            out. None = as many as it takes.
    """
    from rich.console import Group  # noqa: PLC0415 - rich is imported only when something is drawn
    from rich.rule import Rule  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    vitals = view.vitals
    parts: list[RenderableType] = [
        Rule(Text(f"{vitals['run']} ({vitals['mode']})", style="bold")),
        Text(view.liveness, style="dim"),
        "",
        _pairs(_figures(view)),
        "",
    ]
    waits = [Text(f"Entries halted by {s}: {r}", style="bold yellow") for s, r in view.waits.items()]
    parts += [*waits, ""] if waits else []
    trades, models, channels = list(_trades(view.standing)), list(_models(view)), list(_channels(vitals))
    lines = [waits, view.parts, vitals["positions"], trades, models, channels]
    excess = 0 if height is None else sum(map(len, lines)) + _LINES_AROUND - height
    rows = _part_rows(view.parts, is_short=excess > 0)
    parts += [*rows, ""] if rows else []
    if (excess := excess - len(view.parts) + _lines_of(rows)) > 0:
        trades = trades[: max(len(trades) - excess, _LEAST_TRADES)]
    heads = ("Position", "Age", "Entry", "Price", "Stop", "Target", "Gain", "Unrealised")
    parts += [_table(heads, _positions(vitals))] if vitals["positions"] else [Text("No position is open.")]
    closed = _table(("Last trades", "Closed (UTC)", "Result", "Net PnL", "Exit"), trades)
    parts += ["", closed if trades else Text("No trade has been closed yet."), ""]
    parts += [Text(f"Model {text}") for text in models] or [Text("No model is in force (UNTRAINED).")]
    parts += [Text(f"Notices {text}") for text in channels]
    parts.append(Text(f"Figures: {view.source}", style="dim"))
    return Group(*parts)


def _figures(view: StatusView) -> list[tuple[str, str, str]]:
    vitals, standing = view.vitals, view.standing
    won = f", {integer(standing.day_wins)} won" if standing.day_trades else ""
    recent = (
        f"{percent(standing.recent_wins / standing.recent_trades)} of the last {integer(standing.recent_trades)} "
        f"(at least {percent(standing.recent_win_rate_low)}), mean {multiple(standing.recent_expectancy_r)} R"
        if standing.recent_trades
        else "no trade yet"
    )
    time = vitals["event_time"]
    risk = f", {percent(vitals['open_risk'], 2)} of it lost if every stop is met"
    return [
        _health(view),
        ("Event time", "no bar yet" if time is None else f"{utc(time)} UTC", ""),
        ("Equity", money(vitals["equity"], _CURRENCY) + risk, ""),
        (
            "Today",
            f"{signed(standing.day_pnl, _CURRENCY)} net, {_trades_in_words(standing.day_trades)}{won}",
            _tone(standing.day_pnl),
        ),
        ("Win rate", recent, ""),
    ]


def _health(view: StatusView) -> tuple[str, str, str]:
    vitals = view.vitals
    if not view.has_ended:
        return "Health", f"{vitals['score']:.0f} of 100, {vitals['status']}", _TONES.get(vitals["status"], "")
    left = vitals.get("writer", {}).get("pending", 0)
    waiting = f"; {integer(left)} records wait in its journal for the database" if left else ""
    return "Health", f"not watched, the run is {vitals['state']}{waiting}", _TONES["yellow"] if left else ""


def _positions(vitals: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    now = vitals["event_time"]
    for one in vitals["positions"]:
        stop = price(one["stop"]) + ("" if one["stop_resting"] else " (NOT RESTING)")
        yield (
            f"{one['symbol']} {_side(one['side'])}{' closing' if one['closing'] else ''}",
            duration(max((now or one["entry_time"]) - one["entry_time"], 0)),
            price(one["entry_price"]),
            price(one["price"]),
            f"stop {stop}",
            f"target {price(one['target'])}",
            f"{signed(one['gain_r'])} R",
            signed(one["unrealised"], _CURRENCY),
        )


def _trades(standing: Standing) -> Iterator[tuple[str, ...]]:
    for trade in standing.last_trades:
        yield (
            f"{trade.symbol} {_side(trade.side)}",
            utc(trade.exit_time),
            f"{signed(trade.r_multiple)} R",
            signed(trade.net_pnl, _CURRENCY),
            trade.exit,
        )


def _models(view: StatusView) -> Iterator[str]:
    now = view.vitals["event_time"]
    for one in view.standing.models:
        age = "" if now is None else f", {duration(max(now - one.fitted_time, 0))} old"
        yield f"{one.strategy} v{one.version}: {integer(one.samples)} samples{age}"


def _channels(vitals: Mapping[str, Any]) -> Iterator[str]:
    for one in vitals["channels"]:
        rare = [f"{integer(one[name])} {words}" for name, words in _RARE_OUTCOMES if one.get(name)]
        if one["off"] is not None:
            yield "; ".join([f"{one['name']}: switched off: {one['off']}", *rare])
        elif rare or one["waiting"] or one["dropped"]:
            counts = [f"{integer(one['waiting'])} wait", f"{integer(one['dropped'])} dropped", *rare]
            yield f"{one['name']}: {', '.join(counts)}"


def _part_rows(parts: Sequence[Mapping[str, Any]], *, is_short: bool) -> list[RenderableType]:
    """The parts of the score with what they say; in short only those that are not at their best, and names."""
    from rich.text import Text  # noqa: PLC0415 - rich is imported only when something is drawn

    grid, well = _grid(), []
    for part in parts:
        if is_short and part["score"] >= _BEST:
            well.append(part["name"])
            continue
        tone = "green" if part["score"] >= 80 else "yellow" if part["score"] >= 50 else "bold red"
        grid.add_row(Text(part["name"]), Text(f"{part['score']:.0f}", style=tone), Text(part["detail"], style="dim"))
    rows: list[RenderableType] = [grid] if grid.row_count else []
    return [*rows, Text(f"At 100: {', '.join(well)}", style="dim")] if well else rows


def _lines_of(rows: list[RenderableType]) -> int:
    """Lines that parts take; names that are strung together are given two."""
    return sum(getattr(row, "row_count", 2) for row in rows)


def _pairs(pairs: list[tuple[str, str, str]]) -> Table:
    from rich.text import Text  # noqa: PLC0415 - rich is imported only when something is drawn

    grid = _grid()
    for name, value, style in pairs:
        grid.add_row(Text(name, style="cyan"), Text(value, style=style))
    return grid


def _grid() -> Table:
    from rich.table import Table  # noqa: PLC0415 - rich is imported only when something is drawn

    return Table.grid(padding=(0, 2))


def _table(heads: tuple[str, ...], rows: Any) -> Table:
    from rich.table import Table  # noqa: PLC0415 - rich is imported only when something is drawn
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(*heads, box=None, header_style="cyan", pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(_cell(cell, Text) for cell in row))
    return table


def _cell(cell: str, text: type[Text]) -> Text:
    """A cell without the word that heads its column, coloured where it is a result."""
    is_result = cell.endswith((" R", _CURRENCY))
    tone = (
        "green"
        if is_result and cell.startswith("+")
        else "red"
        if is_result and cell.startswith("\N{MINUS SIGN}")
        else ""
    )
    return text(cell.removeprefix("stop ").removeprefix("target "), style=tone)


def _trades_in_words(count: int) -> str:
    return "1 trade" if count == 1 else f"{integer(count)} trades"


def _side(side: int) -> str:
    return "long" if side > 0 else "short"


def _tone(value: float) -> str:
    if round(value, 2) == 0:
        return ""
    return "bold green" if value > 0 else "bold red"
