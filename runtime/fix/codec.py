"""Framing of FIX 4.4: begin string, body length and checksum. What the fields between them mean is not known here."""

from collections.abc import Iterable, Sequence
from typing import Final

BEGIN: Final = b"8=FIX.4.4\x01"
SOH: Final = b"\x01"
BODY_BYTES_MAX: Final = 4096
_LENGTH_DIGITS_MAX: Final = 4
_TRAILER_BYTES: Final = len(b"10=000\x01")

Field = tuple[int, str]
"""Tag and value."""


class FixError(ValueError):
    """Bytes that are no FIX 4.4 message. The text tells what is wrong, never what was sent."""


def encode(fields: Iterable[Field]) -> bytes:
    """Return the message of `fields`, of which the first is MsgType (35).

    Raises FixError for a value that FIX cannot carry, and for a body above BODY_BYTES_MAX.
    """
    body = b"".join(_field(tag, value) for tag, value in fields)
    if not body.startswith(b"35="):
        raise FixError("the first field of a body is 35")
    if len(body) > BODY_BYTES_MAX:
        raise FixError(f"a body has at most {BODY_BYTES_MAX} bytes, was {len(body)}")
    head = BEGIN + b"9=%d\x01" % len(body)
    return head + body + b"10=%03d\x01" % checksum(head + body)


def checksum(data: bytes) -> int:
    """Return the sum of all bytes, modulo 256."""
    return sum(data) % 256


def decode(data: bytes) -> Sequence[Field] | None:
    """Return the fields of the body that `data` begins with; None while there is not yet enough of it.

    Raises FixError as soon as it is clear that no message can come of it, so a peer cannot make us wait for more.
    """
    if not data.startswith(BEGIN[: len(data)]):
        raise FixError("a message begins with 8=FIX.4.4")
    rest = data[len(BEGIN) :]
    if not rest.startswith(b"9="[: len(rest)]):
        raise FixError("the second field is 9, the length of the body")
    digits, ended, _ = rest[2 : 2 + _LENGTH_DIGITS_MAX + 1].partition(SOH)
    if (digits and not digits.isdigit()) or len(digits) > _LENGTH_DIGITS_MAX or (ended and not digits):
        raise FixError(f"the length of a body has 1 to {_LENGTH_DIGITS_MAX} digits")
    if not ended:
        return None
    length = int(digits)
    if length > BODY_BYTES_MAX:
        raise FixError(f"a body has at most {BODY_BYTES_MAX} bytes, was {length}")
    start = len(BEGIN) + 2 + len(digits) + 1
    end = start + length
    if len(data) < end + _TRAILER_BYTES:
        return None
    if data[end : end + _TRAILER_BYTES] != b"10=%03d\x01" % checksum(data[:end]):
        raise FixError("the checksum does not fit the message, or its length is wrong")
    return _fields(data[start:end])


def _field(tag: int, value: str) -> bytes:
    if tag < 1 or not value or not value.isascii() or not value.isprintable():
        raise FixError(f"field {tag} must have a positive tag and a printable ASCII value")
    return b"%d=%b\x01" % (tag, value.encode("ascii"))


def _fields(body: bytes) -> list[Field]:
    if not body.startswith(b"35=") or not body.endswith(SOH):
        raise FixError("a body begins with 35 and ends with its last field's end")
    fields = []
    for text in body[:-1].split(SOH):
        tag, separator, value = text.partition(b"=")
        if not separator or not value or not tag.isdigit() or tag.startswith(b"0"):
            raise FixError("a field is a tag, an equals sign and a value")
        fields.append((int(tag), value.decode("latin-1")))
    return fields
