"""Three books that know nothing of each other, rebuilt from the public depth stream, equal the engine's.

Ours is the trading page's, run by Node; one is ccxt.pro's; one is naive and here. They live through random orders,
connections that are cut, gateways that are killed and an engine that fails over to its standby.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import urlopen

import ccxt
import ccxt.pro
import pytest
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from config.markets import CATALOGUE
from local.control import read_status
from local.demo import Keys, kept_keys
from local.paths import PROJECT
from runtime.market_data.payloads import Instrument
from runtime.market_maker.client import Key, RefusedError, Session, UnavailableError
from runtime.shared.engine_link import EngineError, EngineLink
from runtime.shared.messages import AskMarket, MarketState
from runtime.shared.web_socket import connect
from tests.integ.exchange import Exchange, own_exchange, wait_for
from tests.runtime.market_data.wire import DepthClient, until

pytestmark = pytest.mark.soak

COMMANDS = int(os.environ.get("BURSA_DEPTH_COMMANDS", "20000"))
"""The full count is 100,000."""
SYMBOL, PAIR = "BTCUSDT", "BTC/USDT"
STREAM = "btcusdt@depth@100ms"
ADDRESSES = {f"replay-{number}": f"127.0.0.{10 + number}" for number in (1, 2, 3, 4)}
"""Who trades, and from where. A refused cancel weighs 1, and everyone behind one address shares 6,000 a minute."""
MINUTE_S = 60
LANES = 8
"""Commands of each account that are under way together."""
STANDING_MAX = 20
"""Open orders of a lane, so that an account stays below its limit."""
CUT_EVERY_S = 4.0
SETTLE_TIMEOUT_S = 90.0
COMMANDS_TIMEOUT_S = 1_800.0
TELL_EVERY_S = 10.0
CLEAN_UP_TIMEOUT_S = 10.0
REJOIN_TIMEOUT_S = 60.0
"""Longest time until every book is begun anew after a gateway was killed."""
STALL_MAX_S = 90.0
"""Longest time without an answered command: a minute for who asked too much, and a restart."""
OPEN_TIMEOUT_S = 10.0
OPEN_PAUSE_S = 2.0
UNSURE_CODES = {-1001, -1006, -1007, -1008}
"""Refusals while something restarts."""
TOO_MUCH_WEIGHT = -1003
EXPECTED_CODES = {-2010, -2011, -1013}
"""Refusals of orders that may not be: no funds, gone already, against a filter."""

Levels = list[tuple[float, float]]


class Book(Protocol):
    """What a follower of the stream keeps."""

    async def load(self, snapshot: Any) -> bool:
        """Start from a snapshot; return False when it is older than what has come before it."""

    async def apply(self, event: Any) -> None:
        """Take the next event. Fails over a gap or a crossing."""

    async def forget(self) -> None:
        """Start anew."""

    async def levels(self) -> tuple[int, Levels, Levels]:
        """Return the last update id, bids and asks."""


class NaiveBook:
    """Dictionaries, and every rule of the documents asserted."""

    def __init__(self) -> None:
        self._book = DepthClient()

    async def load(self, snapshot: Any) -> bool:
        if self._book.buffered and self._book.buffered[0]["U"] > snapshot["lastUpdateId"] + 1:
            return False
        self._book.snapshot(snapshot)
        return True

    async def apply(self, event: Any) -> None:
        self._book.take(event)
        if self._book.last_id >= 0:
            bids, asks = ([float(price) for price in side] for side in (self._book.bids, self._book.asks))
            assert not bids or not asks or max(bids) < min(asks), f"crossed at {self._book.last_id}"

    async def forget(self) -> None:
        self._book = DepthClient()

    async def levels(self) -> tuple[int, Levels, Levels]:
        bids, asks = self._book.book()
        return self._book.last_id, floats(bids), floats(asks)


class PageBook:
    """The trading page's own, in a Node process: a line in, a line out."""

    SCRIPT = """
import { createInterface } from "node:readline";
const { DepthBook } = await import(process.argv[1] + "/core/depth.js");
const { plain } = await import(process.argv[1] + "/core/decimal.js");
const book = new DepthBook();
const side = (levels) => levels.map(({ price, quantity }) => [plain(price), plain(quantity)]);
for await (const line of createInterface({ input: process.stdin })) {
  const { load, apply, forget } = JSON.parse(line);
  let answer = null;
  if (forget) book.reset();
  else if (load) answer = book.load(load);
  else if (apply) {
    answer = book.apply(apply);
    if (book.bids[0] && book.asks[0] && book.bids[0].price >= book.asks[0].price) answer = "crossed";
  } else answer = [book.lastUpdateId ?? -1, side(book.bids), side(book.asks)];
  console.log(JSON.stringify(answer));
}
"""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()  # its follower asks, and in the end the test does, too

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls, compiled: Path) -> AsyncIterator["PageBook"]:
        """Run what was `compiled`."""
        process = await asyncio.create_subprocess_exec(
            *("node", "--input-type=module", "--eval", cls.SCRIPT, str(compiled)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=1 << 24,
        )
        try:
            yield cls(process)
        finally:
            process.kill()
            await process.wait()

    async def _ask(self, question: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        async with self._asking:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 30))

    async def load(self, snapshot: Any) -> bool:
        return bool(await self._ask({"load": snapshot}))

    async def apply(self, event: Any) -> None:
        outcome = await self._ask({"apply": event})
        assert outcome in ("waiting", "applied", "old"), outcome

    async def forget(self) -> None:
        await self._ask({"forget": True})

    async def levels(self) -> tuple[int, Levels, Levels]:
        last_id, bids, asks = await self._ask({})
        return last_id, floats(bids), floats(asks)


def compile_page(folder: Path) -> Path:
    """Compile the trading page's sources; return where they are."""
    compiler, project = PROJECT / "node_modules" / ".bin" / "tsc", PROJECT / "web" / "tsconfig.test.json"
    subprocess.run([compiler, "-p", project, "--outDir", folder], check=True, cwd=PROJECT)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder / "src"


def floats(levels: list[Any]) -> Levels:
    return [(float(price), float(quantity)) for price, quantity, *_ in levels]


class Feed(WSListener):
    """One connection to the stream: its events in order, None when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.events.put_nowait(json.loads(frame.get_payload_as_bytes()))
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.events.put_nowait(None)


class Follower:
    """Keeps a book current by the documented procedure, through every end of its connection."""

    def __init__(self, exchange: Exchange, book: Book) -> None:
        self.book = book
        self.joined = 0
        """How often the book was begun from a snapshot."""
        self.connected = 0
        self.applied = 0
        self._demo = exchange.demo
        self._feed: Feed | None = None

    def cut(self) -> None:
        """Break the connection, as a network does."""
        if self._feed is not None and self._feed.transport is not None:
            self._feed.transport.disconnect(graceful=False)

    async def run(self) -> None:
        while True:
            try:
                feed = await connect(Feed, f"{self._demo['stream_url']}/ws")
            except ConnectionError:
                await asyncio.sleep(0.2)
                continue
            self._feed = feed
            self.connected += 1
            await self.book.forget()
            pause_s = 0.2
            try:
                await self._follow(feed)
            except HTTPError as error:  # no snapshot for the moment
                pause_s = float(error.headers.get("Retry-After", pause_s))
            except OSError:
                pass  # the end of the connection
            self.cut()
            await asyncio.sleep(pause_s)

    async def _follow(self, feed: Feed) -> None:
        # Once the stream is confirmed its events are kept, and a snapshot asked for then cannot be too old for them.
        assert feed.transport
        feed.transport.send(WSMsgType.TEXT, json.dumps({"method": "SUBSCRIBE", "params": [STREAM], "id": 1}).encode())
        if await feed.events.get() != {"result": None, "id": 1}:
            raise ConnectionError("not confirmed")
        assert await self.book.load(await asyncio.to_thread(self._snapshot)), "the snapshot is too old"
        self.joined += 1
        while True:
            await self._take(feed)

    async def _take(self, feed: Feed) -> None:
        event = await feed.events.get()
        if event is None:
            raise ConnectionError("the connection has ended")
        await self.book.apply(event)
        self.applied += 1

    def _snapshot(self) -> Any:
        with urlopen(f"{self._demo['rest_url']}/api/v3/depth?symbol={SYMBOL}&limit=5000", timeout=10) as answer:
            return json.load(answer)


class Ccxt:
    """ccxt.pro, which connects, fetches and joins on its own."""

    def __init__(self, exchange: Exchange) -> None:
        demo = exchange.demo
        rest, stream = f"{demo['rest_url']}/api/v3", f"{demo['stream_url']}/ws"
        self.seen: Any = None
        self.ends = 0
        self._is_cut = False
        self.client = ccxt.pro.binance(
            {
                "enableRateLimit": False,
                "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "watchOrderBookLimit": 5000},
                "urls": {"api": {"public": rest, "ws": {"spot": stream}}},
            }
        )

    async def run(self) -> None:
        while True:
            try:
                book = await self.client.watch_order_book(PAIR)
            except ccxt.ChecksumError:
                raise  # how ccxt calls a gap
            except asyncio.CancelledError:  # how it tells that it was closed
                task = asyncio.current_task()
                if not self._is_cut or (task and task.cancelling()):
                    raise
                await self._pause()
                continue
            except (ccxt.NetworkError, ccxt.ExchangeError):
                await self.cut()
                await self._pause()
                continue
            assert not book["bids"] or not book["asks"] or book["bids"][0][0] < book["asks"][0][0], "ccxt's is crossed"
            self.seen = book

    async def _pause(self) -> None:
        self._is_cut = False
        self.ends += 1
        await asyncio.sleep(0.5)

    async def cut(self) -> None:
        self._is_cut = True
        with contextlib.suppress(Exception):
            await self.client.close()

    async def levels(self) -> tuple[int, Levels, Levels]:
        if self.seen is None:
            return -1, [], []
        return self.seen["nonce"] or -1, floats(self.seen["bids"]), floats(self.seen["asks"])


class Trading:
    """Lanes of random commands from several accounts, with whoever meets whom."""

    def __init__(self, exchange: Exchange, seed: int, *, commands: int = COMMANDS, pace_s: float = 0.0) -> None:
        self.done = 0
        self.unsure = 0
        """Commands that got no answer, or one that leaves open what became of them."""
        self.slowest_s = 0.0
        self.goes_on = False
        """Whether to trade on past the commands wanted: a book is only seen to change while somebody trades."""
        self._commands = commands
        self._pace_s = pace_s
        self.opened = 0
        """Connections asked for, whether they came about or not."""
        self.refused: dict[int, int] = {}
        self._chance = random.Random(seed)
        self._keys = kept_keys(exchange.layout.state / "clients.json")
        self._url = exchange.demo["ws_api_url"]
        self._sessions: dict[str, Session] = {}
        self._opening = asyncio.Lock()

    async def run(self) -> None:
        await asyncio.gather(*(self._lane(name) for name in ADDRESSES for _ in range(LANES)))

    async def _lane(self, name: str) -> None:
        standing: list[int] = []
        while self.done < self._commands or self.goes_on:
            await asyncio.sleep(self._pace_s)
            began = time.monotonic()
            try:
                await self._step(name, standing)
                self.done += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            except UnavailableError:
                self.unsure += 1
                await asyncio.sleep(0.1)
            except RefusedError as error:
                self.refused[error.code] = self.refused.get(error.code, 0) + 1
                if error.code in UNSURE_CODES:
                    self.unsure += 1
                    await asyncio.sleep(0.1)
                elif error.code == TOO_MUCH_WEIGHT:
                    await asyncio.sleep(MINUTE_S - time.time() % MINUTE_S)
                elif error.code in EXPECTED_CODES:
                    self.done += 1
                else:
                    raise

    async def _step(self, name: str, standing: list[int]) -> None:
        chance = self._chance
        session = await self._session(name)
        if standing and (len(standing) >= STANDING_MAX or chance.random() < 0.3):
            number = standing.pop(chance.randrange(len(standing)))
            await session.call("order.cancel", symbol=SYMBOL, orderId=number)
            return
        side = chance.choice(("BUY", "SELL"))
        order = {"symbol": SYMBOL, "side": side, "quantity": f"0.00{chance.randint(100, 999)}"}
        if chance.random() < 0.1:
            await session.call("order.place", **order, type="MARKET")
            return
        away = int(chance.expovariate(1 / 40)) - 5
        price = 60_000 - away if side == "BUY" else 60_000 + away
        kind = chance.choice(("GTC", "GTC", "GTC", "IOC"))
        placed = await session.call("order.place", **order, type="LIMIT", timeInForce=kind, price=f"{price}.00")
        if placed["status"] in ("NEW", "PARTIALLY_FILLED"):
            standing.append(placed["orderId"])

    async def _session(self, name: str) -> Session:
        async with self._opening:
            session = self._sessions.get(name)
            if session is None or not session.is_open:
                keys: Keys = self._keys[name]
                session = Session(
                    Key(keys.ed25519_api_key, keys.ed25519_private_key_pem),
                    in_flight_max=4 * LANES,
                    local_address=ADDRESSES[name],
                )
                self.opened += 1
                try:
                    await asyncio.wait_for(session.open(self._url), OPEN_TIMEOUT_S)
                except (UnavailableError, RefusedError, OSError, TimeoutError) as error:
                    session.close()
                    await asyncio.sleep(OPEN_PAUSE_S)  # an address may connect 300 times in five minutes
                    raise UnavailableError(str(error)) from error
                self._sessions[name] = session
            return session

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


class Trouble:
    """What goes wrong while the lanes trade, each after its share of the commands, and once every book follows."""

    def __init__(
        self, exchange: Exchange, link: EngineLink, trading: Trading, followers: list[Follower], pro: Ccxt
    ) -> None:
        self.done: list[str] = []
        self._exchange = exchange
        self._link = link
        self._trading = trading
        self._followers = followers
        self._pro = pro

    async def run(self) -> None:
        self._trading.goes_on = True
        await until(lambda: self._pro.seen is not None, COMMANDS_TIMEOUT_S)  # ccxt loads every market first
        for share, cause in ((0.2, self._kill_gateway), (0.45, self._fail_over), (0.7, self._kill_gateway)):
            await until(lambda share=share: self._trading.done >= COMMANDS * share, COMMANDS_TIMEOUT_S)
            await until(lambda: all(each.joined for each in self._followers), COMMANDS_TIMEOUT_S)
            joined, ends = [each.joined for each in self._followers], self._pro.ends
            await cause()
            await asyncio.to_thread(self._exchange.wait_healthy)
            if cause == self._kill_gateway:
                await until(
                    lambda joined=joined, ends=ends: (
                        self._pro.ends > ends
                        and all(each.joined > before for each, before in zip(self._followers, joined, strict=True))
                    ),
                    REJOIN_TIMEOUT_S,
                )
        self._trading.goes_on = False

    async def _kill_gateway(self) -> None:
        self._exchange.kill("ws")
        self.done.append("ws")

    async def _fail_over(self) -> None:
        """Kill the leader. Which of the two that is shows by the epoch that follows."""
        epoch = self._link.epoch
        status = read_status(self._exchange.layout)
        assert status
        for name in [each.name for each in status.processes if each.name.startswith("engine")]:
            self._exchange.kill(name)
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                if self._link.epoch > epoch:
                    self.done.append(name)
                    return
                await asyncio.sleep(0.1)
            await asyncio.to_thread(self._exchange.wait_healthy)
        raise AssertionError("no other engine took over")


async def engines_book(link: EngineLink) -> tuple[int, Levels, Levels]:
    """Ask the engine itself."""
    market = CATALOGUE.market_by_symbol[SYMBOL]
    while True:
        with contextlib.suppress(EngineError):
            state = (await link.ask(AskMarket(market.id))).answer
            assert isinstance(state, MarketState)
            instrument = Instrument(market)
            bids, asks = (
                [(float(instrument.price(price)), float(instrument.quantity(lots))) for price, lots in side]
                for side in (state.bids, state.asks)
            )
            return state.update_id, bids, asks
        await asyncio.sleep(0.2)


async def scenario(exchange: Exchange, page_sources: Path, seed: int) -> None:
    status = read_status(exchange.layout)
    assert status
    link = EngineLink(",".join(each.address for each in status.processes if each.name.startswith("engine")))
    await link.start()
    await link.wait_connected(60)
    trading = Trading(exchange, seed)
    async with PageBook.run(page_sources) as page:
        followers = [Follower(exchange, page), Follower(exchange, NaiveBook())]
        pro = Ccxt(exchange)
        trouble = Trouble(exchange, link, trading, followers, pro)
        following = [asyncio.create_task(each.run()) for each in (*followers, pro)]
        cutting = asyncio.create_task(cut_now_and_then([*followers, pro]))
        endless = [*following, cutting, asyncio.create_task(fail_on_a_stall(trading, trouble, followers, pro))]
        trading_all = asyncio.gather(trading.run(), trouble.run())
        started = time.monotonic()
        try:
            await asyncio.wait((trading_all, *endless), return_when=asyncio.FIRST_COMPLETED)
            for each in endless:
                assert not each.done() or each.result() is None  # a gap or a crossing ends it, and is raised here
            await trading_all
            seconds = time.monotonic() - started
            cutting.cancel()
            engine = await engines_book(link)
            await agree(engine, {"ours": page, "naive": followers[1].book, "ccxt": pro}, following)
        except BaseException as error:
            print(f"ended by {error!r}", flush=True)
            raise
        finally:
            for each in (trading_all, *endless):
                each.cancel()
            await pro.cut()
            await asyncio.wait((trading_all, *endless), timeout=CLEAN_UP_TIMEOUT_S)
            trading.close()
            await link.stop()
    print(
        f"{trading.done} commands in {seconds:.0f} s, refused {trading.refused}; killed {trouble.done}; begun anew: "
        f"ours {followers[0].joined}, naive {followers[1].joined}, ccxt {pro.ends}; events applied: "
        f"{[each.applied for each in followers]}; {len(engine[1])} bids and {len(engine[2])} asks at {engine[0]}"
    )
    assert trouble.done[0] == trouble.done[2] == "ws"
    assert min(each.joined for each in followers) >= 3, "once at first, and after each gateway that was killed"
    assert pro.ends >= 1
    assert len(engine[1]) > 5
    assert len(engine[2]) > 5


async def cut_now_and_then(all_of_them: list[Any]) -> None:
    """Cut one connection after the other, for ever."""
    while True:
        for each in all_of_them:
            await asyncio.sleep(CUT_EVERY_S)
            if isinstance(each, Ccxt):
                await each.cut()
            else:
                each.cut()


async def fail_on_a_stall(trading: Trading, trouble: Trouble, followers: list[Follower], pro: Ccxt) -> None:
    """Tell how far things are, for ever; fail once no command has been answered for too long."""
    began, moved, done = time.monotonic(), time.monotonic(), 0
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        state = (
            f"{time.monotonic() - began:.0f} s: {trading.done} commands, {trading.opened} sessions opened, refused "
            f"{trading.refused}; killed {trouble.done}; begun anew {[each.joined for each in followers]}, "
            f"connections {[each.connected for each in followers]}, ccxt {pro.ends}"
        )
        print(state, flush=True)
        if trading.done > done:
            moved, done = time.monotonic(), trading.done
        assert time.monotonic() - moved < STALL_MAX_S, f"nothing goes on: {state}"


async def agree(engine: tuple[int, Levels, Levels], books: dict[str, Any], following: list[Any]) -> None:
    """Wait until every book has come as far as the engine, and compare them."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    for name, book in books.items():
        while (found := await book.levels())[0] != engine[0]:
            for each in following:
                assert not each.done() or each.result() is None
            assert time.monotonic() < deadline, f"{name} stands at {found[0]}, the engine at {engine[0]}"
            await asyncio.sleep(0.1)
        assert found == engine, f"{name} is another book"


def test_three_books_equal_the_engines(tmp_path: Path) -> None:
    seed = int(os.environ.get("BURSA_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}")
    with own_exchange(tmp_path / "exchange", "staging") as exchange:
        paused = exchange.layout.run / "pause"
        paused.mkdir(exist_ok=True)
        (paused / SYMBOL).write_text(str(os.getpid()))
        wait_for(lambda: exchange.command("status").returncode == 0)
        asyncio.run(scenario(exchange, compile_page(tmp_path / "page"), seed))
