"""User events as the exchange pushes them, by the fields a test cares about."""

from __future__ import annotations

from typing import Any

T0 = 1_700_000_000_000


def order_event(
    client_id: str, number: int, execution: str, status: str, *, time: int = T0, **changes: Any
) -> dict[str, Any]:
    order = {
        "s": "BTCUSDT",
        "c": client_id,
        "S": "BUY",
        "o": "MARKET",
        "f": "GTC",
        "q": "0.002",
        "p": "0",
        "ap": "0",
        "sp": "0",
        "x": execution,
        "X": status,
        "i": number,
        "l": "0",
        "z": "0",
        "L": "0",
        "T": time,
        "t": 0,
        "b": "0",
        "a": "0",
        "m": False,
        "R": False,
        "wt": "CONTRACT_PRICE",
        "ot": "MARKET",
        "ps": "BOTH",
        "cp": False,
        "rp": "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
        "er": "0",
        **changes,
    }
    return {"e": "ORDER_TRADE_UPDATE", "E": time + 1, "T": time, "o": order}


def trade_event(
    client_id: str, number: int, trade_id: int, price: str, quantity: str, **changes: Any
) -> dict[str, Any]:
    status = changes.pop("status", "FILLED")
    fields = {"l": quantity, "z": quantity, "L": price, "t": trade_id, "n": "0.05", "N": "USDT", **changes}
    return order_event(client_id, number, "TRADE", status, **fields)


def algo_event(client_id: str, status: str, *, time: int = T0, **changes: Any) -> dict[str, Any]:
    order = {
        "caid": client_id,
        "aid": 77,
        "at": "CONDITIONAL",
        "o": "STOP_MARKET",
        "s": "BTCUSDT",
        "S": "SELL",
        "ps": "BOTH",
        "f": "GTC",
        "q": "0.002",
        "X": status,
        "tp": "49000",
        "p": "0",
        "V": "EXPIRE_MAKER",
        "wt": "CONTRACT_PRICE",
        "pm": "NONE",
        "cp": False,
        "pP": False,
        "R": True,
        "tt": 0,
        "gtd": 0,
        "rm": "",
        **changes,
    }
    return {"e": "ALGO_UPDATE", "T": time, "E": time + 1, "o": order}


def trade_lite(
    client_id: str, number: int, trade_id: int, price: str, quantity: str, side: str = "BUY"
) -> dict[str, Any]:
    return {
        "e": "TRADE_LITE",
        "E": T0,
        "T": T0,
        "s": "BTCUSDT",
        "q": quantity,
        "p": "0",
        "m": False,
        "c": client_id,
        "S": side,
        "L": price,
        "l": quantity,
        "t": trade_id,
        "i": number,
    }


def account_event(reason: str, balances: list[dict[str, str]], positions: list[dict[str, str]], **more: Any) -> Any:
    return {"e": "ACCOUNT_UPDATE", "E": T0 + 5, "T": T0, "a": {"m": reason, "B": balances, "P": positions, **more}}
