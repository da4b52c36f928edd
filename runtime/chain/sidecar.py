"""Stands beside a node, on the same host: relays questions while the node is believed, and says why when it is not.

The node itself listens on loopback only. What comes in here is answered while the node is believed, and only for the
methods of a short list. `GET /health` says 200 or 503, with every reason. `GET /alive` is what the load balancer asks:
a node that syncs is not believed, and a new host would only start over; a sidecar that looks no more needs a new host.
"""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import uvicorn
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from runtime.chain.health import BitcoinState, EthereumState, bitcoin_faults, ethereum_faults
from runtime.chain.rpc import REFUSED, NodeError, NodeRefusedError, Rpc
from runtime.shared import log, shell
from runtime.shared.settings import ADDRESS_PATTERN, read_settings
from runtime.shared.tasks import end
from runtime.shared.web import Server

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

POLL_S: Final = 5.0
STALE_S: Final = 3 * POLL_S
"""A verdict older than this is none."""
REQUEST_BYTES_MAX: Final = 256 * 1024
"""A raw transaction is the longest thing asked."""
IN_FLIGHT_MAX: Final = 32
METHODS: Final[Mapping[str, frozenset[str]]] = {
    "ethereum": frozenset(
        {
            "eth_blockNumber",
            "eth_call",
            "eth_chainId",
            "eth_estimateGas",
            "eth_feeHistory",
            "eth_getBalance",
            "eth_getBlockByHash",
            "eth_getBlockByNumber",
            "eth_getLogs",
            "eth_getTransactionByHash",
            "eth_getTransactionCount",
            "eth_getTransactionReceipt",
            "eth_sendRawTransaction",
        }
    ),
    "bitcoin": frozenset(
        {
            "estimatesmartfee",
            "getblock",
            "getblockchaininfo",
            "getblockcount",
            "getblockhash",
            "getrawtransaction",
            "gettxout",
            "sendrawtransaction",
            "testmempoolaccept",
        }
    ),
}
"""What may be asked: blocks, transactions, fees, and to pass a signed transaction on. No wallet, no administration."""
_METHOD_NOT_ALLOWED: Final = -32601
_UNBELIEVED: Final = -32000


class SidecarSettings(BaseSettings):
    """Environment of a sidecar."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    service: str
    listen_host: str = "127.0.0.1"
    listen_port: int = Field(ge=1, le=65_535)
    chain: Literal["ethereum", "bitcoin"]
    node_address: str = Field(pattern=ADDRESS_PATTERN)
    consensus_address: str = Field(default="", pattern=rf"{ADDRESS_PATTERN}|^$")
    """Of the consensus client; Ethereum only."""
    network: str = Field(min_length=1)
    """Chain id on Ethereum, as decimal digits; name of the chain on Bitcoin, such as main."""
    genesis: str = Field(min_length=64)
    rpc_cookie_file: str = ""
    """Where bitcoind writes the login of its RPC, user:password."""


class EthereumNode:
    """An execution client and its consensus client."""

    def __init__(self, settings: SidecarSettings) -> None:
        """Ask both at their addresses."""
        self.rpc = Rpc(settings.node_address)
        self._consensus = Rpc(settings.consensus_address)
        self._settings = settings

    async def faults(self, now_s: int) -> list[str]:
        """Return why the node is not believed."""
        call = self.rpc.call
        sync = await _known(lambda: self._consensus.get("/eth/v1/node/syncing"))
        data: Mapping[str, Any] = (sync or {}).get("data") or {}
        chain_id = await _known(lambda: call("eth_chainId"))
        genesis, head, finalized = [await self._block(name) for name in ("0x0", "latest", "finalized")]
        state = EthereumState(
            chain_id=_hexadecimal(chain_id),
            genesis=genesis.get("hash"),
            head_time_s=_hexadecimal(head.get("timestamp")),
            finalized_time_s=_hexadecimal(finalized.get("timestamp")),
            consensus_syncing=_boolean(data.get("is_syncing")),
            execution_offline=_boolean(data.get("el_offline")),
            optimistic=_boolean(data.get("is_optimistic")),
            sync_distance=_decimal(data.get("sync_distance")),
        )
        return ethereum_faults(state, chain_id=int(self._settings.network), genesis=self._settings.genesis, now_s=now_s)

    async def _block(self, name: str) -> Mapping[str, Any]:
        return _object(await _known(lambda: self.rpc.call("eth_getBlockByNumber", name, False)))  # noqa: FBT003


class BitcoinNode:
    """A bitcoind. Its login is read anew for each look, as it is another after each of its starts."""

    def __init__(self, settings: SidecarSettings) -> None:
        """Ask the node at its address."""
        self._settings = settings

    @property
    def rpc(self) -> Rpc:
        """A caller with the node's present login."""
        cookie = Path(self._settings.rpc_cookie_file)
        login = cookie.read_text().strip() if self._settings.rpc_cookie_file and cookie.exists() else ""
        return Rpc(self._settings.node_address, login=login)

    async def faults(self, now_s: int) -> list[str]:
        """Return why the node is not believed."""
        call = self.rpc.call
        chain = _object(await _known(lambda: call("getblockchaininfo")))
        network = _object(await _known(lambda: call("getnetworkinfo")))
        genesis = await _known(lambda: call("getblockhash", 0))
        state = BitcoinState(
            chain=chain.get("chain"),
            genesis=genesis,
            initial_download=_boolean(chain.get("initialblockdownload")),
            headers=_decimal(chain.get("headers")),
            blocks=_decimal(chain.get("blocks")),
            tip_time_s=_decimal(chain.get("time")),
            outbound_peers=_decimal(network.get("connections_out")),
        )
        return bitcoin_faults(state, chain=self._settings.network, genesis=self._settings.genesis, now_s=now_s)


class Sidecar:
    """The verdict on a node, and the door to it."""

    def __init__(self, settings: SidecarSettings, *, clock: Callable[[], float] = time.time) -> None:
        """Know nothing yet, so the node is not believed."""
        self._settings = settings
        self._node = EthereumNode(settings) if settings.chain == "ethereum" else BitcoinNode(settings)
        self._clock = clock
        self._faults = ["not looked at yet"]
        self._looked_at = 0.0
        self._in_flight = asyncio.Semaphore(IN_FLIGHT_MAX)

    @property
    def faults(self) -> list[str]:
        """Why the node is not believed now; empty when it is."""
        age = self._clock() - self._looked_at
        return self._faults if abs(age) <= STALE_S else [f"last looked at {age:.0f} s ago"]

    async def look(self) -> None:
        """Ask the node how it is."""
        before = bool(self._faults)
        self._faults = await self._node.faults(int(self._clock()))
        self._looked_at = self._clock()
        if bool(self._faults) != before:
            logger.warning(
                "the node is %s", "not believed" if self._faults else "believed", extra={"why": self._faults}
            )

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def alive(self, _request: Request) -> JSONResponse:
        """Answer the load balancer: whether the node is still looked at, believed or not."""
        age = abs(self._clock() - self._looked_at)
        return JSONResponse({"looked_at_s_ago": round(age)}, 200 if age <= STALE_S else 503)

    async def health(self, _request: Request) -> JSONResponse:
        """Tell whether the node is believed, and why not."""
        faults = self.faults
        return JSONResponse({"healthy": not faults, "faults": faults}, 503 if faults else 200)

    async def relay(self, request: Request) -> JSONResponse:
        """Pass one question to the node, and its answer back."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > REQUEST_BYTES_MAX:
                return _refused(None, _METHOD_NOT_ALLOWED, f"a request has at most {REQUEST_BYTES_MAX} bytes", 413)
        try:
            asked = json.loads(body)
            method, params, number = asked["method"], asked.get("params", []), asked.get("id")
        except (ValueError, TypeError, KeyError, AttributeError):
            return _refused(None, _METHOD_NOT_ALLOWED, "one JSON-RPC request is expected", 400)
        allowed = METHODS[self._settings.chain]
        if not isinstance(method, str) or method not in allowed or not isinstance(params, list):
            return _refused(number, _METHOD_NOT_ALLOWED, f"allowed with a list of params: {', '.join(sorted(allowed))}")
        if faults := self.faults:
            return _refused(number, _UNBELIEVED, "; ".join(faults), 503)
        if self._in_flight.locked():
            return _refused(number, _UNBELIEVED, f"more than {IN_FLIGHT_MAX} questions at once", 503)
        async with self._in_flight:
            try:
                result = await self._node.rpc.call(method, *params)
            except NodeRefusedError as error:
                return _refused(number, REFUSED, error.words)
            except NodeError as error:
                return _refused(number, _UNBELIEVED, str(error))
        return _Exact({"jsonrpc": "2.0", "id": number, "result": result})


class _Exact(JSONResponse):
    """JSON whose numbers are as the node wrote them."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - JSON
        return json.dumps(content, default=float).encode()


def app(sidecar: Sidecar) -> Starlette:
    """Return the three routes."""
    return Starlette(
        routes=[
            Route("/alive", sidecar.alive, methods=["GET"]),
            Route("/health", sidecar.health, methods=["GET"]),
            Route("/", sidecar.relay, methods=["POST"]),
        ]
    )


async def _known(question: Callable[[], Awaitable[Value]]) -> Value | None:
    """Return the answer, or None for none: what is unknown counts as unhealthy."""
    try:
        return await question()
    except NodeError as error:
        logger.debug("%s", error)
        return None


def _object(answer: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    return answer if isinstance(answer, dict) else {}


def _boolean(value: Any) -> bool | None:  # noqa: ANN401 - JSON
    return value if isinstance(value, bool) else None


def _decimal(value: Any) -> int | None:  # noqa: ANN401 - JSON; the consensus client writes its numbers as text
    text = str(value)
    return int(text) if not isinstance(value, bool) and text.isascii() and text.isdigit() else None


def _hexadecimal(value: Any) -> int | None:  # noqa: ANN401 - JSON
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        return None


def _refused(number: object, code: int, message: str, status: int = 200) -> JSONResponse:
    return JSONResponse({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}, status)


async def main(stopping: asyncio.Event) -> None:
    """Look at the node and answer until told to stop."""
    settings = read_settings(SidecarSettings)
    log.configure(settings.service)
    sidecar = Sidecar(settings)
    await sidecar.look()
    listening = socket.create_server((settings.listen_host, settings.listen_port))
    serving = Server(
        uvicorn.Config(app(sidecar), ws="none", lifespan="off", loop="none", log_config=None, access_log=False)
    )
    tasks = [asyncio.create_task(serving.serve(sockets=[listening])), asyncio.create_task(sidecar.watch())]
    told = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
    serving.should_exit = True
    for task in (tasks[1], told):
        await end(task)
    await tasks[0]
    if told not in done:
        raise RuntimeError("the sidecar ended by itself")


if __name__ == "__main__":
    shell.run(main)
