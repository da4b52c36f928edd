"""Whose events a frame of the feed holds, found without decoding them: most are of accounts that nobody listens for."""

from collections.abc import Container
from typing import Any, Final, get_args

from msgspec import Raw, Struct, defstruct
from msgspec.msgpack import Decoder
from msgspec.structs import fields

from runtime.shared.messages import Event, Happened, Message, Order, OrderList

_NO_ACCOUNT: Final = -1


def decode_feed_of(payload: bytes, accounts: Container[int]) -> list[Happened]:
    """Decode a frame of a feed. A command that touched none of `accounts` comes without its events.

    Raises msgspec.MsgspecError.
    """
    outlines = _decode_outlines(payload)
    touched = [_touches(each.events, accounts) for each in outlines]
    if True not in touched:
        return [Happened(each.sequence, each.time_us, []) for each in outlines]
    return [
        Happened(each.sequence, each.time_us, _decode_events(each.events) if is_touched else [])
        for each, is_touched in zip(_decode_unread(payload), touched, strict=True)
    ]


def _touches(events: list[Any], accounts: Container[int]) -> bool:
    for event in events:
        account = event.account
        if (account if account.__class__ is int else account.account) in accounts:
            return True
    return False


class _Unread(Message):
    """What happened, with its events as they came."""

    sequence: int
    time_us: int
    events: Raw


def _outline(message: type[Struct]) -> type[Struct]:
    """Return a struct that reads of a message, as `account`, only whose it is: the rest of the array is passed over."""
    read: list[tuple[str, Any]] = []
    for field in fields(message):
        if field.type in (Order, OrderList):
            read.append(("account", _outline(field.type)))
        else:
            read.append((field.name, int if field.name == "account" else Raw))
        if read[-1][0] == "account":
            return _struct(message, read)
    return _struct(message, [], account=_NO_ACCOUNT)


def _struct(message: type[Struct], read: list[tuple[str, Any]], **constants: int) -> type[Struct]:
    tag = message.__struct_config__.tag
    return defstruct(message.__name__, read, namespace=constants, tag=tag, array_like=True, frozen=True, gc=False)


def _outlines() -> Any:  # noqa: ANN401 - a type that is made here
    """Return the type of `Happened` whose events are outlines."""
    union: Any = None
    for each in get_args(Event):
        union = _outline(each) if union is None else union | _outline(each)
    read = [("sequence", int), ("time_us", int), ("events", list[union])]
    return defstruct("Happened", read, array_like=True, frozen=True, gc=False)


_decode_outlines: Final = Decoder(list[_outlines()]).decode
_decode_unread: Final = Decoder(list[_Unread]).decode
_decode_events: Final = Decoder(list[Event]).decode
