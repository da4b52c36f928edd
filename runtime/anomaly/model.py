"""A trained model as a file, and trades as files: what offline runs and SageMaker's container share."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from runtime.anomaly.baseline import Baseline, Score, fit_all, score
from runtime.anomaly.features import Features, Minute, begin, count, features, minute_of
from runtime.shared.trade_records import SchemaError, TradeRecord, decode_batch

MODEL_SCHEMA: Final = "bursa.anomaly.1"


class Model(Struct, frozen=True):
    """The baseline of each market, by its number."""

    schema: str
    markets: dict[int, Baseline]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """What an endpoint is asked: one minute of one market."""

    market: int
    features: Features


class ModelError(ValueError):
    """A file or a request that cannot be used; the text says why."""


class Closed(Struct, frozen=True):
    """A minute of a market that is over."""

    market: int
    symbol: str
    minute: Minute

    @property
    def features(self) -> Features:
        """What describes it."""
        return features(self.minute)


def read_trades(paths: Iterable[Path]) -> Iterator[TradeRecord]:
    """Yield the trades in files of lines, each a record of the stream or one trade, `.gz` or not.

    Raises ModelError naming file and line of what is neither.
    """
    for path in paths:
        opened = gzip.open if path.suffix == ".gz" else Path.open
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield from _trades(line)
                except (msgspec.MsgspecError, SchemaError) as error:
                    raise ModelError(f"{path}, line {number}: must be a trade or a batch of trades: {error}") from None


def _trades(line: bytes) -> list[TradeRecord]:
    if b'"schema"' in line:
        return decode_batch(line).trades
    return [msgspec.json.decode(line, type=TradeRecord)]


def minutes(trades: Iterable[TradeRecord]) -> Iterator[Closed]:
    """Yield the minutes of each market, in order; a trade that comes twice counts once. The last ones are over too."""
    ordered = sorted(trades, key=lambda trade: (trade.market, trade.trade_id))
    last: tuple[int, int] = (0, 0)
    minute: Minute | None = None
    before: TradeRecord | None = None
    for trade in ordered:
        if (trade.market, trade.trade_id) == last:
            continue
        last = (trade.market, trade.trade_id)
        same = before is not None and before.market == trade.market
        if minute is not None and same and minute_of(trade.time_us) <= minute.start_us:
            count(minute, trade)
        else:
            if minute is not None and before is not None:
                yield Closed(before.market, before.symbol, minute)
            minute = begin(trade)
        before = trade
    if minute is not None and before is not None:
        yield Closed(before.market, before.symbol, minute)


def train(trades: Iterable[TradeRecord]) -> Model:
    """Return what is usual in `trades`. Raises ModelError when no market has enough of them."""
    history: dict[int, list[Features]] = {}
    for closed in minutes(trades):
        history.setdefault(closed.market, []).append(closed.features)
    if not (baselines := fit_all(history)):
        most = max(map(len, history.values()), default=0)
        raise ModelError(f"no market has enough minutes with trades to learn from; the most were {most}")
    return Model(MODEL_SCHEMA, baselines)


def write_model(model: Model, path: Path) -> None:
    """Write `model` as JSON, whole or not at all."""
    half_done = path.with_name(path.name + ".partial")
    half_done.write_bytes(msgspec.json.format(msgspec.json.encode(model)))
    half_done.replace(path)


def read_model(path: Path) -> Model:
    """Return the model of a file. Raises ModelError for one that is none, or that another version wrote."""
    try:
        model = msgspec.json.decode(path.read_bytes(), type=Model)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: must be a model that `train` wrote: {error}") from None
    if model.schema != MODEL_SCHEMA:
        raise ModelError(f"{path}: schema must be {MODEL_SCHEMA!r}, was {model.schema!r}")
    return model


def judge(model: Model, market: int, minute: Features) -> Score:
    """Score a minute by the model. Raises ModelError for a market that it does not know."""
    if market not in model.markets:
        raise ModelError(f"market must be one of {', '.join(map(str, sorted(model.markets)))}, was {market}")
    return score(model.markets[market], minute)
