"""Every code and status of the exchange's documentation has its action."""

from __future__ import annotations

import pytest

from slt_binance.faults import Action, ban_time, judge

UNKNOWN_503 = "Unknown error, please check your request or try again later."
BUSY_503 = "Service Unavailable."
INTERNAL_503 = "Internal error; unable to process your request. Please try again."
THROTTLED = "Request throttled by system-level protection. Reduce-only/close-position orders are exempt."


@pytest.mark.parametrize(
    ("status", "code", "text", "for_write", "for_read"),
    [
        (503, 0, UNKNOWN_503, Action.UNKNOWN, Action.RETRY),
        (503, -1000, UNKNOWN_503, Action.UNKNOWN, Action.RETRY),
        (503, 0, BUSY_503, Action.RETRY, Action.RETRY),
        (503, 0, INTERNAL_503, Action.RETRY, Action.RETRY),
        (503, -1008, THROTTLED, Action.RETRY, Action.RETRY),
        (503, 0, "<html>", Action.UNKNOWN, Action.RETRY),
        (500, 0, "", Action.UNKNOWN, Action.RETRY),
        (502, 0, "<html>bad gateway</html>", Action.UNKNOWN, Action.RETRY),
        (408, 0, "", Action.UNKNOWN, Action.RETRY),
        (408, -1007, "Timeout waiting for response", Action.UNKNOWN, Action.RETRY),
        (400, -1006, "", Action.UNKNOWN, Action.RETRY),
        (400, -1007, "", Action.UNKNOWN, Action.RETRY),
        (429, -1003, "Too many requests", Action.WAIT, Action.WAIT),
        (429, -1015, "Too many new orders", Action.WAIT, Action.WAIT),
        (418, -1003, "IP banned until 1700000000000.", Action.WAIT, Action.WAIT),
        (403, 0, "<html>forbidden</html>", Action.WAIT, Action.WAIT),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", Action.FATAL, Action.FATAL),
        (401, 0, "", Action.FATAL, Action.FATAL),
        (404, 0, "<html>", Action.FATAL, Action.FATAL),
        (400, -1021, "Timestamp outside recvWindow", Action.RESYNC, Action.RESYNC),
        (400, -5028, "", Action.RESYNC, Action.RESYNC),
        (400, -4046, "No need to change margin type.", Action.OK, Action.OK),
        (400, -4116, "ClientOrderId is duplicated.", Action.UNKNOWN, Action.RETRY),
        (400, -987654, "something new", Action.REJECTED, Action.REJECTED),
    ],
)
def test_judge_status_and_code_give_the_documented_action(status, code, text, for_write, for_read):
    assert judge(status, code, text, is_safe=False).action is for_write
    assert judge(status, code, text, is_safe=True).action is for_read


@pytest.mark.parametrize("code", [-1100, -1102, -1106, -1111, -1116, -1121, -1130])
def test_judge_parameter_errors_are_said_to_be_ours(code):
    verdict = judge(400, code, "Illegal characters", is_safe=False)
    assert verdict.action is Action.REJECTED
    assert "please report it" in verdict.reason


@pytest.mark.parametrize("code", [-1022, -1099, -2014, -2015, -2017, -4061, -4109])
def test_judge_wrong_keys_and_accounts_are_fatal_and_say_what_to_do(code):
    verdict = judge(400, code, "no", is_safe=False)
    assert verdict.action is Action.FATAL
    assert f"code {code}: no; " in verdict.reason


REFUSALS = """
-2010 -2018 -2019 -2021 -2022 -2023 -2024 -2025 -2027 -2028 -4016 -4024 -4028 -4045 -4047 -4048 -4087 -4088 -4118
-4120 -4131 -4140 -4141 -4142 -4161 -4164 -4183 -4184 -4192 -4210 -4211 -4400 -4401 -5021 -5022
"""


@pytest.mark.parametrize("code", [int(code) for code in REFUSALS.split()])
def test_judge_refused_orders_are_rejected_with_words(code):
    verdict = judge(400, code, "refused", is_safe=False)
    assert (verdict.action, verdict.code) == (Action.REJECTED, code)
    assert len(verdict.reason.split("; ", 1)[1]) > 10


@pytest.mark.parametrize("code", [-2011, -2013, -1125])
def test_judge_what_is_not_there_is_gone(code):
    assert judge(400, code, "", is_safe=True).action is Action.GONE


def test_judge_long_text_of_several_lines_becomes_one_short_line():
    reason = judge(500, 0, "a\nb " * 1000, is_safe=False).reason
    assert "\n" not in reason
    assert len(reason) < 300


def test_ban_time_is_read_from_the_text():
    assert ban_time("Way too many requests; IP(1.2.3.4) banned until 1700000123456. Use WebSocket") == 1700000123456
    assert ban_time("Too many requests") is None


def test_judge_words_of_the_exchange_and_advice_are_one_sentence():
    reason = judge(401, -2015, "Invalid API-key, IP, or permissions for action.", is_safe=True).reason
    assert reason.startswith(
        "the exchange answered 401, code -2015: Invalid API-key, IP, or permissions for action; check"
    )
