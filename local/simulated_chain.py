"""A simulated Ethereum for one machine: blocks every few seconds, transfers out of nothing, reorganizations on demand.

It answers the JSON-RPC that a node's sidecar asks of an execution client, and the status that it asks of a consensus
client. Blocks prove nothing: their hashes are of what they say, and coins of the faucet come from nowhere. A signed
transfer is held to Ethereum's rules: chain id, signature, number, balance and fees decide whether it is taken, and it
waits for the one before it. Blocks are kept in a file, so a second `make up` finds the same chain, as it would find the
same Ethereum; what waits for a block is not kept.

For tests and people it also takes `sim_pay` (address, wei), `sim_pay_token` (contract, address, units), `sim_mine`
(count), `sim_forget` (drop what waits) and `sim_reorganize` (depth): the last `depth` blocks are replaced by as many
empty ones and one more, and what was in them is dropped until somebody sends it again.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from coincurve import PublicKey

from runtime.chain.rpc import NodeRefusedError
from runtime.chain.transactions import SignedTransfer, TransactionError, read_transfer
from runtime.shared.ethereum import address_bytes, address_of, checksummed, keccak256

HOST: Final = "127.0.0.1"
CHAIN_ID: Final = 31_337
GENESIS_TIME_S: Final = 1_700_000_000
BLOCK_S: Final = 4.0
FINAL_DEPTH: Final = 2
BODY_BYTES_MAX: Final = 1 << 20
TRANSFER_TOPIC: Final = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
FAUCET: Final = "0x" + "fa" * 20
BASE_FEE: Final = 10**9
"""Wei for each unit of gas, burnt; on the true chain it moves."""
GAS_USED: Final = 21_000
REPLACEMENT_PERCENT: Final = 110
"""A transaction that takes another's place must offer so much of its fees."""
_REFUSED: Final = -32_000
_BALANCE_OF: Final = "0x" + keccak256(b"balanceOf(address)").hex()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One transaction: coins to `to`, or, with a `contract`, units of that token."""

    hash: str
    to: str
    amount: int
    contract: str = ""
    succeeds: bool = True
    sender: str = FAUCET
    nonce: int = 0
    """Of a signed transfer."""
    gas_price: int = 0
    """Wei that its sender pays for each unit of gas; 0 for the faucet."""


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
        self._pool: dict[tuple[str, int], SignedTransfer] = {}
        """Signed transfers by sender and number."""
        self._paying: list[SimBlock] = []
        """The blocks that hold anything, which are few."""
        self.refusing: set[str] = set()
        """Contracts that take no ether: a transfer to one of them fails, and its fee is spent."""
        self._count = 0
        self.blocks = [GENESIS]
        if file is not None and file.exists():
            for line in file.read_text().splitlines():
                self._take(_read(json.loads(line)))

    def mine(self, count: int = 1) -> SimBlock:
        """Append `count` blocks; the first holds what waits."""
        with self._lock:
            for _ in range(count):
                self._append((*self._waiting, *self._executable()))
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

    def send(self, raw_transaction: str) -> str:
        """Let a signed transfer wait for the next block; return its id. Raises NodeRefusedError as a node refuses."""
        try:
            wanted = read_transfer(bytes.fromhex(raw_transaction.removeprefix("0x")))
        except (TransactionError, ValueError) as error:
            raise _refusal(f"invalid transaction: {error}") from None
        sender = sender_of(wanted)
        with self._lock:
            if wanted.chain_id != CHAIN_ID:
                raise _refusal(f"invalid chain id for signer: have {wanted.chain_id} want {CHAIN_ID}")
            if wanted.gas < GAS_USED:
                raise _refusal(f"intrinsic gas too low: gas {wanted.gas}, minimum needed {GAS_USED}")
            if wanted.priority_fee_per_gas_max > wanted.fee_per_gas_max:
                raise _refusal("max priority fee per gas higher than max fee per gas")
            following = self.nonce_of(sender)
            if wanted.nonce < following:
                raise _refusal(f"nonce too low: next nonce {following}, tx nonce {wanted.nonce}")
            if (balance := self.balance_of(sender)) < wanted.cost_max:
                raise _refusal(
                    f"insufficient funds for gas * price + value: balance {balance}, tx cost {wanted.cost_max}"
                )
            place = sender, wanted.nonce
            if other := self._pool.get(place):
                if other.hash == wanted.hash:
                    raise _refusal("already known")
                offers = (wanted.fee_per_gas_max, wanted.priority_fee_per_gas_max)
                asked = (other.fee_per_gas_max, other.priority_fee_per_gas_max)
                if any(100 * new < REPLACEMENT_PERCENT * old for new, old in zip(offers, asked, strict=True)):
                    raise _refusal("replacement transaction underpriced")
            self._pool[place] = wanted
            return wanted.hash

    def forget(self) -> None:
        """Drop what waits for a block, as a node does that starts again."""
        with self._lock:
            self._waiting.clear()
            self._pool.clear()

    def waiting(self, transaction: str) -> tuple[str, SignedTransfer] | None:
        """Return a signed transfer that waits for its block, and its sender."""
        return next(((sender, each) for (sender, _), each in self._pool.items() if each.hash == transaction), None)

    def nonce_of(self, address: str, height: int | None = None) -> int:
        """Return the number of the next transfer that an address signs, after the block at `height`."""
        return sum(payment.sender == address for payment in self._payments(height) if payment.sender != FAUCET)

    def balance_of(self, address: str, height: int | None = None, contract: str = "") -> int:
        """Return what an address has after the block at `height`: wei, or units of a token."""
        total = 0
        for payment in self._payments(height):
            if not contract and payment.sender == address:
                total -= GAS_USED * payment.gas_price + payment.amount * payment.succeeds
            if payment.succeeds and payment.contract.lower() == contract and payment.to.lower() == address.lower():
                total += payment.amount
        return total

    def _payments(self, height: int | None) -> Iterator[Payment]:
        return (
            payment for block in self._paying if height is None or block.number <= height for payment in block.payments
        )

    def _executable(self) -> list[Payment]:
        """Take out of the pool what the next block can hold: of each sender in order, as long as the balance lasts."""
        taken: list[Payment] = []
        for sender in sorted({sender for sender, _ in self._pool}):
            nonce, left = self.nonce_of(sender), self.balance_of(sender)
            for stale in [place for place in self._pool if place[0] == sender and place[1] < nonce]:
                del self._pool[stale]
            while (found := self._pool.get((sender, nonce))) and found.cost_max <= left:
                price = min(found.fee_per_gas_max, BASE_FEE + found.priority_fee_per_gas_max)
                if found.fee_per_gas_max < BASE_FEE:
                    break
                del self._pool[sender, nonce]
                left -= found.value + GAS_USED * price
                taken.append(
                    Payment(
                        hash=found.hash,
                        to=found.to,
                        amount=found.value,
                        succeeds=found.to not in self.refusing,
                        sender=sender,
                        nonce=nonce,
                        gas_price=price,
                    )
                )
                nonce += 1
        return taken

    def reorganize(self, depth: int, *, keep: bool = False) -> None:
        """Replace the last `depth` blocks by one more; with `keep` their payments are in the first of the new ones."""
        with self._lock:
            if not 0 < depth < len(self.blocks):
                raise ValueError(f"depth must be 1 to {len(self.blocks) - 1}, was {depth}")
            dropped = self.blocks[-depth:]
            self._cut(len(self.blocks) - depth)
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

    def height_named(self, name: str) -> int:
        """Return the height of a tag or number. Raises NodeRefusedError for a block that there is not."""
        block = self.block_named(name)
        if block is None:
            raise _refusal("header not found")
        return block.number

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
        self._add(block)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(block)) + "\n")

    def _take(self, block: SimBlock) -> None:
        """Take a block of the file; one of lower height replaces what stood there and above."""
        self._cut(block.number)
        self._add(block)

    def _add(self, block: SimBlock) -> None:
        self.blocks.append(block)
        if block.payments:
            self._paying.append(block)

    def _cut(self, height: int) -> None:
        """Remove the blocks from `height` on."""
        del self.blocks[height:]
        while self._paying and self._paying[-1].number >= height:
            self._paying.pop()


def sender_of(transfer: SignedTransfer) -> str:
    """Return the address whose key signed a transfer. Raises NodeRefusedError for a signature of no key."""
    try:
        key = PublicKey.from_signature_and_message(transfer.signature, transfer.digest, hasher=None)
    except ValueError as error:
        raise _refusal(f"invalid sender: {error}") from None
    return address_of(key.format(compressed=False))


def _refusal(words: str) -> NodeRefusedError:
    return NodeRefusedError("eth_sendRawTransaction", {"code": _REFUSED, "message": words})


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
        "transactions": [_transfer_shown(block, each) if whole else each.hash for each in block.payments],
    }


def _transfer_shown(block: SimBlock, payment: Payment) -> dict[str, Any]:
    return {
        "hash": payment.hash,
        "blockHash": block.hash,
        "from": payment.sender.lower(),
        "nonce": hex(payment.nonce),
        "to": (payment.contract or payment.to).lower(),
        "value": hex(0 if payment.contract else payment.amount),
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
        "from": payment.sender.lower(),
        "to": (payment.contract or payment.to).lower(),
        "gasUsed": hex(GAS_USED),
        "effectiveGasPrice": hex(payment.gas_price),
        "logs": [log for log in _logs_of(block) if log["transactionHash"] == transaction],
    }


def _transaction(chain: Chain, transaction: str) -> dict[str, Any] | None:
    if found := chain.found(transaction):
        block, payment = found
        return _transfer_shown(block, payment)
    if found_waiting := chain.waiting(transaction):
        sender, waiting = found_waiting
        return {
            "hash": waiting.hash,
            "blockHash": None,
            "from": sender.lower(),
            "to": waiting.to.lower(),
            "nonce": hex(waiting.nonce),
            "value": hex(waiting.value),
        }
    return None


def _called(chain: Chain, call: Mapping[str, str], name: str) -> str:
    """Answer `balanceOf` of any token; no other method is simulated."""
    method, owner = call["data"][:10], "0x" + call["data"][-40:]
    if method != _BALANCE_OF:
        raise _refusal("execution reverted")
    return f"0x{chain.balance_of(owner, chain.height_named(name), call['to'].lower()):064x}"


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


@cache
def _checksummed(address: str) -> str:
    return checksummed(bytes.fromhex(address.removeprefix("0x")))


def _word(address: str) -> str:
    return "0x" + address.removeprefix("0x").lower().rjust(64, "0")


def _logs(chain: Chain, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    block = chain.block_with_hash(wanted["blockHash"])
    contracts = {each.lower() for each in wanted["address"]}
    return [log for log in _logs_of(block) if log["address"] in contracts] if block else []


_METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "eth_call": _called,
    "eth_getBalance": lambda chain, address, name: hex(
        chain.balance_of(_checksummed(address), chain.height_named(name))
    ),
    "eth_getTransactionByHash": _transaction,
    "eth_getTransactionCount": lambda chain, address, name: hex(
        chain.nonce_of(_checksummed(address), chain.height_named(name))
    ),
    "eth_sendRawTransaction": lambda chain, raw: chain.send(raw),
    "sim_forget": lambda chain: chain.forget(),
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
        except NodeRefusedError as error:
            answer = {"error": {"code": error.code, "message": error.words}}
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
