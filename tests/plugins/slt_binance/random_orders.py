"""Orders as careless code might make them, on exchangeInfo answers of the real exchange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from slt.rules import parse_exchange_info
from slt.types import Order, OrderRole, OrderSide, OrderType

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SHARED = Path(__file__).parents[4] / "shared"
FILES = sorted((SHARED / "data/raw/exchangeinfo").glob("*.json"))
VECTOR = (
    SHARED / "vectors/JKorf+Binance.Net/Binance.Net.UnitTests/Endpoints/UsdFutures/ExchangeData/GetExchangeInfo.txt"
)
NO_FILES = "real exchangeInfo answers are not beside the repository"


def answers() -> Iterator[dict]:
    """Real answers of `GET /fapi/v1/exchangeInfo`, years apart."""
    yield from (json.loads(path.read_text()) for path in FILES)
    if VECTOR.is_file():
        text = VECTOR.read_text()
        yield json.loads(text[text.index("{") :])


def listings() -> Iterator[tuple[dict, object]]:
    """Every symbol of every answer: its entry, and the rules read from it."""
    for answer in answers():
        rules = parse_exchange_info(answer)
        for entry in answer["symbols"]:
            yield entry, rules[entry["symbol"]]


def random_order(dice: random.Random, entry: dict, number: int) -> tuple[Order, float]:
    """An order as careless code might make it: off every grid, too small, too large, too far away."""
    filters = {f["filterType"]: f for f in entry["filters"]}
    tick, high = (float(filters["PRICE_FILTER"][name]) for name in ("tickSize", "maxPrice"))
    step, least = (float(filters["LOT_SIZE"][name]) for name in ("stepSize", "minQty"))
    mark = max(tick * 10 ** dice.uniform(1, 6), tick) if dice.random() < 0.9 else high * dice.uniform(0.1, 1.2)
    mark = mark or dice.uniform(0.01, 100.0)  # some listings print a tick and a highest price of 0: no limit
    notional = 10 ** dice.uniform(-1, 7)
    quantity = dice.choice([notional / mark, least * dice.uniform(0.3, 30), step * dice.randrange(1, 10**6)])
    quantity *= 1 + dice.choice([0.0, 0.0, 1e-13, -1e-13, dice.uniform(-0.01, 0.01)])
    kind = dice.choice(list(OrderType))
    side = OrderSide(dice.choice([1, -1]))
    price = mark * dice.choice([1.0, dice.uniform(0.5, 2.0), dice.uniform(0.98, 1.02), 10 ** dice.uniform(-3, 3)])
    is_limit, is_closing = kind is OrderType.LIMIT, dice.random() < 0.4
    order = Order(
        client_id=f"o-{number}",
        position_id="p",
        symbol=entry["symbol"],
        side=side,
        type=kind,
        role=OrderRole.EXIT if is_closing else OrderRole.ENTRY,
        quantity=quantity,
        time=0,
        price=price if is_limit else None,
        stop_price=None if kind in {OrderType.LIMIT, OrderType.MARKET} else price,
        reduce_only=is_closing,
    )
    return order, mark
