"""Length-prefixed frames between services: four bytes, big endian, then that many bytes, mostly msgpack."""

import asyncio
from typing import Final

FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""Larger frames are refused unread; senders split their batches long before."""
_PREFIX_BYTES: Final = 4


class FrameError(ConnectionError):
    """The peer sent, or was about to be sent, a frame over the limit; the connection is of no further use."""


def frame(payload: bytes, bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """Prefix `payload` with its length. Raises FrameError past `bytes_max`."""
    if len(payload) > bytes_max:
        msg = f"frame of {len(payload)} bytes; at most {bytes_max} are allowed"
        raise FrameError(msg)
    return len(payload).to_bytes(_PREFIX_BYTES, "big") + payload


def pack_list(items: list[bytes]) -> bytes:
    """Return the msgpack list of `items`, which are msgpack already; so each is encoded, and measured, once."""
    return b"\xdd" + len(items).to_bytes(4, "big") + b"".join(items)


async def read_frame(reader: asyncio.StreamReader, bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """Return the next payload.

    Raises FrameError for a length over `bytes_max` and asyncio.IncompleteReadError at the end of the stream.
    """
    size = int.from_bytes(await reader.readexactly(_PREFIX_BYTES), "big")
    if size > bytes_max:
        msg = f"peer announced a frame of {size} bytes; at most {bytes_max} are allowed"
        raise FrameError(msg)
    return await reader.readexactly(size)


class FrameSplitter:
    """Cuts a byte stream into payloads, for protocols that receive bytes in arbitrary pieces."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take `data`, return every payload that is now complete, in order. Raises FrameError as `read_frame`."""
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        position = 0
        while len(buffer) - position >= _PREFIX_BYTES:
            start = position + _PREFIX_BYTES
            size = int.from_bytes(buffer[position:start], "big")
            if size > FRAME_BYTES_MAX:
                msg = f"peer announced a frame of {size} bytes; at most {FRAME_BYTES_MAX} are allowed"
                raise FrameError(msg)
            if len(buffer) - start < size:
                break
            payloads.append(bytes(buffer[start : start + size]))
            position = start + size
        del buffer[:position]
        return payloads
