"""Every address of the exchange that slt calls. Candles are not among them: they come over WebSocket only."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

__all__ = ["Endpoint", "Endpoints", "Security"]


class Security(Enum):
    """What a call must carry."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


@frozen
class Endpoint:
    """One call.

    Attributes:
        method: HTTP method.
        path: Path below the host.
        security: What the call must carry.
        weight: Request weight that the exchange counts for it.
        orders: How many orders it counts as.
        is_safe: Whether sending it again does no harm: reads, and settings that end in the same state.
    """

    method: str
    path: str
    security: Security = Security.SIGNED
    weight: int = 1
    orders: int = 0
    is_safe: bool = True


class Endpoints:
    """The calls, by what they do."""

    PING = Endpoint("GET", "/fapi/v1/ping", Security.NONE)
    TIME = Endpoint("GET", "/fapi/v1/time", Security.NONE)
    EXCHANGE_INFO = Endpoint("GET", "/fapi/v1/exchangeInfo", Security.NONE)
    BRACKETS = Endpoint("GET", "/fapi/v1/leverageBracket")
    COMMISSION = Endpoint("GET", "/fapi/v1/commissionRate", weight=20)
    ACCOUNT = Endpoint("GET", "/fapi/v3/account", weight=5)
    ACCOUNT_CONFIG = Endpoint("GET", "/fapi/v1/accountConfig", weight=5)
    SYMBOL_CONFIG = Endpoint("GET", "/fapi/v1/symbolConfig", weight=5)
    POSITIONS = Endpoint("GET", "/fapi/v3/positionRisk", weight=5)
    KEY_RIGHTS = Endpoint("GET", "/sapi/v1/account/apiRestrictions")
    SET_LEVERAGE = Endpoint("POST", "/fapi/v1/leverage")
    SET_MARGIN_TYPE = Endpoint("POST", "/fapi/v1/marginType")
    PLACE_ORDER = Endpoint("POST", "/fapi/v1/order", weight=0, orders=1, is_safe=False)
    PLACE_ALGO = Endpoint("POST", "/fapi/v1/algoOrder", weight=0, orders=1, is_safe=False)
    CANCEL_ORDER = Endpoint("DELETE", "/fapi/v1/order")
    CANCEL_ALGO = Endpoint("DELETE", "/fapi/v1/algoOrder")
    QUERY_ORDER = Endpoint("GET", "/fapi/v1/order")
    QUERY_ALGO = Endpoint("GET", "/fapi/v1/algoOrder")
    OPEN_ORDERS = Endpoint("GET", "/fapi/v1/openOrders", weight=40)
    OPEN_ALGOS = Endpoint("GET", "/fapi/v1/openAlgoOrders", weight=40)
    USER_TRADES = Endpoint("GET", "/fapi/v1/userTrades", weight=5)
    INCOME = Endpoint("GET", "/fapi/v1/income", weight=30)
    START_STREAM = Endpoint("POST", "/fapi/v1/listenKey", Security.KEY)
    KEEP_STREAM = Endpoint("PUT", "/fapi/v1/listenKey", Security.KEY)
    CLOSE_STREAM = Endpoint("DELETE", "/fapi/v1/listenKey", Security.KEY)
