"""An exchange in a few lines, speaking the public protocol on loopback: enough to see what a client does to it.

It checks every signature, keeps resting orders, matches nothing but IOC orders against the best price, and tells
accounts of their orders and balances.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class RefusedError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass
class Resting:
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    client_id: str
    owner: str


@dataclass
class FakeExchange:
    """`keys`: API key → HMAC secret, or Ed25519 public key. `refusals`: method → error to answer with, once."""

    keys: dict[str, str | Ed25519PublicKey]
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    last_price: str = "0.00000000"
    order_limit: int = 100_000
    orders: dict[str, Resting] = field(default_factory=dict)
    trades: list[tuple[str, str, Decimal, Decimal]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """(API key, method, parameters) as they came."""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    connections: list[WSTransport] = field(default_factory=list)
    followers: list[WSTransport] = field(default_factory=list)
    subscribers: dict[str, WSTransport] = field(default_factory=dict)
    port: int = 0
    rest_url: str = ""

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["FakeExchange"]:
        server = await ws_create_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        rest = ThreadingHTTPServer(("127.0.0.1", 0), _rest_handler(self))
        self.rest_url = f"http://127.0.0.1:{rest.server_address[1]}"
        thread = threading.Thread(target=rest.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.cut()
            server.close()
            await asyncio.to_thread(rest.shutdown)
            rest.server_close()

    def cut(self) -> None:
        for transport in self.connections:
            transport.disconnect(graceful=False)
        self.connections.clear()
        self.followers.clear()
        self.subscribers.clear()

    def best(self, symbol: str) -> tuple[Decimal, Decimal]:
        here = [order for order in self.orders.values() if order.symbol == symbol]
        bids = [order.price for order in here if order.side == "BUY"]
        asks = [order.price for order in here if order.side == "SELL"]
        return max(bids, default=Decimal(0)), min(asks, default=Decimal(0))

    def rest_order(self, symbol: str, side: str, price: str, client_id: str) -> None:
        """Have someone else show an order."""
        self.orders[client_id] = Resting(symbol, side, Decimal(price), Decimal(1), client_id, "someone")
        self.publish(symbol)

    def publish(self, symbol: str) -> None:
        bid, ask = self.best(symbol)
        data = {"u": 1, "s": symbol, "b": f"{bid:.8f}", "B": "1", "a": f"{ask:.8f}", "A": "1"}
        message = json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data}).encode()
        for transport in self.followers:
            transport.send(WSMsgType.TEXT, message)

    def _accept(self, request: WSUpgradeRequest) -> WSListener:
        return _Listener(self, request.path.decode())

    # ---- the WebSocket API

    def answer(self, transport: WSTransport, payload: bytes, session: dict[str, str]) -> None:
        message = json.loads(payload)
        method, sent = message["method"], message["params"]
        reply: dict[str, Any] = {"id": message["id"], "status": 200, "rateLimits": []}
        try:
            key = self._authenticate(method, sent, session)
            self.requests.append((key, method, sent))
            if method in self.refusals:
                raise RefusedError(*self.refusals.pop(method))
            handler = getattr(self, "_" + method.replace(".", "_"))
            reply["result"] = handler(key, sent, transport)
        except RefusedError as error:
            reply |= {"status": 400, "error": {"code": error.code, "msg": error.text}}
        transport.send(WSMsgType.TEXT, json.dumps(reply).encode())

    def _authenticate(self, method: str, sent: dict[str, Any], session: dict[str, str]) -> str:
        if "signature" not in sent:
            if "key" not in session or ("timestamp" not in sent and method != "userDataStream.subscribe"):
                raise RefusedError(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
            return session["key"]
        signed = {name: value for name, value in sent.items() if name != "signature"}
        text = "&".join(f"{name}={signed[name]}" for name in sorted(signed)).encode()
        secret = self.keys[sent["apiKey"]]
        if isinstance(secret, str):
            if hmac.new(secret.encode(), text, hashlib.sha256).hexdigest() != sent["signature"]:
                raise RefusedError(-1022, "Signature for this request is not valid.")
        else:
            secret.verify(base64.b64decode(sent["signature"]), text)
            session["key"] = sent["apiKey"]
        key: str = sent["apiKey"]
        return key

    def _session_logon(self, key: str, _sent: dict[str, Any], _transport: WSTransport) -> Any:
        return {"apiKey": key}

    def _userDataStream_subscribe(self, key: str, _sent: dict[str, Any], transport: WSTransport) -> Any:  # noqa: N802
        self.subscribers[key] = transport
        return {"subscriptionId": 0}

    _userDataStream_subscribe_signature = _userDataStream_subscribe  # noqa: N815

    def _account_rateLimits_orders(self, *_: Any) -> Any:  # noqa: N802
        limit = {
            "rateLimitType": "ORDERS",
            "interval": "SECOND",
            "intervalNum": 10,
            "limit": self.order_limit,
            "count": 0,
        }
        return [limit, limit | {"interval": "DAY", "intervalNum": 1, "limit": 10**9}]

    def _account_status(self, *_: Any) -> Any:
        held = {"BTC": "100.00000000", "ETH": "1000.00000000", "USDT": "10000000.00000000"}
        return {"balances": [{"asset": asset, "free": free, "locked": "0.00000000"} for asset, free in held.items()]}

    def _order_place(self, key: str, sent: dict[str, Any], _transport: WSTransport) -> Any:
        price, quantity = Decimal(sent["price"]), Decimal(sent["quantity"])
        bid, ask = self.best(sent["symbol"])
        if sent["type"] == "LIMIT":
            assert sent["timeInForce"] == "IOC"
            self._match(sent["symbol"], sent["side"], price, quantity)
            return {}
        if (sent["side"] == "BUY" and ask and price >= ask) or (sent["side"] == "SELL" and bid and price <= bid):
            raise RefusedError(-2010, "Order would immediately match and take.")
        assert sent["newClientOrderId"] not in self.orders
        order = Resting(sent["symbol"], sent["side"], price, quantity, sent["newClientOrderId"], key)
        self.orders[order.client_id] = order
        self.publish(order.symbol)
        return {}

    def _match(self, symbol: str, side: str, price: Decimal, quantity: Decimal) -> None:
        bid, ask = self.best(symbol)
        against = ask if side == "BUY" else bid
        if not against or (side == "BUY" and against > price) or (side == "SELL" and against < price):
            return
        maker = next(o for o in self.orders.values() if o.symbol == symbol and o.price == against and o.side != side)
        lots = min(quantity, maker.quantity)
        self.trades.append((symbol, side, against, lots))
        maker.quantity -= lots
        if not maker.quantity:
            del self.orders[maker.client_id]
            self.publish(symbol)
        self._report(maker, "TRADE", "PARTIALLY_FILLED" if maker.quantity else "FILLED", maker.client_id, "")

    def _order_cancel(self, key: str, sent: dict[str, Any], _transport: WSTransport) -> Any:
        order = self.orders.get(sent["origClientOrderId"])
        if order is None or order.owner != key or order.symbol != sent["symbol"]:
            raise RefusedError(-2011, "Unknown order sent.")
        del self.orders[order.client_id]
        self.publish(order.symbol)
        self._report(order, "CANCELED", "CANCELED", "auto", order.client_id)
        return {}

    def _openOrders_cancelAll(self, key: str, sent: dict[str, Any], _transport: WSTransport) -> Any:  # noqa: N802
        mine = [order for order in self.orders.values() if order.owner == key and order.symbol == sent["symbol"]]
        if not mine:
            raise RefusedError(-2011, "Unknown order sent.")
        for order in mine:
            del self.orders[order.client_id]
        self.publish(sent["symbol"])
        return []

    def _report(self, order: Resting, execution: str, status: str, client_id: str, original: str) -> None:
        transport = self.subscribers.get(order.owner)
        if transport:
            event = {
                "e": "executionReport",
                "s": order.symbol,
                "x": execution,
                "X": status,
                "c": client_id,
                "C": original,
            }
            transport.send(WSMsgType.TEXT, json.dumps({"subscriptionId": 0, "event": event}).encode())


class _Listener(WSListener):
    def __init__(self, exchange: FakeExchange, path: str) -> None:
        self._exchange = exchange
        self._path = path
        self._session: dict[str, str] = {}

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._exchange.connections.append(transport)
        if self._path.startswith("/stream"):
            self._exchange.followers.append(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self._exchange.answer(transport, frame.get_payload_as_bytes(), self._session)


def _rest_handler(exchange: FakeExchange) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_rest_answer(exchange, self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _rest_answer(exchange: FakeExchange, path: str) -> Any:
    if path == "/api/v3/exchangeInfo":
        return {"symbols": [_description(symbol) for symbol in exchange.symbols]}
    route, _, symbol = path.partition("?symbol=")
    if route == "/api/v3/ticker/bookTicker":
        bid, ask = exchange.best(symbol)
        return {"symbol": symbol, "bidPrice": f"{bid:.8f}", "askPrice": f"{ask:.8f}"}
    assert route == "/api/v3/ticker/price"
    return {"symbol": symbol, "price": exchange.last_price}


def _description(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol[:3],
        "quoteAsset": symbol[3:],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01000000",
                "maxPrice": "1000000.00000000",
                "tickSize": "0.01000000",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
        ],
    }
