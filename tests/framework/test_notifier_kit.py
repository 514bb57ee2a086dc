"""The conformance kit must catch what notifiers get wrong: a naive one fails the cards it should."""

from __future__ import annotations

import json
import os

import aiohttp
import pytest

from slt.testing import NotifierConformance


class NaiveNotifier:
    """What a first attempt looks like: no escaping, no limits, no reading of the answer beyond `raise_for_status`."""

    def __init__(self, base_url):
        self._base_url = base_url

    async def slt_open_notifier(self):
        self._session = aiohttp.ClientSession()

    async def slt_send_notice(self, notice):
        url = f"{self._base_url}/hook/{os.environ['NAIVE_SECRET']}"
        text = f"<b>{notice.title}</b>\n" + "\n".join(f"{label}: {value}" for label, value in notice.fields)
        async with self._session.post(url, json={"text": text}) as response:
            response.raise_for_status()

    async def slt_close_notifier(self):
        await self._session.close()


class Kit(NotifierConformance):
    __test__ = False

    def make_notifier(self, base_url):
        return NaiveNotifier(base_url)

    def secrets(self, base_url):
        return {"NAIVE_SECRET": "naive-secret-0123"}

    def received(self, body):
        return json.loads(body)["text"].replace("<b>", "").replace("</b>", "")


@pytest.fixture
def kit(monkeypatch):
    one = Kit()
    one._monkeypatch = monkeypatch
    return one


def test_kit_passes_what_a_naive_notifier_does_right(kit):
    kit.test_n01_open_and_close_send_nothing_and_closing_twice_is_no_error()
    kit.test_n02_notice_arrives_once_with_title_and_every_field()
    kit.test_n11_cancelled_send_ends_at_once_and_the_next_one_works()


def test_kit_catches_markup_that_is_not_escaped(kit):
    with pytest.raises(AssertionError):
        kit.test_n03_special_characters_are_read_as_they_are("a <b>bold</b>")


def test_kit_catches_a_wait_that_is_not_understood(kit):
    with pytest.raises(aiohttp.ClientResponseError):
        kit.test_n06_busy_channel_raises_the_wait_it_asked_for(3.0)


def test_kit_catches_a_wrong_secret_that_looks_like_a_passing_fault(kit):
    with pytest.raises(aiohttp.ClientResponseError):
        kit.test_n08_wrong_secret_or_missing_channel_is_a_config_error()


def test_kit_catches_a_missing_secret_that_nobody_looked_for(kit):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        kit.test_n09_missing_secret_is_a_config_error_that_names_the_variable()


def test_kit_catches_a_secret_in_an_error(kit):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - pytest's own outcomes are among the answers
        kit.test_n10_no_error_shows_a_secret()
    assert "shows" in str(caught.value) or "DID NOT RAISE" in str(caught.value)
    assert "naive-secret-0123" not in str(caught.value)


def test_kit_without_its_two_methods_says_what_to_give():
    with pytest.raises(NotImplementedError, match="give `make_notifier"):
        NotifierConformance().make_notifier("http://127.0.0.1")
    with pytest.raises(NotImplementedError, match="give `received"):
        NotifierConformance().received(b"")
