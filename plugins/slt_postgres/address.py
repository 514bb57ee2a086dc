"""Where the database is: reading the URL, TLS on public hosts, and saying what went wrong without the password."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import asyncpg
from attrs import field, frozen

from slt.errors import ConfigError, SltError, StorageError
from slt_postgres.names import is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Address", "explain", "is_public", "read_url"]

_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE (letters like @ : / # in the password as %40 %3A %2F %23)"
_PRIVATE_SUFFIXES = (".internal", ".local", ".localhost", ".lan", ".home.arpa")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


_EXPLANATIONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "refused the user or the password; correct {source}",
    ),
    ((asyncpg.InvalidCatalogNameError,), "has no such database; create it or correct {source}"),
    ((asyncpg.ReadOnlySQLTransactionError,), "takes no writes: it is read-only, a standby perhaps"),
    ((asyncpg.DiskFullError,), "has no space left on its disk"),
    ((asyncpg.TooManyConnectionsError,), "has no connection left; raise its max_connections or lower the pool's"),
    ((asyncpg.CannotConnectNowError,), "is starting or stopping; try again in a moment"),
    ((asyncpg.QueryCanceledError,), "took too long and cancelled the statement"),
    ((socket.gaierror,), "cannot be reached: the host is unknown; correct {source} or the name service"),
    ((ssl.SSLError,), "and slt found no common TLS; see `sslmode` in {source}"),
    ((TimeoutError,), "gave no answer in time; is the server up and the network open?"),
    ((ConnectionRefusedError,), "refused the connection; start the server or correct {source}"),
    ((FileNotFoundError,), "is not running; start the server or correct {source}"),
)
_LASTING = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    ssl.SSLCertVerificationError,
)
"""What only a person can change."""


@frozen
class Address:
    """A place to connect to.

    Attributes:
        target: Arguments for the driver; may hold a password and are never shown.
        place: For people, without user and password, e.g. ``db.example.com:5432/slt``.
        source: What the user edits to change it, e.g. ``DATABASE_URL``.
        sslmode: What the driver is told beyond the URL; None = nothing.
        password: To be kept out of every message.
        names: Hosts that have to be looked up, in the URL's order.
    """

    target: dict[str, Any] = field(repr=False)
    place: str
    source: str
    sslmode: str | None = None
    password: str = field(default="", repr=False)
    names: tuple[str, ...] = ()


def read_url(url: str, source: str, environment: Mapping[str, str]) -> Address:
    """Check a database URL and decide on TLS: required on a public host unless the URL or PGSSLMODE says otherwise.

    Args:
        url: As found in the environment.
        source: Name of the variable it came from, for messages.
        environment: Looked up for PGSSLMODE.

    Raises:
        ConfigError: The URL is malformed; the message never quotes it.
    """
    try:
        parts = urlsplit(url.strip())
        options = {key: values[-1] for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        hosts = _hosts(parts, options)
    except ValueError:
        # The original message may quote the password.
        raise ConfigError(f"{source}: not a database URL; write {_EXAMPLE}") from None
    _check(parts, options, source)
    sslmode = None
    if "sslmode" not in options and not environment.get("PGSSLMODE") and any(is_public(host) for host, _ in hosts):
        sslmode = "require"
    password = unquote(parts.password or "") or options.get("password", "")
    names = tuple(host for host, _ in hosts if is_name(host))
    return Address({"dsn": url.strip()}, _place(hosts, parts, options), source, sslmode, password, names)


def is_public(host: str) -> bool:
    """Whether the way to this host may lead over the internet.

    Not public are sockets, loopback and private addresses, names without a dot (containers) and the suffixes of private
    networks.
    """
    name = host.lower().rstrip(".")
    if not name or name.startswith("/"):
        return False
    try:
        return ipaddress.ip_address(name.strip("[]").partition("%")[0]).is_global
    except ValueError:
        return "." in name and not name.endswith(_PRIVATE_SUFFIXES)


def explain(error: BaseException, address: Address) -> SltError:
    """The error to raise instead of what the driver raised: one line, what to do, no password.

    Returns:
        A `ConfigError` where waiting cannot help (user, password, name of the database, missing TLS), else a
        `StorageError`.
    """
    if isinstance(error, SltError):
        return error
    text = _explanation(error, address)
    if address.password:
        text = text.replace(address.password, "***")
    is_lasting = isinstance(error, _LASTING) or _lacks_tls(error)
    return (ConfigError if is_lasting else StorageError)(text.replace("\n", " "))


def _explanation(error: BaseException, address: Address) -> str:
    where = f"PostgreSQL at {address.place}"
    for kinds, text in _EXPLANATIONS:
        if isinstance(error, kinds):
            return f"{where} {text.format(source=address.source)}"
    if _lacks_tls(error):
        return (
            f"{where} offers no TLS, which slt wants of a public host and where `sslmode` in {address.source} says so; "
            "write ?sslmode=disable there only if you trust the network"
        )
    if isinstance(error, asyncpg.PostgresError):
        words = error.args[0] if error.args else type(error).__name__
        return f"{where} says: {words} ({getattr(error, 'sqlstate', 'no code')})"
    if isinstance(error, OSError):
        # asyncio joins the failures of a name's several addresses into one error without a number.
        reason = error.strerror or ("the connection was refused" if "Connect call" in str(error) else "no connection")
        return f"{where} cannot be reached: {reason}; start the server or correct {address.source}"
    return f"{where} failed: {type(error).__name__}"


def _lacks_tls(error: BaseException) -> bool:
    return isinstance(error, ConnectionError) and "SSL" in str(error)


def _hosts(parts: SplitResult, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every (host, port) of the URL, port empty where not given; raises ValueError for a port that is no number."""
    network = parts.netloc.rpartition("@")[2] or options.get("host", "")
    hosts = []
    for item in network.split(","):
        host, port = unquote(item), ""
        if not host.startswith("/") and not host.endswith("]"):
            host, _, port = host.rpartition(":") if ":" in host else (host, "", "")
        if port and not 0 < int(port) < 2**16:
            raise ValueError("port out of range")
        hosts.append((host, port))
    return hosts


def _check(parts: SplitResult, options: Mapping[str, str], source: str) -> None:
    if parts.scheme not in ("postgresql", "postgres"):
        found = f"`{parts.scheme}://`" if parts.scheme and parts.netloc else "no scheme"
        raise ConfigError(f"{source}: found {found}, allowed is postgresql://; write {_EXAMPLE}")
    if parts.netloc.count("@") > 1:
        raise ConfigError(f"{source}: more than one @; write {_EXAMPLE}")
    if (mode := options.get("sslmode", "prefer")) not in _SSL_MODES:
        raise ConfigError(f"{source}: sslmode is `{mode}`; allowed are {', '.join(_SSL_MODES)}")


def _place(hosts: list[tuple[str, str]], parts: SplitResult, options: Mapping[str, str]) -> str:
    named = ",".join(f"{host}:{port or 5432}" if not host.startswith("/") else host for host, port in hosts if host)
    database = unquote(parts.path.lstrip("/")) or options.get("dbname", "") or options.get("database", "")
    return f"{named or 'the local socket'}/{database}" if database else named or "the local socket"
