"""One node's API over HTTP: JSON-RPC, and plain GET for a consensus client. Whatever goes wrong is a NodeError."""

import asyncio
import base64
import http.client
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from runtime.shared.settings import split_address

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""A whole block of Bitcoin with every output stays below; a longer answer is refused."""
WORDS_MAX: Final = 200
"""Characters of an error that are passed on."""
REFUSED: Final = -32003
"""Code by which a sidecar says that the node itself refused, and why (EIP-1474: transaction rejected)."""
_OK: Final = 200
_Found = TypeVar("_Found")


class NodeError(Exception):
    """The node did not answer, or not what was asked. The message says what it was asked and why it is refused."""


class NodeRefusedError(NodeError):
    """The node answered an error: it understood the call and refused it."""

    def __init__(self, method: str, error: object) -> None:
        """Keep code and words of a JSON-RPC error."""
        told: Mapping[str, Any] = error if isinstance(error, dict) else {}
        code = told.get("code")
        self.code = code if isinstance(code, int) else 0
        self.words = str(told.get("message", error))[:WORDS_MAX]
        super().__init__(f"{method}: the node answers {str(error)[:WORDS_MAX]}")


class Rpc:
    """Calls one node; a connection for each call, so that nothing is left of one that failed."""

    def __init__(self, address: str, *, login: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """Call the node at `address`, host:port; `login` is user:password where it wants one."""
        self._host, self._port = split_address(address)
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json"}
        if login:
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    async def call(self, method: str, *params: object) -> Any:  # noqa: ANN401 - JSON
        """Return the result of `method`; numbers with a point come as Decimal. Raises NodeError, NodeRefusedError."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self._asked("POST", "/", method, body)
        if answer.get("error"):
            raise NodeRefusedError(method, answer["error"])
        if "result" not in answer:
            raise NodeError(f"{method}: the answer has no result")
        return answer["result"]

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the JSON object at `path`. Raises NodeError."""
        return await self._asked("GET", path, path, None)

    async def _asked(self, verb: str, path: str, what: str, body: object) -> dict[str, Any]:
        text = json.dumps(body).encode() if body is not None else None
        try:
            status, content = await asyncio.to_thread(self._exchange, verb, path, text)
        except (OSError, http.client.HTTPException) as error:
            raise NodeError(f"{what}: {type(error).__name__}: {error}") from None
        if len(content) > ANSWER_BYTES_MAX:
            raise NodeError(f"{what}: the answer is longer than {ANSWER_BYTES_MAX} bytes")
        try:
            answer = json.loads(content, parse_float=Decimal)
        except ValueError:
            raise NodeError(f"{what}: status {status}, and no JSON") from None
        if not isinstance(answer, dict):
            raise NodeError(f"{what}: the answer is no JSON object")
        if status != _OK and not answer.get("error"):  # Bitcoin tells its errors with status 500
            raise NodeError(f"{what}: status {status}")
        return answer

    def _exchange(self, verb: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(verb, path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_BYTES_MAX + 1)
        finally:
            connection.close()


async def ask_all(
    nodes: Iterable[Rpc], question: Callable[[Rpc], Awaitable[_Found]]
) -> tuple[list[_Found], list[NodeError]]:
    """Ask every node at the same time; return the answers of those that answer, and why the others do not."""
    answers: list[_Found] = []
    problems: list[NodeError] = []
    for told in await asyncio.gather(*map(question, nodes), return_exceptions=True):
        if isinstance(told, NodeError):
            problems.append(told)
        elif isinstance(told, BaseException):
            raise told
        else:
            answers.append(told)
    return answers, problems
