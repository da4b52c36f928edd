"""What goes out to one gateway: batches in one frame, and never more than it reads."""

import asyncio
import logging
from typing import Final, Protocol

from runtime.shared.frames import frame
from runtime.shared.market_messages import Followed, Published, Reset, Told
from runtime.shared.messages import encode

logger = logging.getLogger(__name__)

OUTPUT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Unread output past which a gateway has fallen behind; enough for seconds of every stream."""
RESUME_BYTES: Final = OUTPUT_BYTES_MAX // 4
FRAME_BYTES: Final = 1024 * 1024
"""A batch is split into frames of about this size."""
_FIXARRAY_MAX: Final = 15
_ARRAY16_MAX: Final = 0xFFFF


class Transport(Protocol):
    """The part of asyncio's write transport that is used."""

    def write(self, data: bytes) -> None:
        """Send without waiting."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the peer has not taken yet."""

    def is_closing(self) -> bool:
        """Tell whether sending is over."""


def encode_published(stream: str, payload: bytes) -> bytes:
    """Return one event as it stands in every gateway's frame: encoded once, however many follow."""
    return encode(Published(stream, payload))


def array_frame(elements: list[bytes]) -> bytes:
    """Return the frame that holds `elements`, each the msgpack of one message."""
    count = len(elements)
    if count <= _FIXARRAY_MAX:
        head = bytes((0x90 | count,))
    elif count <= _ARRAY16_MAX:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return frame(head + b"".join(elements))


class GatewayLink:
    """One gateway. Events wait for `flush`; when the gateway does not keep up they are dropped, and it is told."""

    def __init__(self, transport: Transport, name: str) -> None:
        """Send through `transport`; `name` is for the log."""
        self.name = name
        self.streams: dict[str, None] = {}
        self._transport = transport
        self._elements: list[bytes] = []
        self._bytes = 0
        self._is_behind = False

    def publish(self, element: bytes) -> None:
        """Add one event, from `encode_published`, to the next frame."""
        if self._is_behind:
            return
        self._elements.append(element)
        self._bytes += len(element)
        if self._bytes >= FRAME_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send the events that wait, unless the gateway has too much unread: then it misses them and what follows."""
        if not self._elements:
            return
        elements, self._elements, self._bytes = self._elements, [], 0
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > OUTPUT_BYTES_MAX:
            self._is_behind = True
            logger.warning("gateway %s does not keep up: its streams pause", self.name)
            return
        self._transport.write(array_frame(elements))

    def recover(self) -> None:
        """Resume, once the gateway has read most of what it had; tell it which streams lack something."""
        if self._is_behind and self._transport.get_write_buffer_size() < RESUME_BYTES:
            self._is_behind = False
            self.tell(Reset(list(self.streams), "market data was produced faster than this gateway took it"))
            logger.info("gateway %s caught up", self.name)

    def tell(self, message: Told | Followed | Reset) -> None:
        """Send one message now, after the events that wait."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(frame(encode([message])))


def bound_output(writer: asyncio.StreamWriter) -> None:
    """Have `drain` wait while more is unread than a gateway that keeps up ever leaves."""
    writer.transport.set_write_buffer_limits(high=OUTPUT_BYTES_MAX, low=RESUME_BYTES)
