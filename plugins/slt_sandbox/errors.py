"""The exchange's refusals: code, text and HTTP status."""

from __future__ import annotations

__all__ = ["MESSAGES", "ApiError", "refusal"]

MESSAGES = {
    -1000: "An unknown error occurred while processing the request.",
    -1003: "Too many requests; current limit of IP is {limit} requests per minute. Please use the websocket for live "
    "updates to avoid polling the API.",
    -1015: "Too many new orders; current limit is {limit} orders per {interval}.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1100: "Illegal characters found in parameter '{name}'.",
    -1102: "Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
    -1106: "Parameter '{name}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -1128: "Combination of optional parameters invalid.",
    -1130: "Data sent for parameter '{name}' is not valid.",
    -1131: "recvWindow must be less than 60000.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Limit price can't be higher than {limit}.",
    -4023: "Qty not increased by step size.",
    -4024: "Limit price can't be lower than {limit}.",
    -4028: "Leverage {leverage} is not valid.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4049: "Add margin only support for isolated position.",
    -4050: "Cross balance insufficient.",
    -4051: "Isolated balance insufficient.",
    -4054: "Cannot add position margin: position is 0.",
    -4108: "Symbol is on delivering or delivered or settling or closed or pre-trading.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4136: "Target strategy invalid for orderType {type}, closePosition {close}.",
    -4137: "Quantity must be zero with closePosition equals true.",
    -4138: "Reduce only must be true with closePosition equals true.",
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than {notional} (unless you choose reduce only).",
    -4171: "No need to change margin type.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be "
    "recorded in the order history.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not "
    "be recorded in the order history.",
    -5024: "Symbol is not in trading status. Order amendment is not permitted.",
    -5025: "Only limit order is supported.",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    -5029: "Order's notional must be no smaller than {notional} (unless you choose reduce only).",
    -5037: "Invalid price match.",
    -5038: "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT.",
    -5039: "Invalid self trade prevention mode.",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds.",
    -5041: "No depth matches this BBO order.",
    -5047: "The original order is not reduce only.",
}
"""Text per code, as the exchange words it."""

_STATUS = {-1003: 429, -1015: 429, -2014: 401, -2015: 401}


class ApiError(Exception):
    """A request that the exchange refuses.

    Args:
        code: The exchange's code, below 0.
        text: What it says.
        status: HTTP status; 0 = the usual one of the code.
        retry_after: Seconds for the Retry-After header; 0 = none.
    """

    def __init__(self, code: int, text: str, status: int = 0, retry_after: int = 0) -> None:
        self.code = code
        self.text = text
        self.status = status or _STATUS.get(code, 400)
        self.retry_after = retry_after
        super().__init__(f"{text} ({code})")

    @property
    def body(self) -> dict[str, object]:
        """The answer's JSON."""
        return {"code": self.code, "msg": self.text}


def refusal(code: int, **words: object) -> ApiError:
    """The refusal of a code in the exchange's words, its blanks filled in."""
    return ApiError(code, MESSAGES[code].format_map({"limit": "", **words}) if words else MESSAGES[code])
