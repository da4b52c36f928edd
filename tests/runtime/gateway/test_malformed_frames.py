"""A thousand malformed frames to both endpoints: no crash, no hang, and every refusal is one that is documented."""

import asyncio
import contextlib
import json
import random
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runtime.gateway import ws
from runtime.gateway.errors import CODES
from runtime.gateway.limit_models import LimitSettings
from tests.runtime.gateway.test_ws import HANDSHAKE, Server, request, run
from tests.runtime.gateway.world import World
from tests.runtime.market_data.wire import until

FRAMES = 1_000
AT_ONCE = 25
ANSWER_TIMEOUT_S = 10.0
STREAM_CODES = {0, 1, 2, 3}
"""Errors of the stream protocol: unknown property, wrong type, bad request, bad JSON."""
TEXT, BINARY, CONTINUATION, CLOSE, PING = 0x1, 0x2, 0x0, 0x8, 0x9
PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF8, TOO_BIG, TRY_AGAIN_LATER = 1002, 1003, 1007, 1009, 1013
ANSWERED = 0
"""Not the end of the connection: an error, or for what is right by chance an answer."""

Bad = tuple[bytes, set[int]]
"""What to send, and the close codes that may follow; ANSWERED among them where an answer may come instead."""


def framed(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\1\2\3\4"
) -> bytes:
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if mask is not None else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def some_request(chance: random.Random) -> Any:
    return json.loads(
        chance.choice(
            [
                b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}',
                b'{"method":"SET_PROPERTY","params":["combined",true],"id":2}',
                request("depth", "a", symbol="BTCUSDT", limit=5),
                request("order.place", 7, symbol="BTCUSDT", side="BUY", type="LIMIT", apiKey="x" * 64, signature="y"),
                request("session.logon", None, apiKey="k", timestamp=1, signature="s"),
            ]
        )
    )


def anything(chance: random.Random, depth: int = 0) -> Any:
    """Return some JSON value, likely of the wrong type."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: chance.choice([True, False]),
        lambda: chance.choice([0, -1, 2**63, -(2**63) - 1, 10**30, 1.5, 1e308]),
        lambda: "".join(chance.choice('aé\u0000\U0001f600"\\/@!') for _ in range(chance.randrange(60))),
    ]
    if depth < 3:
        kinds.append(lambda: [anything(chance, depth + 1) for _ in range(chance.randrange(5))])
        kinds.append(
            lambda: {str(anything(chance, 3)): anything(chance, depth + 1) for _ in range(chance.randrange(5))}
        )
    return chance.choice(kinds)()


def broken_json(chance: random.Random) -> Bad:
    text = bytearray(json.dumps(some_request(chance)).encode())
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        match chance.randrange(3):
            case 0:
                del text[at:]
                text += b" "
            case 1:
                text[at] = chance.randrange(128)
            case _:
                text[at:at] = bytes([chance.choice(b'{}[]",:\\0')])
    return framed(TEXT, bytes(text)), {ANSWERED}


def wrong_types(chance: random.Random) -> Bad:
    message = some_request(chance)
    if chance.random() < 0.2:
        message = anything(chance)
    else:
        message[chance.choice([*message, "more"])] = anything(chance)
        if isinstance(message.get("params"), dict) and message["params"] and chance.random() < 0.5:
            message["params"][chance.choice(list(message["params"]))] = anything(chance)
    return framed(TEXT, json.dumps(message).encode()), {ANSWERED}


def deep(chance: random.Random) -> Bad:
    return framed(TEXT, chance.choice([b"[", b'{"a":', b'{"params":[']) * chance.randint(1_000, 5_000)), {ANSWERED}


def huge(chance: random.Random) -> Bad:
    size = chance.choice([ws.MESSAGE_BYTES_MAX + 1, 2**20, 2**31, 2**40, 2**62])
    return struct.pack("!BBQ", 0x80 | TEXT, 0xFF, size) + b"\0\0\0\0" + b"x" * chance.randrange(100), {TOO_BIG}


def long_text(chance: random.Random) -> Bad:
    return framed(TEXT, b"x" * chance.randint(70_000, ws.MESSAGE_BYTES_MAX), mask=b"\0\0\0\0"), {ANSWERED, TOO_BIG}


def long_in_parts(chance: random.Random) -> Bad:
    part = b"x" * 50_000
    parts = framed(CONTINUATION, part, fin=False) * chance.randint(3, 5)
    return framed(TEXT, part, fin=False) + parts, {TOO_BIG}


def binary(chance: random.Random) -> Bad:
    return framed(BINARY, chance.randbytes(chance.randrange(200)), fin=chance.random() < 0.8), {UNSUPPORTED}


def not_utf8(chance: random.Random) -> Bad:
    text = bytearray(json.dumps(some_request(chance)).encode())
    text[chance.randrange(len(text))] = chance.choice([0x80, 0xC0, 0xF8, 0xFF])
    return framed(TEXT, bytes(text)), {NOT_UTF8}


def wrong_order(chance: random.Random) -> Bad:
    if chance.random() < 0.5:
        return framed(CONTINUATION, b"{}", fin=chance.random() < 0.5), {PROTOCOL_ERROR}
    return framed(TEXT, b"{", fin=False) + framed(PING, b"p") + framed(TEXT, b"}"), {PROTOCOL_ERROR}


def unmasked(chance: random.Random) -> Bad:
    return framed(chance.choice([TEXT, BINARY, PING, CLOSE]), b"{}", mask=None), {PROTOCOL_ERROR}


def no_such_opcode(chance: random.Random) -> Bad:
    return framed(chance.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"{}"), {PROTOCOL_ERROR}


def reserved_bits(chance: random.Random) -> Bad:
    return framed(TEXT, b"{}", rsv=chance.randint(1, 7)), {PROTOCOL_ERROR}


def bad_control(chance: random.Random) -> Bad:
    return chance.choice(
        [
            (framed(PING, b"x" * 126), {PROTOCOL_ERROR}),
            (framed(PING, b"x", fin=False), {PROTOCOL_ERROR}),
            (framed(CLOSE, b"x"), {PROTOCOL_ERROR}),
            (framed(CLOSE, struct.pack("!H", chance.choice([0, 999, 1004, 1005, 1006, 2_999]))), {PROTOCOL_ERROR}),
            (framed(CLOSE, struct.pack("!H", 1000) + b"\xff"), {NOT_UTF8}),
        ]
    )


def length_the_long_way(chance: random.Random) -> Bad:
    size = chance.randrange(126)
    if chance.random() < 0.5:
        return struct.pack("!BBH", 0x80 | TEXT, 0xFE, size) + b"\0\0\0\0" + b"x" * size, {PROTOCOL_ERROR}
    return struct.pack("!BBQ", 0x80 | TEXT, 0xFF, size) + b"\0\0\0\0" + b"x" * size, {PROTOCOL_ERROR}


KINDS: tuple[Callable[[random.Random], Bad], ...] = (
    *(broken_json, wrong_types, deep, huge, long_text, long_in_parts, binary, not_utf8, wrong_order, unmasked),
    *(no_such_opcode, reserved_bits, bad_control, length_the_long_way),
)


class RawClient:
    """A client that may say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, path: bytes) -> "RawClient":
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(HANDSHAKE % path)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return cls(reader, writer)

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of what comes next."""
        first, size = await self.reader.readexactly(2)
        assert first & 0x70 == 0
        assert first & 0x80
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0xF, await self.reader.readexactly(size)

    async def message(self) -> tuple[int, bytes]:
        """Return the next that is neither ping nor pong."""
        while True:
            opcode, payload = await asyncio.wait_for(self.frame(), ANSWER_TIMEOUT_S)
            if opcode not in (0x9, 0xA):
                return opcode, payload


def check_answer(path: bytes, payload: bytes) -> None:
    """Check that an answer is right, or a refusal that is documented."""
    answer = json.loads(payload)
    error = answer.get("error")
    if path == b"/ws-api/v3":
        assert 200 <= answer["status"] < 500
        assert (answer["status"] == 200) == (error is None)
        assert error is None or (error["code"] in CODES and error["msg"])
    elif error is None:
        assert set(answer) == {"result", "id"}
    else:
        assert error["code"] in STREAM_CODES
        assert error["msg"]


async def attack(server: Server, path: bytes, bad: bytes, ends: set[int]) -> int:
    """Send something bad; return how it ended. Fail if that is not one of `ends`, or leads to a hang."""
    client = await RawClient.connect(server.port, path)
    try:
        client.writer.write(bad)
        opcode, payload = await client.message()
        if opcode == TEXT:
            assert ANSWERED in ends
            check_answer(path, payload)
            if b'"code":-1013' in payload and TOO_BIG in ends:
                opcode, payload = await client.message()  # the API says it in words before it ends
        if opcode == CLOSE:
            if ANSWERED in ends and path != b"/ws-api/v3":
                ends = ends | {TRY_AGAIN_LATER}  # what was right by chance: no market data is behind this gateway
            code = int.from_bytes(payload[:2], "big")
            assert code in ends, payload
            payload[2:].decode()
            client.writer.write(framed(CLOSE, payload[:2]))
            with contextlib.suppress(ConnectionResetError):  # where it went before it heard our goodbye
                assert await asyncio.wait_for(client.reader.read(), ANSWER_TIMEOUT_S) == b""
            return code
        good = {"id": 5, "method": "ping" if path == b"/ws-api/v3" else "LIST_SUBSCRIPTIONS"}
        client.writer.write(framed(TEXT, json.dumps(good).encode()))
        while json.loads(payload).get("id") != 5:
            opcode, payload = await client.message()
            assert opcode == TEXT
        return ANSWERED
    finally:
        client.writer.close()


def many(scenario: Callable[[Server], Awaitable[None]]) -> None:
    run(scenario, World(LimitSettings(connects_per_5_minutes=10**6, weight_per_minute=10**9)))


def test_a_thousand_malformed_frames(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: Server) -> None:
        watching = await RawClient.connect(server.port, b"/ws-api/v3")
        cases = [(KINDS[at % len(KINDS)], chance.choice([b"/ws", b"/stream", b"/ws-api/v3"])) for at in range(FRAMES)]

        async def some(part: int) -> None:
            for kind, path in cases[part::AT_ONCE]:
                bad, allowed = kind(chance)
                try:
                    seen.add((kind.__name__, await attack(server, path, bad, allowed)))
                except Exception as error:
                    raise AssertionError(f"{kind.__name__} to {path.decode()}: {bad[:300]!r} of seed {seed}") from error

        await asyncio.gather(*(some(part) for part in range(AT_ONCE)))
        watching.writer.write(framed(TEXT, request("ping", 9)))
        assert json.loads((await watching.message())[1])["status"] == 200
        watching.writer.close()
        await until(lambda: not server.gateway.connections, ANSWER_TIMEOUT_S)

    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    seen: set[tuple[str, int]] = set()
    many(scenario)
    assert {name for name, _ in seen} == {kind.__name__ for kind in KINDS}
    ours = [record for record in caplog.records if record.name.startswith("runtime")]
    assert [record.getMessage() for record in ours if record.exc_info] == []


def test_a_frame_that_is_cut_off_keeps_nobody() -> None:
    async def scenario(server: Server) -> None:
        whole = framed(TEXT, request("ping"))
        for cut in (1, 2, 5, len(whole) - 1):
            client = await RawClient.connect(server.port, b"/ws-api/v3")
            client.writer.write(whole[:cut])
            client.writer.close()
        await until(lambda: not server.gateway.connections, ANSWER_TIMEOUT_S)

    many(scenario)


def test_what_follows_a_fault_is_not_carried_out() -> None:
    async def scenario(server: Server) -> None:
        client = await RawClient.connect(server.port, b"/ws-api/v3")
        client.writer.write(framed(BINARY) + framed(TEXT, request("ping")))
        opcode, payload = await client.message()
        assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", UNSUPPORTED))
        assert await client.reader.read() == b""
        assert server.world.limiter.used_weight("127.0.0.1") == 2  # of the connection alone

    many(scenario)
