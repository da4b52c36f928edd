"""A simulated Ethereum for one machine: blocks every few seconds, transfers out of nothing, reorganizations on demand.

It answers the JSON-RPC that a node's sidecar asks of an execution client, and the status that it asks of a consensus
client. Nothing is proven and nothing signed: hashes are of what a block says, and its coins come from nowhere. Blocks
are kept in a file, so a second `make up` finds the same chain, as it would find the same Ethereum.

For tests and people it also takes `sim_pay` (address, wei), `sim_pay_token` (contract, address, units), `sim_mine`
(count) and `sim_reorganize` (depth): the last `depth` blocks are replaced by as many empty ones and one more, and what
was in them is dropped for ever.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from runtime.shared.ethereum import address_bytes, keccak256

HOST: Final = "127.0.0.1"
CHAIN_ID: Final = 31_337
GENESIS_TIME_S: Final = 1_700_000_000
BLOCK_S: Final = 4.0
FINAL_DEPTH: Final = 2
BODY_BYTES_MAX: Final = 1 << 20
TRANSFER_TOPIC: Final = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
FAUCET: Final = "0x" + "fa" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One transaction: coins to `to`, or, with a `contract`, units of that token."""

    hash: str
    to: str
    amount: int
    contract: str = ""
    succeeds: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBlock:
    """One block."""

    number: int
    parent: str
    time_s: int
    salt: int
    payments: tuple[Payment, ...] = ()
    hash: str = field(default="")

    def sealed(self) -> "SimBlock":
        """Return the block with the hash of what it says."""
        said = json.dumps(asdict(self) | {"hash": ""}, sort_keys=True)
        return SimBlock(**{**_fields(self), "hash": "0x" + sha256(said.encode()).hexdigest()})


def _fields(block: SimBlock) -> dict[str, Any]:
    return {name: getattr(block, name) for name in SimBlock.__slots__}


GENESIS: Final = SimBlock(number=0, parent="0x" + "00" * 32, time_s=GENESIS_TIME_S, salt=0).sealed()


class Chain:
    """The blocks, and the transactions that wait for the next one. Deterministic but for the time it is given."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """Take up the chain of `file`, or begin one."""
        self._file = file
        self._clock = clock
        self._lock = threading.RLock()
        self._waiting: list[Payment] = []
        self._count = 0
        self.blocks = [GENESIS]
        if file is not None and file.exists():
            for line in file.read_text().splitlines():
                self._take(_read(json.loads(line)))

    def mine(self, count: int = 1) -> SimBlock:
        """Append `count` blocks; the first holds what waits."""
        with self._lock:
            for _ in range(count):
                self._append(tuple(self._waiting))
                self._waiting.clear()
            return self.blocks[-1]

    def pay(self, to: str, amount: int, *, contract: str = "", succeeds: bool = True) -> str:
        """Let a payment wait for the next block; return its hash. Raises ValueError for what is no address."""
        address_bytes(to)
        if contract:
            address_bytes(contract)
        with self._lock:
            self._count += 1
            said = f"{self.blocks[-1].hash}/{self._count}/{to}/{amount}/{contract}"
            transaction = "0x" + sha256(said.encode()).hexdigest()
            self._waiting.append(Payment(hash=transaction, to=to, amount=amount, contract=contract, succeeds=succeeds))
            return transaction

    def reorganize(self, depth: int, *, keep: bool = False) -> None:
        """Replace the last `depth` blocks by one more; with `keep` their payments are in the first of the new ones."""
        with self._lock:
            if not 0 < depth < len(self.blocks):
                raise ValueError(f"depth must be 1 to {len(self.blocks) - 1}, was {depth}")
            dropped = self.blocks[-depth:]
            del self.blocks[-depth:]
            kept = tuple(payment for block in dropped for payment in block.payments) if keep else ()
            for at in range(depth + 1):
                self._append(kept if at == 0 else (), salt=dropped[0].salt + 1)

    def answer(self, method: str, params: list[Any]) -> Any:  # noqa: ANN401 - JSON
        """Return the result of a call. Raises LookupError for an unknown method."""
        with self._lock:
            return _METHODS[method](self, *params)

    def block_named(self, name: str) -> SimBlock | None:
        """Return the block of a tag or number."""
        final = max(0, len(self.blocks) - 1 - FINAL_DEPTH)
        tags = {"latest": len(self.blocks) - 1, "safe": final, "finalized": final, "earliest": 0}
        number = tags[name] if name in tags else int(name, 16)
        return self.blocks[number] if number < len(self.blocks) else None

    def block_with_hash(self, block_hash: str) -> SimBlock | None:
        """Return the block, if it is in the chain."""
        return next((block for block in reversed(self.blocks) if block.hash == block_hash), None)

    def found(self, transaction: str) -> tuple[SimBlock, Payment] | None:
        """Return a transaction and its block."""
        for block in reversed(self.blocks):
            for payment in block.payments:
                if payment.hash == transaction:
                    return block, payment
        return None

    def _append(self, payments: tuple[Payment, ...], salt: int = 0) -> None:
        parent = self.blocks[-1]
        now_s = max(int(self._clock()), parent.time_s)
        block = SimBlock(
            number=parent.number + 1, parent=parent.hash, time_s=now_s, salt=salt, payments=payments
        ).sealed()
        self.blocks.append(block)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(block)) + "\n")

    def _take(self, block: SimBlock) -> None:
        """Take a block of the file; one of lower height replaces what stood there and above."""
        del self.blocks[block.number :]
        self.blocks.append(block)


def _read(raw: dict[str, Any]) -> SimBlock:
    return SimBlock(**{**raw, "payments": tuple(Payment(**each) for each in raw["payments"])})


def _shown(block: SimBlock | None, *, whole: bool) -> dict[str, Any] | None:
    if block is None:
        return None
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "timestamp": hex(block.time_s),
        "transactions": [
            {
                "hash": each.hash,
                "blockHash": block.hash,
                "from": FAUCET,
                "to": (each.contract or each.to).lower(),
                "value": hex(0 if each.contract else each.amount),
            }
            if whole
            else each.hash
            for each in block.payments
        ],
    }


def _receipt(chain: Chain, transaction: str) -> dict[str, Any] | None:
    found = chain.found(transaction)
    if found is None:
        return None
    block, payment = found
    return {
        "transactionHash": transaction,
        "blockHash": block.hash,
        "blockNumber": hex(block.number),
        "status": hex(payment.succeeds),
        "logs": [log for log in _logs_of(block) if log["transactionHash"] == transaction],
    }


def _logs_of(block: SimBlock) -> list[dict[str, Any]]:
    tokens = [each for each in block.payments if each.contract and each.succeeds]
    return [
        {
            "address": each.contract.lower(),
            "blockHash": block.hash,
            "transactionHash": each.hash,
            "logIndex": hex(at),
            "topics": [TRANSFER_TOPIC, _word(FAUCET), _word(each.to)],
            "data": f"0x{each.amount:064x}",
            "removed": False,
        }
        for at, each in enumerate(tokens)
    ]


def _word(address: str) -> str:
    return "0x" + address.removeprefix("0x").lower().rjust(64, "0")


def _logs(chain: Chain, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    block = chain.block_with_hash(wanted["blockHash"])
    contracts = {each.lower() for each in wanted["address"]}
    return [log for log in _logs_of(block) if log["address"] in contracts] if block else []


_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "eth_blockNumber": lambda chain: hex(len(chain.blocks) - 1),
    "eth_chainId": lambda _chain: hex(CHAIN_ID),
    "eth_getBlockByHash": lambda chain, block_hash, whole: _shown(chain.block_with_hash(block_hash), whole=whole),
    "eth_getBlockByNumber": lambda chain, name, whole: _shown(chain.block_named(name), whole=whole),
    "eth_getLogs": _logs,
    "eth_getTransactionReceipt": _receipt,
    "sim_mine": lambda chain, count=1: chain.mine(count).hash,
    "sim_pay": lambda chain, to, amount: chain.pay(to, int(amount)),
    "sim_pay_token": lambda chain, contract, to, amount: chain.pay(to, int(amount), contract=contract),
    "sim_reorganize": lambda chain, depth: chain.reorganize(depth),
}
_SYNCING: Final = {"is_syncing": False, "el_offline": False, "is_optimistic": False, "sync_distance": "0"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chain: Chain

    def do_GET(self) -> None:
        """Answer as a consensus client."""
        self._send({"data": _SYNCING} if self.path == "/eth/v1/node/syncing" else {"code": 404})

    def do_POST(self) -> None:
        """Answer as an execution client."""
        length = int(self.headers.get("Content-Length", 0))
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            return
        try:
            asked = json.loads(self.rfile.read(length))
            answer = {"result": self.chain.answer(asked["method"], asked.get("params", []))}
        except (LookupError, TypeError, ValueError) as error:
            asked, answer = {}, {"error": {"code": -32_601, "message": f"{type(error).__name__}: {error}"}}
        self._send({"jsonrpc": "2.0", "id": asked.get("id"), **answer})

    def _send(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as overridden
        """Say nothing: questions come every second."""


def serve(chain: Chain, port: int) -> ThreadingHTTPServer:
    """Return a server of `chain` on loopback, not yet serving; port 0 takes any."""
    handler = type("Handler", (_Handler,), {"chain": chain})
    return ThreadingHTTPServer((HOST, port), handler)


def main() -> None:
    """Serve, and mine a block every BLOCK_S."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    chain = Chain(arguments.file)
    chain.mine()
    server = serve(chain, arguments.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(BLOCK_S)
        chain.mine()


if __name__ == "__main__":
    main()
