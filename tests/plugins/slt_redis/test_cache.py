from __future__ import annotations

import asyncio

import pytest

from slt.errors import ConfigError
from slt.testing import CacheConformance
from slt_redis.cache import RedisCache, RedisCacheConfig


class TestRedisCache(CacheConformance):
    @pytest.fixture(autouse=True)
    def _server(self, shared_server):
        self.url = shared_server.url

    def secrets(self):
        return {"REDIS_URL": self.url}

    def make_cache(self):
        return RedisCache(RedisCacheConfig())


def opened(url, monkeypatch, **config):
    monkeypatch.setenv("CACHE_URL", url)
    return asyncio.run(RedisCache(RedisCacheConfig(url_env="CACHE_URL", **config)).slt_open_cache())


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://cache.example.com", "Redis at cache.example.com:6379/0"),
        ("rediss://u:s3cret@cache.example.com:7000/3", "Redis at cache.example.com:7000/3"),
        ("valkey://:s3cret@127.0.0.1", "Redis at 127.0.0.1:6379/0"),
        ("valkeys://:s3cret@[::1]:7000", "Redis at [::1]:7000/0"),
        ("unix:///run/valkey.sock", "Redis at /run/valkey.sock"),
        ("  redis://cache:6379/0\n", "Redis at cache:6379/0"),
    ],
)
def test_open_needs_no_server_and_says_where_it_is_without_the_password(url, text, monkeypatch):
    assert opened(url, monkeypatch) == text


@pytest.mark.parametrize(
    "url",
    [
        "cache.example.com:6379",
        "http://u:s3cret@cache.example.com",
        "redis://",
        "redis://u:s3cret@cache.example.com:port",
        "redis://u:s3cret@cache.example.com:99999",
        "redis://u:s3cret@cache.example.com/main",
        "redis://u:s3cret@[::1",
        "unix://",
        "redis://u:s3cret@cache.example.com/0?socket_timeout=soon",
        "s3cret",
    ],
)
def test_open_malformed_url_is_one_clear_line_without_the_url(url, monkeypatch):
    with pytest.raises(ConfigError) as caught:
        opened(url, monkeypatch)
    assert str(caught.value) == (
        "caches.redis.url_env: the value of `CACHE_URL` is no address of a server; write "
        "redis://USER:PASSWORD@HOST:6379/0 (rediss:// for TLS)"
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["", "   "])
def test_open_without_the_variable_says_what_to_do(url, monkeypatch):
    with pytest.raises(ConfigError, match="`CACHE_URL` is not set; put the server's address there, or take `redis`"):
        opened(url, monkeypatch)


async def test_use_before_open_is_refused():
    with pytest.raises(RuntimeError, match="call slt_open_cache first"):
        await RedisCache(RedisCacheConfig()).slt_get_entries(keys=("a",))
