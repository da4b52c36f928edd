"""`python -m runtime.rebuild export|compare`: the trade stream made again from the journal.

  export    one record of the stream a line, as it would be published, to standard output or to --output
  compare   read the stream from its oldest record on, and tell whether its trades are those of the journal: after what
            came twice is taken once, none missing, none foreign, none different, each market's in order

The journal is replayed from its beginning, by a folder of the file driver (--directory) or from an MSK cluster
(--cluster-arn, IAM identity of the caller), and nothing is written to it. Symbols are those of the catalogue: a file
(--catalogue) or an SSM parameter (--catalogue-parameter). `compare` holds one record of each trade of the stream in
memory, and judges from the first one of each market that the stream still holds, or from the sequence --first, to the
last one that it holds, or to the sequence --to: then a stream that ends too early shows, too.

Exit codes: 0 done, or equal; 1 the two differ, or the journal does not verify; 2 a wrong call.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.engine.batch import BatchError
from runtime.engine.event_log import LogError, LogReader
from runtime.engine.journal import (
    COMMANDS,
    DOES_NOT_VERIFY,
    WRONG_CALL,
    Progress,
    add_place,
    entries_of,
    open_log,
    output,
    read,
)
from runtime.engine.replica import Replica
from runtime.market_data.trade_stream import TRADES_PER_RECORD_MAX
from runtime.shared.catalogue import Catalogue, CatalogueError, read_catalogue
from runtime.shared.messages import Traded
from runtime.shared.settings import read_catalogue_parameter
from runtime.shared.trade_records import SchemaError, TradeBatch, TradeRecord, decode_batch, encode_batch, record

SHOWN_MAX: Final = 10
"""Differences that are told one by one."""
PAGE: Final = 1_000
PAGE_PAUSE_S: Final = 0.25
"""A shard answers five reads a second, and others read, too."""


class StreamError(RuntimeError):
    """The stream holds what is no record of a schema known here."""


def rebuild(log: LogReader, symbols: Mapping[int, str], progress: Progress) -> Iterator[TradeRecord]:
    """Replay the journal; yield its trades in the engine's order, of the markets in `symbols`. Raises LogError."""
    replica = Replica()
    for batch in read(log, progress):
        for entry in entries_of(batch):
            _, happened = replica.apply(batch.time_us, entry)
            for event in happened.events:
                if isinstance(event, Traded) and event.market in symbols:
                    yield record(symbols[event.market], event, happened.sequence, happened.time_us)


def batched(trades: Iterable[TradeRecord], group: str) -> Iterator[bytes]:
    """Yield records of the stream that hold `trades`, each as full as one may be."""
    trades = iter(trades)
    while some := list(islice(trades, TRADES_PER_RECORD_MAX)):
        yield encode_batch(group, some)


def published(stream: str, region: str | None = None, endpoint: str | None = None) -> Iterator[TradeBatch]:
    """Yield what `stream` holds, shard by shard, up to its end as of now. Raises StreamError, botocore's errors."""
    kinesis = boto3.client("kinesis", region_name=region, endpoint_url=endpoint)
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        where = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=stream, **where)["ShardIterator"]
        while iterator:
            page = kinesis.get_records(ShardIterator=iterator, Limit=PAGE)
            for each in page["Records"]:
                yield decoded(each["Data"], each["SequenceNumber"])
            if not page["Records"] and not page["MillisBehindLatest"]:
                break
            iterator = page.get("NextShardIterator")
            time.sleep(PAGE_PAUSE_S)


def decoded(data: bytes, number: str) -> TradeBatch:
    """Return the batch in one record, `number` in its stream. Raises StreamError."""
    try:
        return decode_batch(data)
    except (msgspec.MsgspecError, SchemaError) as error:
        raise StreamError(f"record {number} holds no batch of trades: {error}") from None


class Comparison:
    """What the stream says against what the journal says."""

    def __init__(self, batches: Iterable[TradeBatch], group: str, first: int = 0, to: int = 0) -> None:
        """Take what was published of `group`; judge sequences `first` to `to`, 0: as far as the stream reaches."""
        self.group = group
        self.equal = self.repeated = 0
        self.problems: list[str] = []
        self._first = first
        self._to = to
        self._waiting: dict[tuple[int, int], TradeRecord] = {}
        self._begins: dict[int, int] = {}
        self._last: dict[int, int] = {}
        for batch in batches:
            self._take(batch)

    def _take(self, batch: TradeBatch) -> None:
        if batch.group != self.group:
            return
        named = [(place.market, place.sequence) for place in (batch.first, batch.last)]
        if named != [(trade.market, trade.sequence) for trade in (batch.trades[0], batch.trades[-1])]:
            self.problems.append(f"a batch says that it goes from {named[0]} to {named[1]}, and does not")
        for trade in batch.trades:
            key = trade.market, trade.trade_id
            if (before := self._waiting.get(key)) is not None:
                self.repeated += 1
                if before != trade:
                    self.problems.append(f"published twice, not alike: {before} and {trade}")
                continue
            if trade.trade_id < self._last.get(trade.market, 0):
                self.problems.append(f"out of order: {trade} after trade {self._last[trade.market]}")
            self._last[trade.market] = trade.trade_id
            self._begins.setdefault(trade.market, trade.sequence)
            self._waiting[key] = trade

    def judge(self, rebuilt: Iterable[TradeRecord]) -> None:
        """Hold every trade of the journal against the stream."""
        to = self._to or max((trade.sequence for trade in self._waiting.values()), default=0)
        for trade in rebuilt:
            found = self._waiting.pop((trade.market, trade.trade_id), None)
            if found == trade:
                self.equal += 1
            elif found is not None:
                self.problems.append(f"different: {found} was published, {trade} is right")
            elif (self._first or self._begins.get(trade.market, 0)) <= trade.sequence <= to:
                self.problems.append(f"missing: {trade}")
        self.problems += [f"foreign: {trade}" for trade in self._waiting.values()]
        self._waiting.clear()

    def tell(self, out: TextIO) -> int:
        """Write the outcome; return the exit code."""
        out.write(f"{self.equal:,} trades are equal, {self.repeated:,} came more than once and count once\n")
        if not self.problems:
            return 0
        out.writelines(f"{problem}\n" for problem in self.problems[:SHOWN_MAX])
        out.write(f"{len(self.problems):,} problems\n")
        return DOES_NOT_VERIFY


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m runtime.rebuild",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, about in (("export", "records of the stream, from the journal"), ("compare", "stream against journal")):
        each = commands.add_parser(name, help=about)
        add_place(each)
        symbols = each.add_mutually_exclusive_group(required=True)
        symbols.add_argument("--catalogue", type=Path, help="file of the catalogue")
        symbols.add_argument("--catalogue-parameter", help="SSM parameter of the catalogue")
        each.add_argument("--first", type=int, default=0, help="first sequence (default: the beginning)")
        each.set_defaults(log=COMMANDS)
        if name == "export":
            each.add_argument("--output", type=Path, help="a file (default: standard output)")
        else:
            each.add_argument("--to", type=int, default=0, help="last sequence (default: the last that was published)")
            each.add_argument("--stream", required=True, help="name of the Kinesis stream")
            each.add_argument("--region", help="of the stream (default: that of the caller)")
            each.add_argument("--endpoint-url", help="of Kinesis, where it is not AWS's own")
    return top


def catalogue_of(options: argparse.Namespace) -> Catalogue:
    """Return the catalogue that the command line names. Raises CatalogueError, OSError, botocore's errors."""
    if options.catalogue_parameter:
        return read_catalogue_parameter(options.catalogue_parameter)
    return read_catalogue(options.catalogue.read_text(), str(options.catalogue))


def export(trades: Iterable[TradeRecord], options: argparse.Namespace, out: TextIO) -> None:
    """Write one record of the stream a line."""
    with output(options.output, out) as file:
        file.writelines(data.decode() + "\n" for data in batched(trades, options.group))


def main(arguments: list[str] | None = None, out: TextIO = sys.stdout, told: TextIO = sys.stderr) -> int:
    """Carry out one command; return the exit code."""
    options = parser().parse_args(arguments)
    log: LogReader | None = None
    try:
        symbols = {market.id: market.symbol for market in catalogue_of(options).markets}
        log = open_log(options)
        if options.command == "export":
            trades = rebuild(log, symbols, Progress(told))
            export((trade for trade in trades if trade.sequence >= options.first), options, out)
            return 0
        # The stream first: whatever it holds by then, the journal held before.
        batches = published(options.stream, options.region, options.endpoint_url)
        comparison = Comparison(batches, options.group, options.first, options.to)
        comparison.judge(rebuild(log, symbols, Progress(told)))
        return comparison.tell(out)
    except (CatalogueError, OSError, BatchError, BotoCoreError, ClientError) as error:
        told.write(f"{error}\n")
        return WRONG_CALL
    except (LogError, StreamError) as error:
        told.write(f"does not verify: {error}\n")
        return DOES_NOT_VERIFY
    finally:
        if log is not None:
            log.close()


if __name__ == "__main__":
    sys.exit(main())
