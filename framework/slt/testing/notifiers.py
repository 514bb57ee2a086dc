"""The conformance suite of notifiers: subclass `NotifierConformance`, say how to make one, run pytest.

A notifier that speaks HTTP is run against `ChannelServer`, a real server on 127.0.0.1 that answers by a script: late,
never, with errors, or by cutting the line.
"""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import asyncio
import json
import traceback
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from attrs import frozen

from slt.errors import ConfigError, RetryLaterError
from slt.log import SecretFilter
from slt.types import Notice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from slt.hookspecs import NotifierSpecs

__all__ = ["Answer", "ChannelServer", "NotifierConformance", "make_notice"]

_PATIENCE = 20.0


@frozen
class Answer:
    """What the server does with one request.

    Attributes:
        status: HTTP status; 0 cuts the connection without a word, −1 never answers.
        data: JSON body; None = an empty body.
        headers: Further headers.
    """

    status: int = 200
    data: Any = None
    headers: Mapping[str, str] | None = None


CUT = Answer(0)
SILENCE = Answer(-1)


class ChannelServer:
    """A local HTTP server that records requests and answers them by a script; an asynchronous context manager.

    Attributes:
        script: Answers for the next requests, in order; when it is empty `default` answers.
        requests: ``(path with query, headers, body)`` of each request so far.
        url: Scheme, host and port; known once entered.

    Args:
        default: The answer when the script is empty.
    """

    def __init__(self, default: Answer) -> None:
        self.default = default
        self.script: deque[Answer] = deque()
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        self.url = ""
        self._runner: Any = None
        self._closing = asyncio.Event()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> ChannelServer:  # noqa: PYI034 - `Self` would hide the name from the reader's docs
        from aiohttp import web  # noqa: PLC0415 - the kernel imports no HTTP library before somebody needs it

        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def arrived(self) -> None:
        """Wait until a request has come since the last call."""
        await asyncio.wait_for(self._arrived.wait(), _PATIENCE)
        self._arrived.clear()

    async def _handle(self, request: Any) -> Any:
        from aiohttp import web  # noqa: PLC0415 - as above

        self.requests.append((request.path_qs, dict(request.headers), await request.read()))
        self._arrived.set()
        answer = self.script.popleft() if self.script else self.default
        if answer.status == SILENCE.status:
            await self._closing.wait()
        if answer.status <= 0:
            if request.transport is not None:  # the other end has not left first
                request.transport.abort()
            return web.Response()
        body = b"" if answer.data is None else json.dumps(answer.data).encode()
        headers = {"Content-Type": "application/json", **(answer.headers or {})}
        return web.Response(status=answer.status, body=body, headers=headers)


def make_notice(number: int = 1, **changes: Any) -> Notice:
    """A plain notice for examples, with whatever `changes` says."""
    values: dict[str, Any] = {
        "id": f"demo-001-p{number}-close",
        "run_id": "demo-001",
        "time": 1_746_057_600_000 + number * 60_000,
        "kind": "close",
        "title": "Closed long BTCUSDT",
        "fields": (("Entry", "94250"), ("Exit", "95400")),
        "tone": "good",
    }
    return Notice(**(values | changes))


class NotifierConformance:
    """What every notifier must do. A subclass gives `make_notifier` and says how to read its messages.

    Attributes:
        speaks_http: Whether it sends HTTP requests; False skips the cards about them, and `shown` must be given.
        ok: What its service answers to a message it has taken.
        permanent: Statuses by which its service says that the secret is wrong or the channel gone.
    """

    speaks_http: ClassVar[bool] = True
    ok: ClassVar[Answer] = Answer(200, {})
    permanent: ClassVar[tuple[int, ...]] = (401, 403, 404)

    def make_notifier(self, base_url: str) -> NotifierSpecs:
        """Make a notifier, not open yet, that sends to `base_url`."""
        raise NotImplementedError("give `make_notifier(self, base_url)`")

    def secrets(self, base_url: str) -> dict[str, str]:  # noqa: ARG002 - for subclasses
        """The environment variables it needs, with values for a channel at `base_url`."""
        return {}

    def received(self, body: bytes) -> str:
        """What a person reads of the message in a request's body: title and fields, the channel's escapes undone."""
        raise NotImplementedError("give `received(self, body)`")

    def shown(self, server: ChannelServer) -> list[str]:
        """What a person has read so far, one text a message."""
        return [self.received(body) for _, _, body in server.requests]

    def busy(self, seconds: float) -> Answer:
        """How its service asks to wait."""
        return Answer(429, {}, {"Retry-After": f"{seconds:g}"})

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def _run(self, scenario: Callable[[NotifierSpecs, ChannelServer], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self._server() as server:
                notifier = self.make_notifier(server.url)
                await _open(notifier)
                try:
                    await scenario(notifier, server)
                finally:
                    await _close(notifier)

        asyncio.run(asyncio.wait_for(main(), _PATIENCE))

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[ChannelServer]:
        async with ChannelServer(self.ok) as server:
            for name, value in self.secrets(server.url).items():
                self._monkeypatch.setenv(name, value)
            yield server

    def _needs_http(self) -> None:
        if not self.speaks_http:
            pytest.skip("speaks_http is False")

    def test_n01_open_and_close_send_nothing_and_closing_twice_is_no_error(self) -> None:
        """Opening needs no network, so that a channel that is away does not keep a run from starting."""

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            await _close(notifier)
            assert self.shown(server) == []

        self._run(scenario)

    def test_n02_notice_arrives_once_with_title_and_every_field(self) -> None:
        """One notice is one message that holds all of it."""

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            await notifier.slt_send_notice(notice=make_notice())
            (text,) = self.shown(server)
            for part in ("Closed long BTCUSDT", "Entry", "94250", "Exit", "95400"):
                assert part in text

        self._run(scenario)

    @pytest.mark.parametrize(
        "text",
        [
            "a <b>bold</b> & \"quoted\" 'text' &amp;",
            "*stars* _under_ ~~tilde~~ `code` ||hidden|| > quote",
            r"back\slash \*already\*",
            "[link](https://example.com) @everyone <@1> #1",
            "Größe 大 🚀",
        ],
    )
    def test_n03_special_characters_are_read_as_they_are(self, text: str) -> None:
        """Markup of the channel within a notice is text, in title, labels and values alike."""

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            await notifier.slt_send_notice(notice=make_notice(title=text, fields=((f"label {text}", f"value {text}"),)))
            (shown,) = self.shown(server)
            assert shown.count(text) == 3

        self._run(scenario)

    def test_n04_long_notice_is_shortened_not_refused(self) -> None:
        """Whatever the channel's limits are, a long notice arrives with its beginning."""

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            many = tuple((f"Label {n} " + "l" * 500, "<&*_🚀" * 500) for n in range(60))
            await notifier.slt_send_notice(notice=make_notice(title="Closed " + "<&*_🚀" * 1000, fields=many))
            (shown,) = self.shown(server)
            assert "Closed <&*_🚀" in shown
            assert "Label 0 lll" in shown

        self._run(scenario)

    @pytest.mark.parametrize("kind", ["open", "close", "daily", "alert"])
    @pytest.mark.parametrize("tone", ["good", "bad", "neutral"])
    def test_n05_every_kind_and_tone_is_sent_also_when_empty(self, kind: str, tone: str) -> None:
        """A notice without fields, or with empty words, is still a message."""

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            await notifier.slt_send_notice(notice=make_notice(kind=kind, tone=tone, fields=()))
            await notifier.slt_send_notice(notice=make_notice(kind=kind, tone=tone, title="", fields=(("", ""),)))
            assert len(self.shown(server)) == 2

        self._run(scenario)

    @pytest.mark.parametrize("seconds", [0.0, 3.0, 1200.0])
    def test_n06_busy_channel_raises_the_wait_it_asked_for(self, seconds: float) -> None:
        """HTTP 429 becomes `RetryLaterError`; the next message is sent as ever."""
        self._needs_http()

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            server.script.append(self.busy(seconds))
            with pytest.raises(RetryLaterError) as caught:
                await notifier.slt_send_notice(notice=make_notice())
            assert caught.value.seconds == seconds
            await notifier.slt_send_notice(notice=make_notice())
            assert len(server.requests) == 2

        self._run(scenario)

    @pytest.mark.parametrize("answer", [Answer(500), Answer(502, "<html>"), Answer(503), CUT])
    def test_n07_failing_service_raises_what_may_be_tried_again(self, answer: Answer) -> None:
        """A fault of the service is neither a fault of the config nor a wait, and nothing is retried here."""
        self._needs_http()

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            server.script.append(answer)
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any exception, by the contract
                await notifier.slt_send_notice(notice=make_notice())
            assert not isinstance(caught.value, (ConfigError, RetryLaterError))
            assert len(server.requests) == 1
            await notifier.slt_send_notice(notice=make_notice())

        self._run(scenario)

    def test_n08_wrong_secret_or_missing_channel_is_a_config_error(self) -> None:
        """What no retry can heal says so, so that the channel is switched off and said once."""
        self._needs_http()

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            for status in self.permanent:
                server.script.append(Answer(status, {}))
                with pytest.raises(ConfigError):
                    await notifier.slt_send_notice(notice=make_notice())

        self._run(scenario)

    def test_n09_missing_secret_is_a_config_error_that_names_the_variable(self) -> None:
        """Every variable is checked at the start, not when the first trade closes."""

        async def main() -> None:
            async with self._server() as server:
                for name in self.secrets(server.url):
                    with pytest.MonkeyPatch.context() as patch:
                        patch.delenv(name)
                        notifier = self.make_notifier(server.url)
                        try:
                            with pytest.raises(ConfigError, match=name):
                                await _open(notifier)
                        finally:
                            await _close(notifier)

        asyncio.run(asyncio.wait_for(main(), _PATIENCE))

    def test_n10_no_error_shows_a_secret(self) -> None:
        """Neither the text of an error nor that of anything it came from; and nothing but a success passes as one."""
        self._needs_http()

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            environment = self.secrets(server.url)
            secrets = SecretFilter(environment, environment)
            echo = {"description": " ".join(environment.values()), "message": " ".join(environment.values())}
            answers = [Answer(status, echo) for status in (302, 400, 401, 403, 404, 413, 429, 500)]
            for answer in (*answers, CUT):
                server.script.append(answer)
                with pytest.raises(Exception) as caught:  # noqa: PT011 - any exception, by the contract
                    await notifier.slt_send_notice(notice=make_notice())
                _assert_silent(caught.value, secrets)
            await server.__aexit__()
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any exception, by the contract
                await notifier.slt_send_notice(notice=make_notice())
            _assert_silent(caught.value, secrets)

        self._run(scenario)

    def test_n11_cancelled_send_ends_at_once_and_the_next_one_works(self) -> None:
        """The outbox cancels a send that takes too long."""
        self._needs_http()

        async def scenario(notifier: NotifierSpecs, server: ChannelServer) -> None:
            server.script.append(SILENCE)
            task = asyncio.ensure_future(notifier.slt_send_notice(notice=make_notice()))
            await server.arrived()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await notifier.slt_send_notice(notice=make_notice(2))
            assert len(server.requests) == 2

        self._run(scenario)


async def _open(notifier: NotifierSpecs) -> None:
    if hasattr(notifier, "slt_open_notifier"):
        await notifier.slt_open_notifier()


async def _close(notifier: NotifierSpecs) -> None:
    if hasattr(notifier, "slt_close_notifier"):
        await notifier.slt_close_notifier()


def _assert_silent(error: BaseException, secrets: SecretFilter) -> None:
    links: list[BaseException | None] = [error, error.__context__, error.__cause__]
    for link in links:
        if link is not None:
            text = "".join(traceback.format_exception(link)) + repr(link)
            assert secrets.text(text) == text, f"{type(error).__name__} shows {secrets.text(repr(link))}"
