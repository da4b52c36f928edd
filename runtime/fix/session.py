"""What the acceptor answers to the first message of a session. Pure: the time enters as an argument."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from runtime.fix.codec import Field, FixError, encode

MSG_TYPE: Final = 35
SENDER: Final = 49
TARGET: Final = 56
SEQUENCE: Final = 34
SENDING_TIME: Final = 52
TEXT: Final = 58
LOGON: Final = "A"
LOGOUT: Final = "5"
NOT_BUILT: Final = (
    "The FIX gateway is not built yet: no session is opened and no order is taken. Use REST or WebSocket."
)
COMP_ID_LENGTH_MAX: Final = 64


def answer(fields: Sequence[Field], now: datetime) -> bytes:
    """Return the Logout that answers a Logon, addressed back to whom it came from.

    Its sequence number is 1, as no session is opened and none is remembered. `now` is in UTC. Raises FixError for any
    other first message, and for a Logon without the names of both sides.
    """
    given = dict(fields)
    if given[MSG_TYPE] != LOGON:
        raise FixError("the first message of a session is a Logon (35=A)")
    sender, target = (_name(given, tag) for tag in (SENDER, TARGET))
    return encode(
        [
            (MSG_TYPE, LOGOUT),
            (SENDER, target),
            (TARGET, sender),
            (SEQUENCE, "1"),
            (SENDING_TIME, f"{now:%Y%m%d-%H:%M:%S}.{now.microsecond // 1000:03d}"),
            (TEXT, NOT_BUILT),
        ]
    )


def _name(given: dict[int, str], tag: int) -> str:
    name = given.get(tag, "")
    if not name or len(name) > COMP_ID_LENGTH_MAX:
        raise FixError(f"a Logon has {tag}, with 1 to {COMP_ID_LENGTH_MAX} characters")
    return name
