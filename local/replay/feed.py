"""Reads a recorded combined-stream feed: gzip, a line is local nanoseconds, a blank, and the JSON that came in."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

LINE_BYTES_MAX: Final = 4 * 1024 * 1024


class FeedError(ValueError):
    """A feed that cannot be read; the message names the file, the line and what was expected."""


class DepthDiff(msgspec.Struct, frozen=True, gc=False):
    """Absolute quantities of the levels that changed between update ids `first` and `last`."""

    first: int = msgspec.field(name="U")
    last: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One execution; the taker sold when the buyer was the maker."""

    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    buyer_is_maker: bool = msgspec.field(name="m")


class Top(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask after update `update_id`."""

    update_id: int = msgspec.field(name="u")
    bid: str = msgspec.field(name="b")
    ask: str = msgspec.field(name="a")


Record = DepthDiff | Trade | Top


class _Combined(msgspec.Struct, frozen=True):
    stream: str
    data: msgspec.Raw


_decode_combined: Final = msgspec.json.Decoder(_Combined).decode
_KINDS: Final[tuple[tuple[str, msgspec.json.Decoder[Record]], ...]] = (
    ("@depth", msgspec.json.Decoder(DepthDiff)),
    ("@bookTicker", msgspec.json.Decoder(Top)),
    ("@trade", msgspec.json.Decoder(Trade)),
)


def read_feed(path: Path, symbol: str) -> Iterator[Record]:
    """Yield the depth diffs, trades and book tickers of `symbol` in the order they were received.

    Other streams of that symbol are passed over. Raises FeedError for anything that is not such a feed.
    """
    prefix = symbol.lower() + "@"
    number = found = 0
    try:
        with gzip.open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 - named in errors
                record = _parse(line, prefix)
                if record is not None:
                    found += 1
                    yield record
    except (OSError, EOFError, zlib.error) as error:
        raise FeedError(f"{path}, after line {number}: not a readable gzip file: {error}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise FeedError(f"{path}, line {number}: {error}") from None
    if not found:
        raise FeedError(f"{path}: {number} lines, none of them a depth, trade or bookTicker event of {symbol}")


def _parse(line: bytes, prefix: str) -> Record | None:
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"a line of {len(line)} bytes; at most {LINE_BYTES_MAX} are allowed")
    stamp, _, text = line.partition(b" ")
    if not stamp.isdigit():
        raise ValueError(f"a line starts with local nanoseconds, this one with {stamp[:40]!r}")
    combined = _decode_combined(text)
    if not combined.stream.startswith(prefix):
        return None
    for marker, decoder in _KINDS:
        if marker in combined.stream:
            return decoder.decode(combined.data)
    return None
