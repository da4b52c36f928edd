"""One day of trades, each once, in the order of its market; and the manifest that tells what it was made of. Pure.

A day is of UTC, by when a trade happened, as the engine says; the raw records lie by when they arrived. Nothing here
imports what the job's own environment does not have.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

SCHEMA: Final = "bursa.curated.1"
"""Of a manifest, and of how a day is made: another way to make days is another schema, and so another run."""
BATCH_SCHEMA: Final = "bursa.trades.1"
DAYS_BACK: Final = 7
"""How far back a night makes up for days that are missing, or adds what arrived late."""
SET_ASIDE: Final = "lake_set_aside"
"""Field of the line that each night ends with: what could not be used. Without the line, the night failed."""
DAYS_MADE: Final = "lake_days_made"
US_OF_DAY: Final = 86_400_000_000
COLUMNS: Final = {
    "market": "bigint",
    "symbol": "string",
    "trade_id": "bigint",
    "price_ticks": "bigint",
    "lots": "bigint",
    "buyer_is_maker": "boolean",
    "buy_order_id": "bigint",
    "sell_order_id": "bigint",
    "buyer": "bigint",
    "seller": "bigint",
    "buyer_fee": "bigint",
    "seller_fee": "bigint",
    "time_us": "bigint",
    "sequence": "bigint",
    "buyer_fee_asset": "bigint",
    "seller_fee_asset": "bigint",
}
"""Those of `TradeRecord`, which tests hold against these."""
ABOVE_ZERO: Final = ("price_ticks", "lots")
FROM_ZERO: Final = ("market", "trade_id", "buy_order_id", "sell_order_id", "time_us", "sequence")
_INTEGER_LIMIT: Final = 2**63
_EPOCH: Final = date(1970, 1, 1)

Columns = dict[str, list[Any]]


class UnreadableError(ValueError):
    """A record, or a trade in it, that is not what the stream carries. The message says what was expected."""


class ShrunkDayError(Exception):
    """A day made anew has fewer trades than the one it would take the place of."""


@dataclass(frozen=True, slots=True, order=True)
class Input:
    """One raw object, as S3 lists it."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Aside:
    """What could not be used: where it came from, why, and the thing itself where there is one."""

    source: str
    """Key of the raw object."""
    number: int
    """Of the record in it, from 0; -1 is the object as a whole."""
    why: str
    what: object = None

    def line(self) -> str:
        """Return it as a line of JSON."""
        told = {"source": self.source, "number": self.number, "why": self.why, "what": self.what}
        return json.dumps(told, sort_keys=True, default=str)


@dataclass(slots=True)
class _Market:
    symbol: str
    columns: "dict[str, array[int]]" = field(  # array takes no subscript before Python 3.12
        default_factory=lambda: {name: array("q") for name in COLUMNS if name != "symbol"}
    )
    place: dict[int, int] = field(default_factory=dict)
    """Trade id → index in every column."""


class Day:
    """Gathers the trades of `date` from raw records, whatever order they come in and however often."""

    def __init__(self, day: date) -> None:
        """Begin with nothing."""
        self.date = day
        self.aside: list[Aside] = []
        self.duplicates = 0
        self.earlier: dict[date, set[str]] = {}
        """Days before this one → the raw objects that hold trades of theirs."""
        self._number = day_number(day)
        self._markets: dict[int, _Market] = {}

    @property
    def rows(self) -> int:
        """How many trades there are."""
        return sum(len(market.place) for market in self._markets.values())

    def add(self, source: str, number: int, record: object) -> None:
        """Take one record of the stream from the raw object `source`; what is wrong with it is set aside."""
        try:
            trades = _trades(record)
        except UnreadableError as error:
            self.aside.append(Aside(source, number, str(error), record))
            return
        for trade in trades:
            try:
                self._add(source, checked(trade))
            except UnreadableError as error:
                self.aside.append(Aside(source, number, str(error), trade))

    def refuse(self, source: str, why: str) -> None:
        """Set a raw object aside that is no file of records at all, or none any more from some record on."""
        self.aside.append(Aside(source, -1, why))

    def _add(self, source: str, trade: Mapping[str, Any]) -> None:
        number = trade["time_us"] // US_OF_DAY
        if number != self._number:
            if number < self._number:
                self.earlier.setdefault(_EPOCH + timedelta(days=number), set()).add(source)
            return
        market = self._markets.setdefault(trade["market"], _Market(trade["symbol"]))
        at = market.place.get(trade["trade_id"])
        if at is not None:
            if market.symbol != trade["symbol"] or any(
                column[at] != trade[name] for name, column in market.columns.items()
            ):
                raise UnreadableError(
                    f"trade {trade['trade_id']} of market {trade['market']} came before, and was another"
                )
            self.duplicates += 1
            return
        if market.symbol != trade["symbol"]:
            raise UnreadableError(
                f"symbol of market {trade['market']} must be {market.symbol!r}, was {trade['symbol']!r}"
            )
        market.place[trade["trade_id"]] = len(market.place)
        for name, column in market.columns.items():
            column.append(trade[name])

    def markets(self) -> Iterator[tuple[int, Columns]]:
        """Yield each market and its columns, sorted by trade id."""
        for number in sorted(self._markets):
            market = self._markets[number]
            order = [market.place[trade_id] for trade_id in sorted(market.place)]
            columns: Columns = {}
            for name in COLUMNS:
                if name == "symbol":
                    columns[name] = [market.symbol] * len(order)
                else:
                    column = market.columns[name]
                    columns[name] = [bool(column[at]) if _is_flag(name) else column[at] for at in order]
            yield number, columns


def _is_flag(name: str) -> bool:
    return COLUMNS[name] == "boolean"


def _trades(record: object) -> list[object]:
    if not isinstance(record, Mapping):
        raise UnreadableError(f"a record must be a batch of trades, was {type(record).__name__}")
    if record.get("schema") != BATCH_SCHEMA:
        raise UnreadableError(f"schema must be {BATCH_SCHEMA!r}, was {record.get('schema')!r}")
    trades = record.get("trades")
    if not isinstance(trades, list) or not trades:
        raise UnreadableError(f"trades must be a list of at least one, was {trades!r}")
    return trades


def checked(trade: object) -> Mapping[str, Any]:
    """Return `trade` when each column is there and may be what it is. Raises UnreadableError, which names the first."""
    if not isinstance(trade, Mapping):
        raise UnreadableError(f"a trade must be a struct, was {type(trade).__name__}")
    for name, kind in COLUMNS.items():
        value = trade.get(name)
        if kind == "string":
            right, allowed = isinstance(value, str) and value != "", "a text"
        elif kind == "boolean":
            right, allowed = isinstance(value, bool), "true or false"
        else:
            low = 1 if name in ABOVE_ZERO else 0 if name in FROM_ZERO else -_INTEGER_LIMIT
            right = isinstance(value, int) and not isinstance(value, bool) and low <= value < _INTEGER_LIMIT
            allowed = f"an integer from {low}"
        if not right:
            raise UnreadableError(f"{name} must be {allowed}, was {value!r}")
    return trade


def day_number(day: date) -> int:
    """Return how many days after 1 January 1970 `day` is."""
    return (day - _EPOCH).days


def arrived_around(day: date) -> tuple[date, date, date]:
    """Return the folders that may hold trades of `day`.

    Firehose names a folder by the oldest record of an object, so the folder before may have some too; and the one after
    has what arrived past midnight.
    """
    return day - timedelta(days=1), day, day + timedelta(days=1)


def may_hold(day: date, folder: date, written: datetime) -> bool:
    """Return whether an object of `folder` may hold a trade of `day`: none was written before the day began."""
    return folder >= day or written >= datetime(day.year, day.month, day.day, tzinfo=UTC)


def run_of(inputs: Iterable[Input]) -> str:
    """Return the name of a day made of `inputs`: the same inputs give the same name, and so the same objects."""
    digest = hashlib.sha256(SCHEMA.encode())
    for each in sorted(set(inputs)):
        digest.update(f"\n{each.key}\t{each.etag}\t{each.size_bytes}".encode())
    return digest.hexdigest()


def missing_days(today: date, made: Iterable[date], first: date) -> list[date]:
    """Return the days of the last DAYS_BACK before `today` that are not `made`, oldest first, none before `first`."""
    there = set(made)
    days = (today - timedelta(days=back) for back in range(DAYS_BACK, 0, -1))
    return [day for day in days if day >= first and day not in there]


@dataclass(frozen=True, slots=True)
class Part:
    """One object of a day: the trades of one market."""

    market: int
    symbol: str
    key: str
    rows: int
    first_trade_id: int
    last_trade_id: int
    sha256: str

    @property
    def missing(self) -> int:
        """How many ids between the first and the last have no trade; ids count by one for each market."""
        return self.last_trade_id - self.first_trade_id + 1 - self.rows


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a day was made of, and what it holds."""

    day: date
    run: str
    inputs: tuple[Input, ...]
    parts: tuple[Part, ...]
    duplicates: int
    set_aside: int

    @property
    def rows(self) -> int:
        """Trades of the day."""
        return sum(part.rows for part in self.parts)

    @property
    def missing(self) -> int:
        """Ids without a trade, over all markets."""
        return sum(part.missing for part in self.parts)

    def to_json(self) -> bytes:
        """Return it as JSON that is the same whenever it is made; when that was, S3 knows."""
        told = {
            "schema": SCHEMA,
            "day": self.day.isoformat(),
            "run": self.run,
            "rows": self.rows,
            "missing": self.missing,
            "duplicates": self.duplicates,
            "set_aside": self.set_aside,
            "inputs_sha256": self.run,
            "inputs": [{"key": i.key, "etag": i.etag, "size_bytes": i.size_bytes} for i in self.inputs],
            "parts": [
                {
                    "market": p.market,
                    "symbol": p.symbol,
                    "key": p.key,
                    "rows": p.rows,
                    "missing": p.missing,
                    "first_trade_id": p.first_trade_id,
                    "last_trade_id": p.last_trade_id,
                    "sha256": p.sha256,
                }
                for p in self.parts
            ],
        }
        return json.dumps(told, indent=1, sort_keys=True).encode()


def read_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`. Raises UnreadableError for another schema, KeyError or ValueError for none."""
    told = json.loads(data)
    if told["schema"] != SCHEMA:
        raise UnreadableError(f"schema of a manifest must be {SCHEMA!r}, was {told['schema']!r}")
    return Manifest(
        day=date.fromisoformat(told["day"]),
        run=told["run"],
        inputs=tuple(Input(each["key"], each["etag"], each["size_bytes"]) for each in told["inputs"]),
        parts=tuple(
            Part(
                each["market"],
                each["symbol"],
                each["key"],
                each["rows"],
                each["first_trade_id"],
                each["last_trade_id"],
                each["sha256"],
            )
            for each in told["parts"]
        ),
        duplicates=told["duplicates"],
        set_aside=told["set_aside"],
    )


def shrinks(new: Manifest, old: Manifest | None) -> bool:
    """Return whether `new` must not take the place of `old`: what was once there is not there any more."""
    return old is not None and (new.rows < old.rows or not set(old.inputs) <= set(new.inputs))
