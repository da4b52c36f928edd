"""The Nitro Secure Module: signs what the enclave is, and gives entropy. In AWS a device, elsewhere its stand-in.

Both take and give the same CBOR; a document of the stand-in is rooted in its own certificate, which AWS refuses.
"""

import ctypes
import fcntl
import os
from io import BytesIO
from typing import Any, Final

import cbor2

from runtime.shared.frames import frame
from runtime.wallet_enclave.transport import connected

_IOCTL: Final = 0xC0200A00
"""Read and write of two iovecs (32 bytes), type 0x0A, number 0."""
_RESPONSE_BYTES_MAX: Final = 0x3000
_TIMEOUT_S: Final = 10.0
_PREFIX_BYTES: Final = 4
DEVICE: Final = "device:"


class NsmError(Exception):
    """The module refused, or is not there."""


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Raw(ctypes.Structure):
    _fields_ = (("request", _IoVec), ("response", _IoVec))


class Nsm:
    """What the enclave asks of the module at `device:/dev/nsm`, or at the socket of its stand-in."""

    def __init__(self, address: str) -> None:
        """Ask at `address`."""
        self._address = address

    def attest(self, *, public_key: bytes = b"", user_data: bytes = b"", nonce: bytes = b"") -> bytes:
        """Return an attestation document over these values. Raises NsmError."""
        wanted = {"public_key": public_key or None, "user_data": user_data or None, "nonce": nonce or None}
        return bytes(self._asked({"Attestation": wanted}, "Attestation")["document"])

    def random(self, size: int) -> bytes:
        """Return `size` bytes of the module's entropy. Raises NsmError."""
        found = b""
        while len(found) < size:
            part = bytes(self._asked("GetRandom", "GetRandom")["random"])
            if not part:
                raise NsmError("the module gave no entropy")
            found += part
        return found[:size]

    def _asked(self, request: object, kind: str) -> dict[str, Any]:
        data = cbor2.dumps(request)
        try:
            if self._address.startswith(DEVICE):
                answer = _from_device(self._address.removeprefix(DEVICE), data)
            else:
                answer = _from_socket(self._address, data)
        except OSError as error:
            raise NsmError(f"{self._address}: {error}") from error
        decoded = decode_cbor(answer)
        if not isinstance(decoded, dict) or not isinstance(decoded.get(kind), dict):
            raise NsmError(f"the module answered {str(decoded)[:80]!r} to {kind}")
        return dict(decoded[kind])


def decode_cbor(data: bytes) -> Any:  # noqa: ANN401 - any CBOR
    """Return the one item that `data` is. Raises NsmError for anything else, bytes left over included."""
    stream = BytesIO(data)
    try:
        item = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise NsmError(f"not CBOR: {error}") from None
    if stream.tell() != len(data):
        raise NsmError(f"{len(data) - stream.tell()} bytes after the end of the CBOR item")
    return item


def _from_device(path: str, request: bytes) -> bytes:
    sent = ctypes.create_string_buffer(request, len(request))
    received = ctypes.create_string_buffer(_RESPONSE_BYTES_MAX)
    raw = _Raw(
        _IoVec(ctypes.cast(sent, ctypes.c_void_p), len(request)),
        _IoVec(ctypes.cast(received, ctypes.c_void_p), _RESPONSE_BYTES_MAX),
    )
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _IOCTL, raw)
    finally:
        os.close(descriptor)
    return received.raw[: raw.response.size]


def _from_socket(address: str, request: bytes) -> bytes:
    with connected(address, _TIMEOUT_S) as peer:
        peer.sendall(frame(request))
        size = int.from_bytes(_exactly(peer, _PREFIX_BYTES), "big")
        if size > _RESPONSE_BYTES_MAX:
            raise OSError(f"an answer of {size} bytes; at most {_RESPONSE_BYTES_MAX} are allowed")
        return _exactly(peer, size)


def _exactly(peer: Any, size: int) -> bytes:  # noqa: ANN401 - a socket
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise OSError("the module hung up")
        data += part
    return data
