from __future__ import annotations

import pytest

from slt.report.text import (
    bare_verdict,
    duration,
    escape,
    integer,
    money,
    multiple,
    percent,
    price,
    share,
    signed,
    tone,
    utc,
)

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (money(1234.5, "USDT"), "1,234.50 USDT"),
        (money(-0.001), "0.00"),
        (money(-3.0), f"{MINUS}3.00"),
        (money(None, "USDT"), "n/a"),
        (signed(2.0), "+2.00"),
        (signed(0.001), "0.00"),
        (signed(-2.0, "USDT"), f"{MINUS}2.00 USDT"),
        (percent(0.1234), "12.3 %"),
        (percent(None), "n/a"),
        (multiple(-0.5), f"{MINUS}0.50"),
        (integer(12345), "12,345"),
        (price(0.00001234), "0.00001234"),
        (price(96000.5), "96,000.5"),
        (price(1453125.75), "1,453,125.8"),
        (price(123456789.0), "123,456,789"),
        (share(1, 4), "1 of 4 (25.0 %)"),
        (share(0, 0), "0 of 0"),
        (duration(None), "n/a"),
        (duration(45_000), "45 s"),
        (duration(12 * 60_000), "12 min"),
        (duration(185 * 60_000), "3 h 05 min"),
        (duration(52 * 3_600_000), "2 d 04 h"),
        (utc(1_746_316_800_000), "2025-05-04 00:00"),
        (utc(None), "n/a"),
        (tone(1.0), "profit"),
        (tone(-1.0), "loss"),
        (tone(0.0), ""),
        (bare_verdict("refused: too few samples"), "too few samples"),
        (bare_verdict("too few samples"), "too few samples"),
        (escape("<a href='\"'>&"), "&lt;a href=&#x27;&quot;&#x27;&gt;&amp;"),
    ],
)
def test_text_value_reads_as_people_write_it(found, expected):
    assert found == expected
