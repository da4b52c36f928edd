"""Sockets between an enclave and its parent: vsock in AWS, a unix socket on one machine; the same frames on both."""

import asyncio
import socket
from pathlib import Path
from typing import Final

VSOCK: Final = "vsock"
UNIX: Final = "unix"
PARENT_CID: Final = 3
"""Context id of the parent, the same on every host."""
CONNECTIONS_MAX: Final = 64
_PRIVATE: Final = 0o600


class AddressError(ValueError):
    """The text names no socket."""


def _split(address: str) -> tuple[str, str, int]:
    """Return family, path and port: `unix:/path` or `vsock:PORT` (to listen) or `vsock:CID:PORT` (to connect)."""
    family, _, rest = address.partition(":")
    if family == UNIX and rest.startswith("/"):
        return family, rest, 0
    cid, _, port = rest.rpartition(":")
    if family == VSOCK and port.isdigit() and (cid.isdigit() or not cid):
        return family, cid, int(port)
    raise AddressError(f"a socket is unix:/path, vsock:PORT or vsock:CID:PORT, was {address!r}")


def listening(address: str) -> socket.socket:
    """Return a listening socket. A unix socket is for its owner alone and takes the place of an old one."""
    family, path, port = _split(address)
    if family == UNIX:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(path).unlink(missing_ok=True)
        bound.bind(path)
        Path(path).chmod(_PRIVATE)
    else:
        bound = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        bound.bind((socket.VMADDR_CID_ANY, port))
    bound.listen(CONNECTIONS_MAX)
    return bound


def connected(address: str, timeout_s: float) -> socket.socket:
    """Return a socket connected to `address`. Raises OSError, and AddressError for an address without a peer."""
    family, path, port = _split(address)
    if family == UNIX:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place: str | tuple[int, int] = path
    elif path:
        peer = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        place = (int(path), port)
    else:
        raise AddressError(f"to connect, a vsock address needs the peer's CID, was {address!r}")
    try:
        peer.settimeout(timeout_s)
        peer.connect(place)
    except OSError:
        peer.close()
        raise
    return peer


async def open_connection(address: str, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return streams to and from `address`. Raises as `connected`."""
    peer = await asyncio.to_thread(connected, address, timeout_s)
    peer.setblocking(False)  # noqa: FBT003 - positional only
    return await asyncio.open_connection(sock=peer)
