"""Answers shared between processes in a Redis or Valkey server.

Reference: Redis documentation, commands "MGET", "SET" (with PX) and "DEL"; the same in Valkey.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qs, urlsplit

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le, min_len
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from slt import hookimpl
from slt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["RedisCache", "RedisCacheConfig"]

_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}
_EXAMPLE = "redis://USER:PASSWORD@HOST:6379/0 (rediss:// for TLS)"


@frozen(kw_only=True)
class RedisCacheConfig:
    """Options of `RedisCache`.

    Attributes:
        url_env: Environment variable with the server's address, a secret.
        connections: Most connections open at a time.
        connect_timeout_seconds: Longest wait for a connection; the kernel's own budget is shorter as a rule.
    """

    url_env: str = field(default="REDIS_URL", validator=min_len(1))
    connections: int = field(default=4, validator=and_(ge(1), le(1000)))
    connect_timeout_seconds: float = field(default=2.0, validator=and_(gt(0.0), le(60.0)))


class RedisCache:
    """Shares answers between processes through a Redis or Valkey server, which may come and go.

    Args:
        config: See `RedisCacheConfig`.
    """

    config_class = RedisCacheConfig

    def __init__(self, config: RedisCacheConfig) -> None:
        self._config = config
        self._client: Redis | None = None

    @hookimpl
    async def slt_open_cache(self) -> str:
        """Read the address from the environment; the first question connects.

        Raises:
            ConfigError: The variable is missing or holds no address of a Redis server.
        """
        url, place = _read_url(os.environ.get(self._config.url_env, "").strip(), self._config.url_env)
        wait = self._config.connect_timeout_seconds
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=self._config.connections,
                timeout=wait,
                socket_timeout=wait,
                socket_connect_timeout=wait,
                # The kernel has its own patience: a repetition would only spend its budget.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError):
            raise _malformed(self._config.url_env) from None
        self._client = Redis.from_pool(pool)
        return f"Redis at {place}"

    @hookimpl
    async def slt_get_entries(self, keys: tuple[str, ...]) -> list[bytes | None]:
        """One MGET. A cancelled one closes its connection, so that its answer cannot be taken for the next one's."""
        return cast("list[bytes | None]", await cast("Awaitable[object]", self._server().mget(keys)))

    @hookimpl
    async def slt_set_entry(self, key: str, value: bytes, ttl_ms: int) -> None:
        """One SET with an expiry."""
        await self._server().set(key, value, px=ttl_ms)

    @hookimpl
    async def slt_delete_entries(self, keys: tuple[str, ...]) -> None:
        """One DEL."""
        await self._server().delete(*keys)

    @hookimpl
    async def slt_close_cache(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _server(self) -> Redis:
        if self._client is None:
            raise RuntimeError("the redis cache is not open; call slt_open_cache first")
        return self._client


def _read_url(url: str, source: str) -> tuple[str, str]:
    """The address as the client takes it, and as people may see it."""
    if not url:
        raise ConfigError(
            f"caches.redis.url_env: the environment variable `{source}` is not set; put the server's address there, "
            "or take `redis` out of plugins.cache"
        )
    try:
        parts = urlsplit(url)
        scheme = _SCHEMES[parts.scheme]
        place = _place(parts)
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except (ValueError, KeyError):
        raise _malformed(source) from None  # its own words may quote the password
    return f"{scheme}{url[len(parts.scheme) :]}", place


def _place(parts: SplitResult) -> str:
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("no path")
        return parts.path
    database = parts.path.strip("/") or "0"
    if not parts.hostname or not database.isdecimal():
        raise ValueError("no host, or no number of a database")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or 6379}/{database}"


def _malformed(source: str) -> ConfigError:
    return ConfigError(f"caches.redis.url_env: the value of `{source}` is no address of a server; write {_EXAMPLE}")
