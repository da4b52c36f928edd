"""A whole exchange behind the gateway, in this process: the real engine core; ledger, market and keys of our own."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from config.markets import CATALOGUE
from runtime.engine.engine import Engine
from runtime.engine.questions import answer
from runtime.gateway.api_keys import ApiKeys
from runtime.gateway.dispatch import Exchange
from runtime.gateway.engine import Tell
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limits import Limiter
from runtime.gateway.listings import Listings
from runtime.gateway.market_link import MarketQuestion
from runtime.gateway.user_data import UserStreams
from runtime.ledger.history import AccountTrade, Amendment, PreventedMatch
from runtime.ledger.projection import project
from runtime.shared import messages as m
from runtime.shared.engine_link import EngineUnavailableError
from runtime.shared.market_messages import AskAggTrades, AskAveragePrice, AskDepth, AskKlines, AskTickers, AskTrades

BTCUSDT = 1
USDT = 3
TIER = "standard"
ADDRESS = "198.51.100.7"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalEngine:
    """The engine without journal or network: every command takes effect at once."""

    def __init__(self) -> None:
        self.connected = True
        self.is_silent = False
        """Take commands and questions, and never answer."""
        self.core = Engine()
        self.history: list[m.Happened] = []
        self.on_event: Callable[[m.Happened], None] = lambda _: None
        self.apply(
            m.Configure(sorted(CATALOGUE.asset_by_id), CATALOGUE.specs(), CATALOGUE.tier_specs(), m.RULES_NEWEST)
        )

    def apply(self, command: m.Command) -> m.Replied:
        sequence, time_us = self.core.sequence + 1, time.time_ns() // 1000
        reply, events = self.core.apply(sequence, time_us, command)
        happened = m.Happened(sequence, time_us, events)
        self.history.append(happened)
        self.on_event(happened)
        return m.Replied(sequence, sequence, time_us, reply)

    def open(self, name: str, tier: int = 1, **funds: int) -> int:
        opened = self.apply(m.OpenAccount(name, tier)).reply
        assert isinstance(opened, m.AccountOpened)
        for asset, amount in funds.items():
            self.apply(m.Deposit(opened.account, CATALOGUE.asset(asset).id, amount, f"{name}:{asset}"))
        return opened.account

    def submit(self, command: m.Command, tell: Tell) -> None:
        tell(EngineUnavailableError("no reply") if self.is_silent else self.apply(command))

    async def ask(self, question: m.Question) -> m.Answered:
        if self.is_silent:
            raise EngineUnavailableError("no reply")
        replica: Any = SimpleNamespace(engine=self.core, state_hash=lambda: "")
        return m.Answered(1, self.core.sequence, answer(replica, question))


class LocalLedger:
    """Orders and fills as the events of the engine tell them."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.waited_for: list[int] = []

    async def wait_for(self, sequence: int) -> None:
        self.waited_for.append(sequence)

    def _orders(self, account: int, market: int) -> list[m.Order]:
        orders = {
            event.order.order_id: event.order
            for happened in self._engine.history
            for event in happened.events
            if isinstance(event, m.OrderChanged)
        }
        return [order for _, order in sorted(orders.items()) if (order.account, order.market) == (account, market)]

    async def order_by_id(self, account: int, market: int, order_id: int) -> m.Order | None:
        return next((order for order in self._orders(account, market) if order.order_id == order_id), None)

    async def order_by_client_id(self, account: int, market: int, client_order_id: str) -> m.Order | None:
        found = [order for order in self._orders(account, market) if order.client_order_id == client_order_id]
        return found[-1] if found else None

    async def all_orders(
        self,
        account: int,
        market: int,
        *,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[m.Order]:
        found = [
            order
            for order in self._orders(account, market)
            if order.order_id >= (order_id or 0) and (start_us or 0) <= order.created_us <= (end_us or 2**62)
        ]
        return found[:limit] if order_id is not None or start_us is not None else found[-limit:]

    async def my_trades(
        self,
        account: int,
        market: int,
        *,
        from_id: int | None = None,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[AccountTrade]:
        found: list[AccountTrade] = []
        for happened in self._engine.history:
            for event in happened.events:
                if isinstance(event, m.OrderChanged) and event.execution == m.EXEC_TRADE:
                    order = event.order
                    if (order.account, order.market) == (account, market) and order_id in (None, order.order_id):
                        found.append(
                            AccountTrade(
                                market,
                                event.trade_id,
                                order.order_id,
                                event.last_price,
                                event.last_lots,
                                event.fee,
                                order.side == m.BUY,
                                event.is_maker,
                                happened.time_us,
                            )
                        )
        assert end_us is None or start_us is None or start_us <= end_us
        return [trade for trade in found if trade.trade_id >= (from_id or 0)][:limit]

    def _lists(self, account: int) -> list[m.OrderList]:
        lists = {
            event.order_list.list_id: event.order_list
            for happened in self._engine.history
            for event in happened.events
            if isinstance(event, m.ListChanged)
        }
        return [each for _, each in sorted(lists.items()) if each.account == account]

    async def list_by_id(self, account: int, list_id: int) -> m.OrderList | None:
        return next((each for each in self._lists(account) if each.list_id == list_id), None)

    async def list_by_client_id(self, account: int, client_list_id: str) -> m.OrderList | None:
        found = [each for each in self._lists(account) if each.client_list_id == client_list_id]
        return found[-1] if found else None

    async def all_lists(
        self,
        account: int,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[m.OrderList]:
        assert start_us is None or end_us is None or start_us <= end_us
        return [each for each in self._lists(account) if each.list_id >= (from_id or 0)][:limit]

    async def prevented_matches(
        self,
        account: int,
        market: int,
        *,
        match_id: int | None = None,
        order_id: int | None = None,
        from_id: int | None = None,
        limit: int = 500,
    ) -> list[PreventedMatch]:
        found = [
            PreventedMatch(
                event.market,
                event.match_id,
                event.taker_order_id,
                event.maker_order_id,
                event.trade_group,
                event.mode,
                event.price,
                event.taker_lots,
                event.maker_lots,
                happened.time_us,
            )
            for happened in self._engine.history
            for event in happened.events
            if isinstance(event, m.SelfTradePrevented) and account in (event.taker, event.maker)
        ]
        return [
            each
            for each in found
            if each.market == market
            and match_id in (None, each.match_id)
            and order_id in (None, each.taker_order_id, each.maker_order_id)
            and each.match_id >= (from_id or 0)
        ][:limit]

    async def order_amendments(
        self, account: int, market: int, order_id: int, *, since: tuple[int, int] = (0, 0), limit: int = 500
    ) -> list[Amendment]:
        lots: dict[int, int] = {}
        found = []
        for happened in self._engine.history:
            for index, event in enumerate(happened.events):
                if not isinstance(event, m.OrderChanged):
                    continue
                order = event.order
                if event.execution == m.EXEC_REPLACED and (order.account, order.market) == (account, market):
                    names = event.cancel_id, order.client_order_id
                    place = happened.sequence, index
                    found.append(
                        Amendment(
                            *(market, order.order_id, *place, *names, lots[order.order_id], order.lots),
                            happened.time_us,
                        )
                    )
                lots[order.order_id] = order.lots
        return [each for each in found if each.order_id == order_id and (each.sequence, each.event) >= since][:limit]

    async def account_postings(self, account: int, limit: int) -> list[tuple[int, int, int, int, int]] | None:
        found = [
            (line.sequence, line.event, line.asset, line.amount, line.kind)
            for line in project(self._engine.history, 0, {}).postings
            if line.account == account
        ]
        return found if len(found) <= limit else None

    async def last_prices(self) -> dict[int, int]:
        return {
            event.market: event.price
            for happened in self._engine.history
            for event in happened.events
            if isinstance(event, m.Traded)
        }


class LocalMarket:
    """Market data that says back what it was asked."""

    def __init__(self) -> None:
        self.connected = True
        self.asked: list[MarketQuestion] = []
        self.answers: dict[type, bytes] = {
            AskDepth: b'{"lastUpdateId":7,"bids":[],"asks":[]}',
            AskTrades: b'[{"id":1,"price":"1.00","qty":"2","quoteQty":"2","time":1700000000123}]',
            AskAggTrades: b'[{"a":1,"p":"1.00","T":1700000000123}]',
            AskKlines: b'[[1700000000000,"1","1","1","1","1",1700000059999,"1",1,"1","1","0"]]',
            AskAveragePrice: b'{"mins":5,"price":"1.00","closeTime":1700000000123}',
            AskTickers: b'[{"symbol":"BTCUSDT","openTime":1,"closeTime":2}]',
        }

    async def ask(self, question: MarketQuestion) -> tuple[int, bytes]:
        self.asked.append(question)
        return 0, self.answers[type(question)]


class LocalKeys:
    """A key source in memory; encryption is a reversal."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.fetched: list[str] = []
        self.opened: list[str] = []

    def fetch(self, api_key: str) -> Mapping[str, Any] | None:
        self.fetched.append(api_key)
        return self.items.get(api_key)

    def open_secret(self, api_key: str, ciphertext: bytes) -> bytes:
        self.opened.append(api_key)
        return ciphertext[::-1]


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


class Trader:
    """Somebody with an account and a key of one kind."""

    def __init__(self, name: str, account: int, kind: str, keys: LocalKeys, **more: Any) -> None:
        self.name = name
        self.account = account
        self.kind = kind
        self.api_key = (name + kind).ljust(64, "x")
        self.secret = f"secret of {name}".encode()
        self._ed25519 = ed25519.Ed25519PrivateKey.generate()
        item: dict[str, Any] = {
            "api_key": self.api_key,
            "account_id": account,
            "kind": kind,
            "permissions": {"TRADE", "READ"},
            "tier": TIER,
            "enabled": True,
        }
        if kind == "HMAC":
            item["secret"] = self.secret[::-1]
        else:
            private = self._ed25519 if kind == "ED25519" else rsa_key()
            pem = private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            item["public_key"] = pem.decode()
        keys.items[self.api_key] = item | more

    def sign(self, payload: bytes) -> str:
        if self.kind == "HMAC":
            return hmac.new(self.secret, payload, hashlib.sha256).hexdigest()
        if self.kind == "ED25519":
            return base64.b64encode(self._ed25519.sign(payload)).decode()
        return base64.b64encode(rsa_key().sign(payload, padding.PKCS1v15(), hashes.SHA256())).decode()

    def query(self, **parameters: Any) -> str:
        """Return signed parameters as a REST client sends them."""
        text = urlencode({"timestamp": now_ms(), **parameters})
        return f"{text}&{urlencode({'signature': self.sign(text.encode())})}"

    def params(self, **parameters: Any) -> dict[str, Any]:
        """Return signed parameters as a client of the WebSocket API sends them."""
        signed = {"apiKey": self.api_key, "timestamp": now_ms(), **parameters}
        payload = "&".join(f"{name}={_text(value)}" for name, value in sorted(signed.items()))
        return {**signed, "signature": self.sign(payload.encode())}


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class World:
    """Everything, put together. Ana and Budi have money; Budi's orders stand on the book."""

    def __init__(self, settings: LimitSettings | None = None, clock_s: Callable[[], float] | None = None) -> None:
        began_s = time.time()
        clock_s = clock_s or (lambda: began_s)  # the clock of the limits stands: no count ends in the midst of a test
        self.engine = LocalEngine()
        self.ledger = LocalLedger(self.engine)
        self.market = LocalMarket()
        self.keys = LocalKeys()
        self.limiter = Limiter(settings or LimitSettings(), CATALOGUE, clock_s=clock_s)
        self.listings = Listings(CATALOGUE)
        self.users = UserStreams(self.listings)
        self.engine.on_event = self.users.publish
        self.exchange = Exchange(
            listings=self.listings,
            engine=self.engine,
            market=self.market,
            ledger=self.ledger,
            keys=ApiKeys(self.keys),
            limiter=self.limiter,
        )
        rich = {"BTC": 10 * 10**8, "USDT": 1_000_000 * 10**8}
        ana, budi = self.engine.open("ana", **rich), self.engine.open("budi", **rich)
        self.ana = Trader("ana", ana, "HMAC", self.keys)
        self.ana_ed25519 = Trader("ana", ana, "ED25519", self.keys)
        self.ana_rsa = Trader("ana", ana, "RSA", self.keys)
        self.budi = Trader("budi", budi, "HMAC", self.keys)

    def rest_order(self, account: int, side: int, price: int, lots: int, client_order_id: str) -> m.Order:
        """Put an order on the book of BTCUSDT; price in ticks of 0.01, quantity in lots of 0.00001."""
        reply = self.engine.apply(
            m.PlaceOrder(account, BTCUSDT, side, m.LIMIT, m.GTC, price, lots, 0, client_order_id)
        ).reply
        assert isinstance(reply, m.OrderPlaced)
        return reply.order
