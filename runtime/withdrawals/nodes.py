"""The port to the chain: hands a signed transaction to the nodes of Ethereum by JSON-RPC."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final, Protocol

TIMEOUT_S: Final = 10
ANSWER_BYTES_MAX: Final = 256 * 1024


class NodeError(RuntimeError):
    """No node took the transaction. It may be known to one all the same."""


class Chain(Protocol):
    """Whoever takes transactions to a chain."""

    def send(self, raw_transaction: str, transaction_id: str) -> bool:
        """Return whether a node has the transaction now; False when no node is configured. Raises NodeError."""


class EthereumNodes:
    """Nodes at `urls`, all of which are asked: what one has lost, another still has."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Use these addresses; none at all is allowed, and said so by `send`."""
        self._urls = urls

    def send(self, raw_transaction: str, transaction_id: str) -> bool:
        """Return whether a node has the transaction now; False when no node is configured. Raises NodeError."""
        if not self._urls:
            return False
        problems = [self._refusal(url, raw_transaction, transaction_id) for url in self._urls]
        if all(problems):
            raise NodeError("; ".join(problem for problem in problems if problem))
        return True

    def _refusal(self, url: str, raw_transaction: str, transaction_id: str) -> str:
        """Return why a node has not got the transaction; empty when it has."""
        try:
            answer = _called(url, "eth_sendRawTransaction", "0x" + raw_transaction)
            if answer.get("result") == transaction_id:
                return ""
            # Sent before, or mined already: a node then refuses what it knows.
            if _called(url, "eth_getTransactionByHash", transaction_id).get("result"):
                return ""
        except (OSError, ValueError) as problem:
            return f"{type(problem).__name__}: {problem}"
        error = answer.get("error")
        return str(error.get("message") if isinstance(error, dict) else f"answered {answer.get('result')!r}")[:200]


def _called(url: str, method: str, parameter: str) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": [parameter]}).encode()
    request = urllib.request.Request(  # noqa: S310 - an address of our own configuration
        url, body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
        data = answer.read(ANSWER_BYTES_MAX + 1)
    decoded = json.loads(data) if len(data) <= ANSWER_BYTES_MAX else None
    if not isinstance(decoded, dict):
        raise ValueError("the node answered no JSON object, or too much")  # noqa: TRY004 - a wrong answer
    return decoded
