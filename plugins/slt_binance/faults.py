"""What an answer of the exchange means for the caller: one of a few actions, and words for people."""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

from slt.errors import BrokerError

__all__ = ["Action", "ExchangeError", "Verdict", "ban_time", "judge"]


class Action(Enum):
    """What to do about an answer."""

    OK = "ok"
    """Nothing was wrong, or what was asked for is so already."""
    REJECTED = "rejected"
    """Refused for certain; the same request would be refused again."""
    GONE = "gone"
    """The order is not there, or no longer: ask what became of it."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was carried out: ask, never send it again blindly."""
    RETRY = "retry"
    """Not carried out, for certain; may be sent again after a short wait."""
    WAIT = "wait"
    """Not carried out; nothing may be sent for a while."""
    RESYNC = "resync"
    """Refused because of the clock: measure it again and repeat once."""
    FATAL = "fatal"
    """Key, rights or account are wrong: a person must act."""


@frozen
class Verdict:
    """What an answer means.

    Attributes:
        action: What to do.
        code: The exchange's code; 0 = it gave none.
        reason: One line for people: what the exchange said, and what to do about it.
    """

    action: Action
    code: int
    reason: str


class ExchangeError(BrokerError):
    """The exchange refused, failed or did not answer. Holds neither address, parameters nor signature.

    Args:
        verdict: What it means.
    """

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(verdict.reason)

    @property
    def action(self) -> Action:
        """What to do."""
        return self.verdict.action

    @property
    def code(self) -> int:
        """The exchange's code; 0 = it gave none."""
        return self.verdict.code


_BUG = "slt should not have sent this; please report it"
_FIX_KEY = (
    "check that the key is of this host (demo keys work on the demo host only), that it may trade futures, "
    "and that its IP list holds this machine"
)

_CODES: dict[int, tuple[Action, str]] = {
    -1000: (Action.UNKNOWN, ""),
    -1001: (Action.UNKNOWN, ""),
    -1003: (Action.WAIT, "wait"),
    -1006: (Action.UNKNOWN, ""),
    -1007: (Action.UNKNOWN, ""),
    -1008: (Action.RETRY, "the exchange is overloaded"),
    -1015: (Action.WAIT, "too many orders in the window"),
    -1021: (Action.RESYNC, "the request's time is outside recvWindow; check the network's delay"),
    -5028: (Action.RESYNC, "the request took too long to the matching engine; check the network's delay"),
    -1022: (Action.FATAL, "the secret does not belong to the key; check both environment variables"),
    -1099: (Action.FATAL, _FIX_KEY),
    -1109: (Action.FATAL, "the account is not active; check it at the exchange"),
    -1125: (Action.GONE, "the listen key is gone; a new one is needed"),
    -2010: (Action.REJECTED, "the order was refused"),
    -2011: (Action.GONE, "the order is filled or cancelled already"),
    -2013: (Action.GONE, "the exchange knows no such order"),
    -2014: (Action.FATAL, "the key's format is wrong; check the environment variable"),
    -2015: (Action.FATAL, _FIX_KEY),
    -2017: (Action.FATAL, "the key is locked; look at the exchange's API management"),
    -2018: (Action.REJECTED, "the balance does not suffice; lower the size or add funds"),
    -2019: (Action.REJECTED, "the margin does not suffice; lower the size or add funds"),
    -2020: (Action.REJECTED, "the order could not be filled"),
    -2021: (Action.REJECTED, "the trigger price is passed already, the order would trigger at once"),
    -2022: (Action.REJECTED, "there is no position left that it could reduce, or other orders reduce it already"),
    -2023: (Action.REJECTED, "the account is being liquidated"),
    -2024: (Action.REJECTED, "the position is smaller than the order"),
    -2025: (Action.REJECTED, "too many open orders on the symbol"),
    -2027: (Action.REJECTED, "the position would be too large at this leverage; lower size or leverage"),
    -2028: (Action.REJECTED, "the margin does not suffice at this leverage"),
    -4015: (Action.REJECTED, _BUG),
    -4016: (Action.REJECTED, "the price is too far above the mark price"),
    -4024: (Action.REJECTED, "the price is too far below the mark price"),
    -4028: (Action.REJECTED, "the symbol does not allow this leverage; lower risk.max_leverage"),
    -4045: (Action.REJECTED, "too many conditional orders in the account"),
    -4046: (Action.OK, ""),
    -4047: (Action.REJECTED, "open orders forbid changing the margin type; cancel them"),
    -4048: (Action.REJECTED, "an open position forbids changing the margin type; close it"),
    -4059: (Action.OK, ""),
    -4061: (Action.FATAL, "the account is in hedge mode; switch it to one-way mode"),
    -4062: (Action.REJECTED, _BUG),
    -4067: (Action.REJECTED, "open orders forbid changing the position mode; cancel them"),
    -4068: (Action.REJECTED, "an open position forbids changing the position mode; close it"),
    -4087: (Action.REJECTED, "the account may only reduce positions at present"),
    -4088: (Action.REJECTED, "the account may not trade at present"),
    -4109: (Action.FATAL, "the futures account is inactive; transfer funds into it"),
    -4116: (Action.UNKNOWN, "an order of this client id is open already"),
    -4117: (Action.UNKNOWN, "the order is triggering"),
    -4118: (Action.REJECTED, "other reduce-only orders reduce the whole position already"),
    -4120: (Action.REJECTED, _BUG),
    -4131: (Action.REJECTED, "the best price is too far from the mark price; try again later"),
    -4140: (Action.REJECTED, "the symbol's status forbids opening positions"),
    -4141: (Action.REJECTED, "the symbol is closed"),
    -4142: (Action.REJECTED, "the trigger price is passed already, the order would trigger at once"),
    -4161: (Action.REJECTED, "leverage cannot be lowered with an open isolated position"),
    -4164: (Action.REJECTED, "the notional is below the smallest allowed"),
    -4168: (Action.REJECTED, "isolated margin is not possible in multi-assets mode; switch that off, or use cross"),
    -4171: (Action.OK, ""),
    -4183: (Action.REJECTED, "the price is above what the mark price allows"),
    -4184: (Action.REJECTED, "the price is below what the mark price allows"),
    -4192: (Action.REJECTED, "the account is in a cooling-off period"),
    -4210: (Action.REJECTED, "the trigger price is above what the mark price allows"),
    -4211: (Action.REJECTED, "the trigger price is below what the mark price allows"),
    -4400: (Action.REJECTED, "the account may only reduce positions at present"),
    -4401: (Action.REJECTED, "the account may only reduce positions at present"),
    -4411: (Action.REJECTED, "the symbol needs an agreement signed at the exchange; take it out, or sign"),
    -4531: (Action.RETRY, "the exchange is synchronising the position mode"),
    -5021: (Action.REJECTED, "a fill-or-kill order could not be filled"),
    -5022: (Action.REJECTED, "a post-only order would have taken"),
}
"""Codes with a meaning of their own. Other codes of -11xx and -40xx are mistakes in the request."""

_STATUSES = {
    401: (Action.FATAL, _FIX_KEY),
    403: (Action.WAIT, "its firewall, or a proxy in the way, refused the request"),
    408: (Action.UNKNOWN, "its backend took too long"),
}
_BAN = re.compile(r"banned until (\d{12,14})")
_UNKNOWN_EXECUTION = "unknown error, please check your request"


def judge(status: int, code: int, text: str, *, is_safe: bool) -> Verdict:
    """Tell what an answer other than success means.

    Args:
        status: HTTP status.
        code: The exchange's code; 0 = the body was none of its JSON.
        text: The exchange's words.
        is_safe: Whether the request may be repeated without harm; only then is an unknown outcome a reason to retry.

    Returns:
        The verdict. A code wins over the status, but for statuses that ask to wait.
    """
    said = f"the exchange answered {status}" + (f", code {code}: {_line(text)}" if code else "")
    if status in {429, 418}:
        return Verdict(Action.WAIT, code, f"{said}; too many requests or orders")
    if code in _CODES:
        action, advice = _CODES[code]
    elif code and status < 500:
        action, advice = Action.REJECTED, _BUG if -2000 < code <= -1100 else ""
    else:
        action, advice = _of_status(status, text)
    if action is Action.UNKNOWN and is_safe:
        action = Action.RETRY
    return Verdict(action, code, f"{said}; {advice}" if advice else said)


def ban_time(text: str) -> int | None:
    """The time in "IP banned until …", ms UTC; None where the text has none."""
    found = _BAN.search(text)
    return int(found.group(1)) if found else None


def _of_status(status: int, text: str) -> tuple[Action, str]:
    """What a status without a known code means; the body may be anything."""
    if status >= 500:
        return _of_server_error(status, text), _line(text)
    if status in _STATUSES:
        return _STATUSES[status]
    return Action.FATAL, "no JSON came with it: is a proxy in the way, or the address not the exchange's?"


def _of_server_error(status: int, text: str) -> Action:
    words = text.lower()
    if status != 503 or _UNKNOWN_EXECUTION in words:
        return Action.UNKNOWN
    certain = ("service unavailable", "internal error; unable to process", "request throttled")
    return Action.RETRY if any(phrase in words for phrase in certain) else Action.UNKNOWN


def _line(text: str, longest: int = 200) -> str:
    return " ".join(text.split())[:longest].removesuffix(".")
