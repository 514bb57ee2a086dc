"""Building blocks of the page: cards, places for charts, and the data that the page's script draws there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.report.text import escape

if TYPE_CHECKING:
    from slt.report.figures import Figure

__all__ = ["Drawing", "Section", "Sheet", "card", "empty_card"]


@frozen(eq=False)
class Drawing:
    """Data that the page's script turns into a chart or a table.

    Attributes:
        id: Unique in the page; the place to draw has ``data-chart`` or ``data-table`` of this value.
        content: JSON types.
    """

    id: str
    content: dict[str, Any]


@frozen(eq=False)
class Section:
    """One section of the page.

    Attributes:
        id: Anchor.
        title: Heading and link.
        body: HTML, all text in it escaped.
        drawings: Data for the places to draw in `body`.
    """

    id: str
    title: str
    body: str
    drawings: tuple[Drawing, ...] = ()


class Sheet:
    """Gathers the drawings of a section while its body is put together."""

    def __init__(self) -> None:
        self._drawings: list[Drawing] = []

    def section(self, anchor: str, title: str, body: str) -> Section:
        """The section with all that was drawn on this sheet."""
        return Section(anchor, title, body, tuple(self._drawings))

    def add(self, drawing: Drawing) -> None:
        """Keep data for the page's script."""
        self._drawings.append(drawing)

    def chart(self, chart_id: str, title: str, figure: Figure | None, *, caption: str, empty: str) -> str:
        """A card with a chart, or with the words of `empty` where there is nothing to draw."""
        if figure is None:
            return empty_card(title, empty)
        return card(title, self.place(chart_id, title, figure), escape(caption))

    def place(self, chart_id: str, title: str, figure: Figure, *, hidden: bool = False) -> str:
        """The place of a chart, without a card around it."""
        self.add(Drawing(chart_id, figure))
        return (
            f'<div class="chart" id="chart-{escape(chart_id)}" data-chart="{escape(chart_id)}" role="img" '
            f'aria-label="{escape(title)}" style="min-height:{figure["layout"]["height"]}px"'
            f"{' hidden' if hidden else ''}><noscript>The chart needs JavaScript.</noscript></div>"
        )


def card(title: str, body: str, caption: str = "", anchor: str = "") -> str:
    """A framed block; `body` and `caption` are HTML."""
    mark = f' id="{escape(anchor)}"' if anchor else ""
    words = f'<p class="caption">{caption}</p>' if caption else ""
    return f'<div class="card"{mark}><h3>{escape(title)}</h3>{words}{body}</div>'


def empty_card(title: str, words: str) -> str:
    """A framed block that says why there is nothing to see."""
    return card(title, f'<p class="empty">{escape(words)}</p>')
