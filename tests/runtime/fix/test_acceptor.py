"""The acceptor on a socket: an answer or a reason, and always an end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from runtime.fix.codec import decode, encode
from runtime.fix.main import Acceptor

LOGON = encode([(35, "A"), (49, "CLIENT"), (56, "BURSA"), (34, "1")])
LIMIT_S = 20.0
"""Far above what anything here takes."""


def served(acceptor: Acceptor, talk: Callable[[int], Awaitable[bytes]]) -> bytes:
    """Return what `talk` heard from a server on the port it is given."""

    async def run() -> bytes:
        async with asyncio.timeout(LIMIT_S):
            server = await asyncio.start_server(acceptor.serve, "127.0.0.1", 0)
            async with server:
                return await talk(server.sockets[0].getsockname()[1])

    return asyncio.run(run())


def saying(*parts: bytes, ends: bool = False) -> Callable[[int], Awaitable[bytes]]:
    async def talk(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
        heard = await reader.read()
        writer.close()
        return heard

    return talk


@pytest.mark.parametrize("cut", [0, 1, 10, len(LOGON) - 1])
def test_a_logon_is_answered_however_it_arrives(cut: int) -> None:
    fields = decode(served(Acceptor(), saying(LOGON[:cut], LOGON[cut:])))
    assert fields
    assert dict(fields)[35] == "5"
    assert "not built" in dict(fields)[58]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "begins with"),
        (b"8=FIX.4.4\x019=9999\x01", "at most"),
        (b"\x00" * 100_000, "begins with"),
        (encode([(35, "D"), (49, "CLIENT"), (56, "BURSA")]), "Logon"),
    ],
    ids=["http", "oversize", "flood", "order"],
)
def test_what_is_no_logon_is_closed_with_its_reason(
    given: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        heard = served(Acceptor(), saying(given))
    except ConnectionError:
        heard = b""  # closed before all of it was sent
    assert heard == b""
    assert [reason in record.__dict__["reason"] for record in caplog.records if record.levelno == logging.WARNING] == [
        True
    ]


def test_half_a_logon_is_closed_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    assert served(Acceptor(), saying(LOGON[:20], ends=True)) == b""
    assert "ended within" in caplog.records[-1].__dict__["reason"]


def test_silence_is_closed_and_a_health_check_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    assert served(Acceptor(logon_timeout_s=0.05), saying()) == b""
    assert "no Logon" in caplog.records[-1].__dict__["reason"]
    caplog.clear()
    assert served(Acceptor(), saying(ends=True)) == b""
    assert [record for record in caplog.records if record.name.startswith("runtime")] == []


def test_past_the_limit_a_connection_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert served(Acceptor(connections_max=0), saying()) == b""
    assert "0 are open" in caplog.records[-1].__dict__["reason"]
