"""Speed of the feed: combined-stream k-lines of 200 symbols from a local server, socket to closed bar.

    python benchmarks/feed.py                 # rates of slt, bare websockets, ccxt.pro and python-binance, and ratios
    python benchmarks/feed.py --uvloop        # the same, every client on uvloop
    python benchmarks/feed.py --share         # CPU share of slt at 800 messages/s, one frame at a time, for 20 s

Each client runs in a process of its own against a server in another, in turn, several rounds; medians. `rate` is by the
wall clock, `cpu` is the client's own CPU time for a message, from its first message to its last. The bare loop receives
and runs `orjson.loads`; ccxt.pro and python-binance do what their users do (watch_ohlcv_for_symbols, a multiplex
socket). slt subscribes, queues, decodes what counts, and hands out waves; every closed bar is counted and checked.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import resource
import statistics
import subprocess
import sys
import time

MINUTE = 60_000
UPDATES = 250
"""Messages of a bar: four in a second, the last closes it."""
SYMBOLS = [f"SYM{i:03d}USDT" for i in range(200)]
CLIENTS = ("slt", "websockets", "ccxt", "python-binance")


def messages(count, base):
    """Wrapped and unwrapped k-lines, round robin over the symbols, minute after minute."""
    for place in range(count):
        round_, symbol = place // len(SYMBOLS), SYMBOLS[place % len(SYMBOLS)]
        bar, update = divmod(round_, UPDATES)
        opened = base + bar * MINUTE
        is_closed = update == UPDATES - 1
        event = opened + MINUTE + 200 if is_closed else opened + 100 + update * 240
        first = 5_000_000_000 + bar * 10_000
        trades = 10_000 if is_closed else update * 40 + 40
        data = (
            f'{{"e":"kline","E":{event},"s":"{symbol}","k":{{"t":{opened},"T":{opened + MINUTE - 1},"s":"{symbol}",'
            f'"i":"1m","f":{first},"L":{first + trades - 1},'
            f'"o":"1234.5600","c":"1235.{update:04d}","h":"1240.1000","l":"1230.0000","v":"{1000 + update}.123",'
            f'"n":{trades},"x":{"true" if is_closed else "false"},'
            f'"q":"1234567.8900","V":"{500 + update}.100","Q":"617283.9400","B":"0"}}}}'
        )
        yield symbol, data


def blob(count, base, is_wrapped):
    parts = []
    for symbol, data in messages(count, base):
        text = f'{{"stream":"{symbol.lower()}@kline_1m","data":{data}}}' if is_wrapped else data
        payload = text.encode()
        parts.append(b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload)
    return parts


async def serve(count):
    base = time.time_ns() // 60_000_000_000 * MINUTE
    made = {True: blob(count, base, True), False: blob(count, base, False)}

    async def handle(reader, writer):
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = request.split(" ", 2)[1]
            key = re.search(r"sec-websocket-key: (\S+)", request, re.IGNORECASE)[1]
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            if "streams=" not in path:
                head = await reader.readexactly(2)
                size = head[1] & 0x7F
                if size == 126:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                mask = await reader.readexactly(4)
                body = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(size)))
                answer = json.dumps({"result": None, "id": json.loads(body)["id"]}).encode()
                writer.write(b"\x81" + bytes([len(answer)]) + answer)
            frames = made["/stream" in path]
            if "pace" in path:
                await pace(writer, frames, 800)
            else:
                for place in range(0, len(frames), 200):
                    writer.write(b"".join(frames[place : place + 200]))
                    await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def pace(writer, frames, rate):
    begun = time.perf_counter()
    for place, frame in enumerate(frames):
        wait = begun + place / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        writer.write(frame)
        await writer.drain()


class Meter:
    """From the first message to the last: wall time and this process's CPU time."""

    def start(self):
        self.wall, self.cpu = time.perf_counter(), self.used()

    def used(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def tell(self, count, **more):
        wall, cpu = time.perf_counter() - self.wall, self.used() - self.cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "count": count, **more}), flush=True)


async def client_websockets(port, count, meter):
    import orjson
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}/market/stream?streams=all", compression=None, max_size=None) as socket:
        loads = orjson.loads
        loads(await socket.recv())
        meter.start()
        for _ in range(count - 1):
            loads(await socket.recv())
        meter.tell(count)


def slt_pipeline(port, path=""):
    from types import SimpleNamespace

    import pluggy

    from slt._binding import bind_hooks
    from slt.config import FeedConfig
    from slt.feed.pipeline import FeedPipeline
    from slt.hookspecs import FeedSpecs
    from slt.types import MarketInfo
    from slt_binance.feed import BinanceFeed, BinanceFeedConfig

    feed = BinanceFeed(
        BinanceFeedConfig(
            stream_url=f"ws://127.0.0.1:{port}{path}", symbols=tuple(SYMBOLS), connections=1, streams_per_connection=300
        )
    )
    manager = pluggy.PluginManager("slt")
    manager.add_hookspecs(FeedSpecs)
    manager.register(feed)
    hooks = SimpleNamespace(**bind_hooks(manager, "feeds", feed))
    subscribe = hooks.slt_subscribe_streams
    hooks.slt_subscribe_streams = lambda streams, is_wanted, first_id: subscribe(streams[:100], is_wanted, first_id)
    market = MarketInfo(tuple(SYMBOLS), MINUTE, 0, None, "benchmark")
    return FeedPipeline(hooks, market, FeedConfig(), wall_ms=lambda: time.time_ns() // 1_000_000)


async def client_slt(port, count, meter):
    pipeline = slt_pipeline(port)
    task = asyncio.create_task(pipeline.run())
    while not pipeline.frames:  # noqa: ASYNC110 # the moment itself is measured
        await asyncio.sleep(0)
    meter.start()
    wanted, bars = count // UPDATES, 0
    async for wave in pipeline.read():
        bars += int((wave.bars.state == 1).sum())
        if bars >= wanted:
            break
    meter.tell(count, bars=bars)
    counters = pipeline.status().counters
    assert counters["bars"] == wanted, counters
    assert not counters["missing"], counters
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def client_ccxt(port, count, meter):
    import ccxt.pro

    exchange = ccxt.pro.binanceusdm({"options": {"defaultType": "future"}})
    exchange.urls["api"]["ws"]["linear"] = exchange.urls["api"]["ws"]["future"] = f"ws://127.0.0.1:{port}/ws"
    markets = [
        exchange.safe_market_structure(
            {
                "id": symbol, "symbol": f"{symbol[:-4]}/USDT:USDT", "base": symbol[:-4], "quote": "USDT",
                "settle": "USDT", "type": "swap", "swap": True, "contract": True, "linear": True,
                "inverse": False, "spot": False, "active": True, "contractSize": 1.0,
                "precision": {"amount": 0.001, "price": 0.01},
            }
        )
        for symbol in SYMBOLS
    ]  # fmt: skip
    for market in markets:
        market["lowercaseId"] = market["id"].lower()
    exchange.set_markets(markets)
    pairs = [[m["symbol"], "1m"] for m in markets]
    seen, real = 0, exchange.handle_ohlcv

    def counting(client, message):
        nonlocal seen
        seen += 1
        real(client, message)

    exchange.handle_ohlcv = counting
    await exchange.watch_ohlcv_for_symbols(pairs)
    first = seen
    meter.start()
    while seen < count:
        await exchange.watch_ohlcv_for_symbols(pairs)
    meter.tell(count - first)
    await exchange.close()


async def client_python_binance(port, count, meter):
    from binance import AsyncClient, BinanceSocketManager

    BinanceSocketManager.FSTREAM_URL = f"ws://127.0.0.1:{port}/"
    client = AsyncClient()
    manager = BinanceSocketManager(client, max_queue_size=10_000_000)
    streams = [f"{symbol.lower()}@kline_1m" for symbol in SYMBOLS]
    async with manager.futures_multiplex_socket(streams) as socket:
        await socket.recv()
        meter.start()
        for _ in range(count - 1):
            await socket.recv()
        meter.tell(count)
    await client.close_connection()


async def share(port, count, meter):
    pipeline = slt_pipeline(port, "/pace")
    task = asyncio.create_task(pipeline.run())
    while not pipeline.frames:  # noqa: ASYNC110 # nothing is measured yet
        await asyncio.sleep(0.01)
    await asyncio.sleep(2)
    begun = pipeline.frames
    meter.start()
    await asyncio.sleep(20)
    meter.tell(pipeline.frames - begun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def share_websockets(port, count, meter):
    import orjson
    from websockets.asyncio.client import connect

    address = f"ws://127.0.0.1:{port}/pace/market/stream?streams=all"
    async with connect(address, compression=None, max_size=None) as socket:
        end, seen = 0.0, 0
        while not end or time.perf_counter() < end:
            orjson.loads(await socket.recv())
            seen += 1
            if seen == 1_600:
                meter.start()
                end, seen = time.perf_counter() + 20, 1_601
        meter.tell(seen - 1_601)


def run_client(name, port, count, is_uvloop):
    command = [sys.executable, __file__, "--client", name, "--port", str(port), "--messages", str(count)]
    done = subprocess.run(command + ["--uvloop"] * is_uvloop, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--share", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--client")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.messages))
        return
    if given.client:
        functions = {
            "slt": client_slt,
            "websockets": client_websockets,
            "ccxt": client_ccxt,
            "python-binance": client_python_binance,
            "share": share,
            "share-websockets": share_websockets,
        }
        work = functions[given.client](given.port, given.messages, Meter())
        if given.uvloop:
            import uvloop

            uvloop.run(work)
        else:
            asyncio.run(work)
        return
    compare(given)


def compare(given):
    count = 100_000 if given.share else given.messages
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--messages", str(count)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(server.stdout.readline())
        if given.share:
            for name, client in (("slt", "share"), ("websockets", "share-websockets")):
                found = run_client(client, port, count, given.uvloop)
                rate, used = found["count"] / found["wall"], 100 * found["cpu"] / found["wall"]
                print(f"{name:<16} {rate:.0f} messages/s: {used:.2f} % of one core", flush=True)
            return
        names = given.only.split(",") if given.only else CLIENTS
        runs = {name: [] for name in names}
        for _ in range(given.rounds):
            for name in names:
                runs[name].append(run_client(name, port, count, given.uvloop))
        show(runs)
    finally:
        server.kill()


def show(runs):
    rate = {n: statistics.median(r["count"] / r["wall"] for r in found) for n, found in runs.items()}
    cpu = {n: statistics.median(1e6 * r["cpu"] / r["count"] for r in found) for n, found in runs.items()}
    print(f"{'client':<16} {'rate /s':>9} {'cpu µs':>7} {'slt rate':>9} {'slt cpu':>8}")
    for name in runs:
        ratios = (rate["slt"] / rate[name], cpu[name] / cpu["slt"]) if "slt" in runs else (1.0, 1.0)
        print(f"{name:<16} {rate[name]:>9,.0f} {cpu[name]:>7.2f} {ratios[0]:>8.2f}x {ratios[1]:>7.2f}x")


if __name__ == "__main__":
    main()
