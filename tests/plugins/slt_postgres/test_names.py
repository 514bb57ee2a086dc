from __future__ import annotations

import asyncio
import gc
import socket
import threading

import asyncpg
import pytest

from slt.errors import ConfigError, StorageError
from slt_postgres.address import read_url
from slt_postgres.connections import Connections
from slt_postgres.names import is_name, look_up

URL = "postgresql://slt:hidden-word@no-such-host.invalid/slt"


def connections(url=URL, *, seconds=20.0):
    address = read_url(url, "DATABASE_URL", {})
    return Connections(address, "slt-test", most=1, connect_seconds=seconds, statement_seconds=5.0)


@pytest.fixture
def service(monkeypatch):
    """A name service that answers when it is told to, and knows `known` only."""

    class Service:
        def __init__(self):
            self.known = "db.example.com"
            self.told = threading.Event()
            self.asked = threading.Event()
            self.names = []

        def __call__(self, name, *_args, **_options):
            self.names.append(name)
            self.asked.set()
            self.told.wait(20)
            if name != self.known:
                raise socket.gaierror(-2, "Name or service not known")

    one = Service()
    one.told.set()
    monkeypatch.setattr("slt_postgres.names.socket.getaddrinfo", one)
    yield one
    one.told.set()


@pytest.fixture
def driver(monkeypatch):
    """How often the driver is asked to connect; it always refuses."""
    asked = []

    async def connect(**options):
        asked.append(options)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(asyncpg, "connect", connect)
    return asked


def forgotten():
    """What the running loop is told of failures that nobody has looked at."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    return told


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db.example.com", True),
        ("postgres", True),
        ("localhost", True),
        ("127.0.0.1", False),
        ("[::1]", False),
        ("fe80::1%eth0", False),
        ("/run/postgresql", False),
        ("", False),
    ],
)
def test_is_name_tells_what_has_to_be_looked_up(host, expected):
    assert is_name(host) is expected


def test_read_url_tells_the_names_to_look_up():
    url = "postgresql://slt:pw@one.example.com:5432,10.0.0.1:5433,two.example.com/slt"
    assert read_url(url, "DATABASE_URL", {}).names == ("one.example.com", "two.example.com")
    assert read_url("postgresql://slt@/slt?host=/run/postgresql", "DATABASE_URL", {}).names == ()


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("names", [(), ("db.example.com",), ("nowhere.example.com", "db.example.com")])
async def test_look_up_is_content_with_one_known_name(names):
    await look_up(names)


async def test_look_up_of_nothing_but_unknown_names_fails(service):
    with pytest.raises(socket.gaierror):
        await look_up(("a.example.com", "b.example.com"))
    assert service.names[-2:] == ["a.example.com", "b.example.com"]


@pytest.mark.usefixtures("service")
async def test_connect_to_an_unknown_host_never_gets_as_far_as_the_driver(driver):
    with pytest.raises(StorageError, match="the host is unknown; correct DATABASE_URL"):
        await connections().connect()
    assert driver == []


@pytest.mark.usefixtures("service")
async def test_connect_to_a_known_host_or_an_address_asks_the_driver(driver):
    for url in ("postgresql://slt@db.example.com/slt", "postgresql://slt@127.0.0.1/slt"):
        with pytest.raises(StorageError, match="refused the connection"):
            await connections(url).connect()
    assert len(driver) == 2


@pytest.mark.usefixtures("driver")
async def test_connect_given_up_while_the_name_is_looked_up_ends_at_once_and_leaves_nothing_behind(service):
    service.told.clear()
    told = forgotten()
    connecting = asyncio.create_task(connections().connect())
    await asyncio.to_thread(service.asked.wait, 20)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(connecting, 20)
    (thread,) = (one for one in threading.enumerate() if one.name == "slt-postgres-name")
    assert thread.daemon, "the end of the process does not wait for the name service"
    service.told.set()
    await asyncio.to_thread(thread.join, 20)
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


async def test_connect_waits_no_longer_for_the_name_service_than_for_a_connection(service, driver):
    service.told.clear()
    with pytest.raises(StorageError, match="gave no answer in time"):
        await connections(seconds=0.05).connect()
    assert driver == []


async def test_connect_with_a_name_that_cannot_be_asked_for_is_a_config_error():
    with pytest.raises(ConfigError, match="the driver cannot read this database URL"):
        await connections(f"postgresql://slt@{'x' * 70}.example.com/slt").connect()


def test_connect_given_up_on_the_fast_loop_leaves_no_failure_behind():
    uvloop = pytest.importorskip("uvloop", reason="the speed extra is not installed")

    async def give_up():
        told = forgotten()
        for _ in range(5):
            connecting = asyncio.create_task(connections().connect())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait({connecting})
        with pytest.raises(StorageError):
            await connections().connect()  # by then every lookup before it has been answered
        gc.collect()
        return told

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(give_up()) == []
