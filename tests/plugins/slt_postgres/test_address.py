"""Database URLs: TLS on public hosts, clear words, no password in them."""

from __future__ import annotations

import socket
import ssl

import asyncpg
import pytest

from slt.errors import ConfigError, StorageError
from slt_postgres.address import explain, is_public, read_url

SECRET = "s3cret-Pässword"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("", False),
        ("/run/postgresql", False),
        ("localhost", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("[::1]", False),
        ("fe80::1%eth0", False),
        ("10.1.2.3", False),
        ("192.168.0.7", False),
        ("100.64.0.1", False),
        ("postgres", False),
        ("postgres.railway.internal", False),
        ("NAS.local", False),
        ("8.8.8.8", True),
        ("2a00:1450:4001::1", True),
        ("db.example.com", True),
        ("DB.Example.COM.", True),
        ("internal.example.com", True),
    ],
)
def test_is_public_tells_hosts_apart(host, expected):
    assert is_public(host) is expected


@pytest.mark.parametrize(
    ("url", "environment", "sslmode"),
    [
        ("postgresql://u:p@db.example.com/slt", {}, "require"),
        ("postgres://u:p@db.example.com:6543/slt?application_name=x", {}, "require"),
        ("postgresql://u:p@127.0.0.1,8.8.8.8/slt", {}, "require"),
        ("postgresql:///slt?host=db.example.com", {}, "require"),
        ("postgresql://u:p@db.example.com/slt?sslmode=verify-full", {}, None),
        ("postgresql://u:p@db.example.com/slt?sslmode=disable", {}, None),
        ("postgresql://u:p@db.example.com/slt", {"PGSSLMODE": "verify-ca"}, None),
        ("postgresql://u:p@postgres.railway.internal:5432/railway", {}, None),
        ("postgresql://u:p@localhost/slt", {}, None),
        ("postgresql://u@/slt?host=/tmp/socket", {}, None),
        ("postgresql://u:p@[2a00:1450::1]:5432/slt", {}, "require"),
        ("postgresql://u:p@[::1]:5432/slt", {}, None),
    ],
)
def test_read_url_requires_tls_on_public_hosts_unless_told(url, environment, sslmode):
    assert read_url(url, "DATABASE_URL", environment).sslmode == sslmode


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"postgresql://slt:{SECRET}@db.example.com/slt", "db.example.com:5432/slt"),
        (f"postgresql://slt:{SECRET}@10.0.0.1:6432/slt?sslmode=require", "10.0.0.1:6432/slt"),
        (f"postgresql://slt:{SECRET}@a,b:6432/slt", "a:5432,b:6432/slt"),
        (f"postgresql://slt:{SECRET}@/slt?host=/tmp/x", "/tmp/x/slt"),
        (f"postgresql://slt:{SECRET}@localhost", "localhost:5432"),
        ("postgresql://", "the local socket"),
    ],
)
def test_read_url_place_names_host_and_database_only(url, place):
    address = read_url(url, "DATABASE_URL", {})

    assert address.place == place
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://slt:{SECRET}@db/slt", "found `mysql://`, allowed is postgresql://"),
        (f"slt:{SECRET}@db/slt", "found no scheme"),
        ("db.example.com", "found no scheme"),
        (f"postgresql://slt:{SECRET}@db:notaport/slt", "not a database URL"),
        (f"postgresql://slt:{SECRET}@db:99999/slt", "not a database URL"),
        (f"postgresql://slt:{SECRET}@db:0/slt", "not a database URL"),
        (f"postgresql://slt:{SECRET}/with@slash@db/slt", "not a database URL"),
        (f"postgresql://slt:{SECRET}@at@db/slt", "more than one @"),
        (f"postgresql://slt:{SECRET}@db/slt?sslmode=on", "sslmode is `on`; allowed are disable"),
        (f"postgresql://slt:{SECRET}@db/slt?novalue", "not a database URL"),
        (f"postgresql://slt:{SECRET}@[::1/slt", "not a database URL"),
    ],
)
def test_read_url_malformed_says_what_is_allowed_and_hides_the_password(url, words):
    with pytest.raises(ConfigError) as caught:
        read_url(url, "DATABASE_URL", {})

    assert str(caught.value).startswith("DATABASE_URL: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InvalidPasswordError("password authentication failed"), "refused the user or the password"),
        (asyncpg.InvalidCatalogNameError("no db"), "has no such database"),
        (asyncpg.TooManyConnectionsError("too many"), "no connection left"),
        (asyncpg.CannotConnectNowError("starting up"), "starting or stopping"),
        (asyncpg.QueryCanceledError("timeout"), "took too long"),
        (socket.gaierror(-2, "Name or service not known"), "host is unknown"),
        (ssl.SSLError("handshake"), "no common TLS"),
        (TimeoutError(), "gave no answer in time"),
        (ConnectionRefusedError(111, "refused"), "refused the connection; start the server or correct DATABASE_URL"),
        (FileNotFoundError(2, "no socket"), "is not running"),
        (ConnectionError('PostgreSQL server at "db" rejected SSL upgrade'), "offers no TLS"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed"),
            "cannot be reached: the connection was refused",
        ),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT"), "takes no writes: it is read-only"),
        (asyncpg.DataError("invalid input for query argument $3"), "says: invalid input for query argument $3 (22000)"),
        (asyncpg.InterfaceError("pool is closing"), "failed: InterfaceError"),
        (asyncpg.PostgresError(f"two\nlines of {SECRET}"), "says: two lines of *** (None)"),
    ],
)
def test_explain_says_in_one_line_what_to_do(error, words):
    address = read_url(f"postgresql://slt:{SECRET}@10.0.0.1/slt", "DATABASE_URL", {})

    explained = explain(error, address)

    is_lasting = any(text in str(explained) for text in ("the password", "no such database", "offers no TLS"))
    assert type(explained) is (ConfigError if is_lasting else StorageError)
    assert str(explained).startswith("PostgreSQL at 10.0.0.1:5432/slt ")
    assert words in str(explained)
    assert "\n" not in str(explained)
    assert SECRET not in str(explained)


def test_explain_own_error_stays_as_it_is():
    error = StorageError("as it is")

    assert explain(error, read_url("postgresql://", "DATABASE_URL", {})) is error
