from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from slt.errors import BrokerError, ConfigError
from slt.rules import GENERIC_BRACKETS, generic_rules
from slt.types import FundingPayment, FundingRates, MarketInfo, Order, OrderRole, OrderSide, OrderType, PricePoint
from slt_replay.paper import PaperBroker, PaperBrokerConfig

RAW = Path(__file__).parents[4] / "shared/data/raw"


def make_market(*symbols: str, **changes) -> MarketInfo:
    return MarketInfo(symbols=symbols, interval_ms=60_000, start=0, end=None, description="made for a test", **changes)


def listed(symbol: str) -> dict:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.5", "minPrice": "0.5", "maxPrice": "0"},
        {"filterType": "LOT_SIZE", "stepSize": "0.25", "minQty": "0.25", "maxQty": "0"},
    ]
    return {"symbol": symbol, "filters": filters}


def tiers(*symbols: str) -> dict:
    row = {"minNotional": 0.0, "maxNotional": 1e6, "maintenanceMarginRate": 0.2, "maxLeverage": 3.0}
    return {f"{symbol.removesuffix('USDT')}/USDT:USDT": [row] for symbol in symbols}


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


async def opened(market: MarketInfo, wallet: float = 1_000.0, **options) -> tuple[PaperBroker, dict]:
    broker = PaperBroker(PaperBrokerConfig(**options))
    return broker, dict(await broker.slt_open_broker(market, wallet))


def entry(symbol: str = "AUSDT", quantity: float = 1.0, client_id: str = "c1") -> Order:
    return Order(
        client_id=client_id,
        position_id="p",
        symbol=symbol,
        side=OrderSide.BUY,
        type=OrderType.MARKET,
        role=OrderRole.ENTRY,
        quantity=quantity,
        time=0,
        leverage=2,
    )


async def test_rules_without_file_or_feed_are_generic():
    _, rules = await opened(make_market("AUSDT", "BUSDT"))

    assert set(rules) == {"AUSDT", "BUSDT"}
    assert rules["AUSDT"].brackets == GENERIC_BRACKETS
    assert rules["AUSDT"].tick_size == 0


async def test_rules_of_the_feed_win_over_generic_ones():
    known = generic_rules("AUSDT", 100.0)

    _, rules = await opened(make_market("AUSDT", "BUSDT", rules={"AUSDT": known}))

    assert rules["AUSDT"].tick_size == known.tick_size > 0
    assert rules["BUSDT"].tick_size == 0


async def test_rules_of_the_file_win_over_the_feed(tmp_path):
    name = write(tmp_path / "info.json", {"symbols": [listed("AUSDT"), listed("CUSDT")]})

    _, rules = await opened(make_market("AUSDT", rules={"AUSDT": generic_rules("AUSDT", 100.0)}), exchange_info=name)

    assert set(rules) == {"AUSDT"}
    assert str(rules["AUSDT"].tick_size) == "0.5"


async def test_rules_carry_the_costs_of_the_options():
    _, rules = await opened(
        make_market("AUSDT"), taker_fee_fraction=0.001, maker_fee_fraction=-0.0001, slippage_fraction=0.003
    )

    assert (rules["AUSDT"].taker_fee, rules["AUSDT"].maker_fee, rules["AUSDT"].slippage) == (0.001, -0.0001, 0.003)


async def test_rules_take_brackets_from_their_file_with_any_filters(tmp_path):
    name = write(tmp_path / "tiers.json", tiers("AUSDT", "BUSDT"))
    info = write(tmp_path / "info.json", {"symbols": [listed("AUSDT")]})

    _, generic = await opened(make_market("AUSDT"), leverage_brackets=name)
    _, from_file = await opened(make_market("AUSDT"), leverage_brackets=name, exchange_info=info)

    assert generic["AUSDT"].brackets == from_file["AUSDT"].brackets
    assert generic["AUSDT"].brackets[0].max_leverage == 3


async def test_open_symbols_missing_in_the_files_are_named_all_at_once(tmp_path):
    info = write(tmp_path / "info.json", {"symbols": [listed("AUSDT")]})
    brackets = write(tmp_path / "tiers.json", tiers("BUSDT"))

    with pytest.raises(ConfigError) as caught:
        await opened(make_market("AUSDT", "BUSDT", "CUSDT"), exchange_info=info, leverage_brackets=brackets)

    advice = "take the symbol out, or give a file that lists it"
    assert caught.value.problems == (
        f"brokers.paper.exchange_info: `{info}` does not hold BUSDT; {advice}",
        f"brokers.paper.exchange_info: `{info}` does not hold CUSDT; {advice}",
        f"brokers.paper.leverage_brackets: `{brackets}` does not hold AUSDT; {advice}",
        f"brokers.paper.leverage_brackets: `{brackets}` does not hold CUSDT; {advice}",
    )


async def test_open_unreadable_files_are_named(tmp_path):
    info = tmp_path / "info.json"
    info.write_text("<html>", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        await opened(make_market("AUSDT"), exchange_info=str(info), leverage_brackets=str(tmp_path / "none.json"))

    first, second = caught.value.problems
    assert first.startswith(f"brokers.paper.exchange_info: `{info}`: exchangeInfo: found no JSON")
    assert second == (
        f"brokers.paper.leverage_brackets: cannot read `{tmp_path / 'none.json'}` (No such file or directory); "
        "give an existing file, or leave it empty"
    )


@pytest.mark.skipif(not RAW.exists(), reason="the shared recordings of the exchange are not here")
async def test_open_with_the_exchange_own_files_knows_the_symbols():
    _, rules = await opened(
        make_market("BTCUSDT", "币安人生USDT"),
        exchange_info=str(RAW / "exchangeinfo/fapi-exchangeInfo-testnet-2025-12-24.json"),
        leverage_brackets=str(RAW / "leverage/binance_leverage_tiers.json"),
    )

    assert rules["BTCUSDT"].brackets[0].max_leverage == 150
    assert rules["BTCUSDT"].min_notional == 100
    assert rules["币安人生USDT"].brackets[0].max_leverage > 1


async def test_broker_trades_with_its_wallet():
    broker, _ = await opened(make_market("AUSDT"), wallet=500.0, slippage_fraction=0.0)
    broker.slt_advance_price(PricePoint(0, "AUSDT", 100.0, is_gap=True))
    await broker.slt_submit_order(entry())

    (fill,) = broker.slt_advance_price(PricePoint(60_000, "AUSDT", 100.0, is_gap=True))

    assert broker.wallet == pytest.approx(500.0 - fill.fee)
    (position,) = broker.positions()
    assert (position.symbol, position.quantity, position.margin) == ("AUSDT", 1.0, 50.0)
    assert await broker.slt_query_order("c1") == [*(await broker.slt_submit_order(entry()))]


async def test_margin_type_and_leverage_come_from_the_options():
    broker, _ = await opened(make_market("AUSDT"), margin_type="cross", default_leverage=4)
    broker.slt_advance_price(PricePoint(0, "AUSDT", 100.0, is_gap=True))
    await broker.slt_submit_order(attrs.evolve(entry(), leverage=0))

    broker.slt_advance_price(PricePoint(60_000, "AUSDT", 100.0, is_gap=True))

    (position,) = broker.positions()
    assert position.leverage == 4
    assert position.liquidation_price is None


@pytest.mark.parametrize("is_on", [True, False])
async def test_funding_can_be_switched_off(is_on):
    funding = {"AUSDT": FundingRates(np.array([90_000]), np.array([0.001]))}
    broker, _ = await opened(make_market("AUSDT", funding=funding), funding=is_on)
    broker.slt_advance_price(PricePoint(0, "AUSDT", 100.0, is_gap=True))
    await broker.slt_submit_order(entry())
    broker.slt_advance_price(PricePoint(60_000, "AUSDT", 100.0, is_gap=True))
    broker.slt_advance_price(PricePoint(60_000, "AUSDT", 100.0, is_gap=True))

    events = broker.slt_advance_price(PricePoint(120_000, "AUSDT", 100.0))

    assert [type(event) for event in events] == ([FundingPayment] if is_on else [])


async def test_state_of_a_closed_broker_stays_readable():
    broker, _ = await opened(make_market("AUSDT"))

    await broker.slt_close_broker()

    assert broker.wallet == 1_000.0


async def test_use_before_open_says_what_to_do():
    broker = PaperBroker(PaperBrokerConfig())
    await broker.slt_close_broker()

    with pytest.raises(BrokerError, match="the paper broker is not open; call slt_open_broker first"):
        await broker.slt_submit_order(entry())
    with pytest.raises(BrokerError, match="not open"):
        broker.slt_advance_price(PricePoint(0, "AUSDT", 100.0))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("path", "best"),
        ("margin_type", "hedged"),
        ("slippage_fraction", -0.1),
        ("slippage_fraction", 1.0),
        ("taker_fee_fraction", -0.0001),
        ("maker_fee_fraction", -0.01),
        ("default_leverage", 0),
        ("default_leverage", 151),
        ("liquidation_fee_fraction", 1.0),
    ],
)
def test_config_refuses_impossible_values(option, value):
    with pytest.raises(ValueError, match=option):
        PaperBrokerConfig(**{option: value})
