"""The colours of the report; each has one meaning throughout, in a light and a dark tone."""

from __future__ import annotations

__all__ = ["COLOURS", "resolve", "stylesheet_variables"]

COLOURS: dict[str, tuple[str, str]] = {
    "page": ("#f4f5f8", "#0d1117"),
    "surface": ("#ffffff", "#161b22"),
    "raised": ("#f8f9fb", "#1c232d"),
    "border": ("#dfe3ea", "#2b333f"),
    "grid": ("#e9ecf1", "#262e39"),
    "text": ("#18202c", "#e6eaf0"),
    "muted": ("#5a6474", "#9aa5b5"),
    "equity": ("#3448c5", "#8d9dff"),
    "profit": ("#0b7f61", "#35c99c"),
    "loss": ("#c2303f", "#f4717f"),
    "long": ("#1f66d1", "#6cabff"),
    "short": ("#b95f0a", "#f5a455"),
    "fees": ("#7350bd", "#ab90f2"),
    "slippage": ("#96690f", "#dcab4d"),
    "funding": ("#1b7f98", "#62c4db"),
    "neutral": ("#8a94a4", "#717d8e"),
    "candle": ("#76808f", "#8893a3"),
    "warning": ("#8a5a00", "#f0b94d"),
    "warning_surface": ("#fff3d6", "#33270d"),
}
"""Name → (light, dark). Figures write a colour as ``$name``; the page turns it into the tone of the theme in force."""


def stylesheet_variables(theme: int) -> str:
    """CSS custom properties of one theme: 0 light, 1 dark."""
    return "".join(f"--{name.replace('_', '-')}:{tones[theme]};" for name, tones in COLOURS.items())


def resolve(value: object, theme: int = 0, *, is_colour: bool = False) -> object:
    """A figure with every ``$name`` under a key that ends in ``color`` replaced by its tone, as the page does.

    Args:
        value: The figure, or a part of it.
        theme: 0 light, 1 dark.
        is_colour: `value` stands under such a key.

    Returns:
        A copy.

    Raises:
        KeyError: A figure names a colour that does not exist.
    """
    if isinstance(value, dict):
        return {key: resolve(item, theme, is_colour=key.endswith("color")) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, theme, is_colour=is_colour) for item in value]
    if is_colour and isinstance(value, str) and value.startswith("$"):
        return COLOURS[value[1:]][theme]
    return value
