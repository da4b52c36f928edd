"""`python -m runtime.engine.journal inspect|verify|export|restore`: read a journal without touching it, or make one.

  inspect   one line an epoch: who opened it and when, its batches, commands and bytes; what is torn at the end
  verify    read every batch, check CRC, chain, epochs and sequences, and decode every command; with --replay also apply
            them all, check that every asset adds up to zero, and print the state's hash
  export    one JSON object a command, to standard output or to --output
  restore   fill an empty journal from the archive, batch by batch, each verified

The journal is a folder of the file driver (--directory), an MSK cluster (--cluster-arn, IAM identity of the caller), or
its copy in the archive (--archive-bucket, as written by the engines a minute behind). A group may be leading meanwhile:
readers do not disturb it. Progress of long journals goes to standard error.

Exit codes: 0 the journal verifies (a torn tail does: nothing in it was acknowledged), 1 it does not, 2 a wrong call.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.engine.archive import Archive
from runtime.engine.batch import Batch, BatchError, marker_of
from runtime.engine.event_log import EventLog, LogError, LogReader
from runtime.engine.file_log import FileLog
from runtime.engine.kafka_log import KafkaCluster, KafkaLog
from runtime.engine.object_store import S3Store
from runtime.engine.questions import answer
from runtime.engine.replica import Replica
from runtime.shared.messages import AskTotals, Entry, Totals

PROGRESS_S: Final = 2.0
COMMANDS: Final = "commands"
_ARCHIVE_HELP: Final = "bucket of the archive, where the engines copy the journal to"
DOES_NOT_VERIFY: Final = 1
WRONG_CALL: Final = 2
_decode_entries: Final = msgspec.msgpack.Decoder(list[Entry]).decode


class Epoch(msgspec.Struct):
    """What one leader wrote."""

    epoch: int
    opened: str
    """When, by its own clock; UTC."""
    member: str
    """Its name in the lease; empty for an epoch of format 1."""
    format: int
    first_sequence: int
    batches: int = 0
    commands: int = 0
    bytes: int = 0


class NothingToDoError(ValueError):
    """There is a journal where one was to be restored, or no copy of it."""


class Progress:
    """Tells on standard error how far a long journal has been read."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`, nothing before PROGRESS_S."""
        self._out = out
        self._told = time.monotonic()
        self._began = self._told

    def at(self, sequence: int) -> None:
        """Tell that `sequence` was reached, if it is time."""
        now = time.monotonic()
        if now - self._told > PROGRESS_S:
            self._told = now
            self._out.write(f"at sequence {sequence:,}, {sequence / (now - self._began):,.0f} a second\n")
            self._out.flush()


def read(log: LogReader, progress: Progress) -> Iterator[Batch]:
    """Yield every batch, verified. Raises LogError."""
    for batch in log.read():
        progress.at(batch.next_sequence - 1)
        yield batch


def epochs_of(batches: Iterator[Batch]) -> list[Epoch]:
    """Return what each leader wrote, in order."""
    found: list[Epoch] = []
    for batch in batches:
        if not found or found[-1].epoch != batch.epoch:
            opened = marker_of(batch)
            found.append(
                Epoch(
                    batch.epoch,
                    _utc(batch.time_us),
                    opened.member if opened else "",
                    batch.format,
                    batch.first_sequence,
                )
            )
        found[-1].batches += batch.count > 0
        found[-1].commands += batch.count
        found[-1].bytes += len(batch.body)
    return found


def _utc(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat(timespec="microseconds")


def entries_of(batch: Batch) -> list[Entry]:
    """Return the commands of a batch. Raises LogError for bytes that are none."""
    if not batch.count:
        return []
    try:
        entries = _decode_entries(batch.body)
    except msgspec.MsgspecError as error:
        raise LogError(f"the batch at sequence {batch.first_sequence} holds no commands known here: {error}") from None
    if len(entries) != batch.count:
        raise LogError(
            f"the batch at sequence {batch.first_sequence} says that it holds {batch.count} commands, and holds "
            f"{len(entries)}"
        )
    return entries


def inspect(log: LogReader, options: argparse.Namespace, out: TextIO, progress: Progress) -> int:
    """Print what each leader wrote, and what is torn."""
    epochs = epochs_of(read(log, progress))
    torn = log.torn_bytes()
    last = log.chain.next_sequence - 1
    if options.json:
        document = {
            "group": options.group,
            "log": options.log,
            "last_sequence": last,
            "hash": log.chain.hash.hex(),
            "torn_bytes": torn,
            "epochs": [msgspec.to_builtins(epoch) for epoch in epochs],
        }
        out.write(json.dumps(document, indent=1) + "\n")
        return 0
    out.write(f"{'epoch':>6}  {'opened (UTC)':<32}  {'by':<16}  {'format':>6}  {'from':>12}  {'batches':>9}  ")
    out.write(f"{'commands':>12}  {'bytes':>14}\n")
    out.writelines(
        f"{each.epoch:>6}  {each.opened:<32}  {each.member or '-':<16}  {each.format:>6}  {each.first_sequence:>12,}"
        f"  {each.batches:>9,}  {each.commands:>12,}  {each.bytes:>14,}\n"
        for each in epochs
    )
    out.write(f"last sequence {last:,}, hash {log.chain.hash.hex()}, {_torn(torn)}\n")
    return 0


def _torn(torn: int) -> str:
    return (
        f"a torn tail of at most {torn} bytes, never acknowledged, which the next leader cuts"
        if torn
        else "no torn tail"
    )


def verify(log: LogReader, options: argparse.Namespace, out: TextIO, progress: Progress) -> int:
    """Check everything that can be checked."""
    replica = Replica()
    batches = commands = 0
    for batch in read(log, progress):
        batches += 1
        commands += batch.count
        if options.log == COMMANDS:
            entries = entries_of(batch)
            if options.replay:
                replica.apply_batch(batch.time_us, entries, batch.next_sequence)
    torn = log.torn_bytes()
    out.write(f"verified: {batches:,} batches, {commands:,} commands, epoch {log.chain.epoch}, {_torn(torn)}\n")
    if not options.replay:
        return 0
    totals = answer(replica, AskTotals())
    assert isinstance(totals, Totals)
    wrong = [asset for asset, *parts in totals.rows if sum(parts)]
    out.write(f"replayed to sequence {replica.sequence:,}: state {totals.state_hash}\n")
    if wrong:
        out.write(f"assets that do not add up to zero: {', '.join(map(str, wrong))}\n")
        return DOES_NOT_VERIFY
    out.write("every asset adds up to zero\n")
    return 0


def export(log: LogReader, options: argparse.Namespace, out: TextIO, progress: Progress) -> int:
    """Write one JSON object a command."""
    with output(options.output, out) as file:
        for batch in read(log, progress):
            if batch.first_sequence > options.to:
                break
            for sequence, entry in enumerate(entries_of(batch), batch.first_sequence):
                if options.first <= sequence <= options.to:
                    file.write(json.dumps(_line(batch, sequence, entry)) + "\n")
    return 0


def restore(log: LogReader, options: argparse.Namespace, out: TextIO, progress: Progress) -> int:
    """Fill an empty journal from the archive."""
    archive, target = log, _empty_log(options)
    try:
        target.acquire()
        batches = 0
        for batch in read(archive, progress):
            target.take(batch)
            batches += 1
        if not batches:
            raise NothingToDoError(f"{options.archive_bucket} holds nothing of group {options.group!r}")
    finally:
        target.close()
    last = archive.chain.next_sequence - 1
    out.write(f"restored: {batches:,} batches, to sequence {last:,}, hash {archive.chain.hash.hex()}\n")
    return 0


def _empty_log(options: argparse.Namespace) -> EventLog:
    """Return the journal to fill. Raises NothingToDoError."""
    if options.cluster_arn:
        log: EventLog = KafkaLog(KafkaCluster.of_msk(options.cluster_arn), COMMANDS, options.group)
        where = f"topic {COMMANDS}-{options.group}"
    else:
        log, where = FileLog(options.directory, COMMANDS, options.group), str(options.directory)
    if next(log.read(), None) is not None or log.newest_epoch():
        log.close()
        raise NothingToDoError(f"{where} holds a journal; a restore begins with an empty one: move that away first")
    return log


def _line(batch: Batch, sequence: int, entry: Entry) -> dict[str, Any]:
    command = entry.command
    return {
        "sequence": sequence,
        "epoch": batch.epoch,
        "time_us": batch.time_us,
        "session": entry.session,
        "n": entry.n,
        "expires_us": entry.expires_us,
        "command": type(command).__name__,
        "fields": {name: msgspec.to_builtins(getattr(command, name)) for name in command.__struct_fields__},
    }


@contextmanager
def output(path: Path | None, out: TextIO) -> Iterator[TextIO]:
    """Give the file at `path` to write to; without one, `out`."""
    if path is None:
        yield out
        return
    with path.open("w") as file:
        yield file


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m runtime.engine.journal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True)
    for name, run in (("inspect", inspect), ("verify", verify), ("export", export)):
        each = commands.add_parser(name, help=(run.__doc__ or "").rstrip("."))
        add_place(each)
        each.add_argument(
            "--log", choices=(COMMANDS, "events"), default=COMMANDS, help="which log (default: %(default)s)"
        )
        each.set_defaults(run=run)
        if name == "inspect":
            each.add_argument("--json", action="store_true", help="as JSON")
        elif name == "verify":
            each.add_argument("--replay", action="store_true", help="apply every command, too")
        else:
            each.add_argument("--first", type=int, default=1, help="first sequence (default: %(default)s)")
            each.add_argument("--to", type=int, default=sys.maxsize, help="last sequence (default: the end)")
            each.add_argument("--output", type=Path, help="a file (default: standard output)")
    each = commands.add_parser("restore", help=(restore.__doc__ or "").rstrip("."))
    each.add_argument("--archive-bucket", required=True, help=_ARCHIVE_HELP)
    add_place(each, is_written=True)
    each.set_defaults(run=restore, log=COMMANDS)
    return top


def add_place(command: argparse.ArgumentParser, *, is_written: bool = False) -> None:
    """Let a command name the journal that `open_log` opens; the archive is no place to write to."""
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--directory", type=Path, help="folder of the file journal, such as .local/state/journal/main")
    place.add_argument("--cluster-arn", help="ARN of the MSK cluster")
    if not is_written:
        place.add_argument("--archive-bucket", help=_ARCHIVE_HELP)
    command.add_argument("--group", default="main", help="market group (default: %(default)s)")


def open_log(options: argparse.Namespace) -> LogReader:
    """Return the log that the command line names. Raises LogError."""
    derivable = options.log != COMMANDS
    if options.archive_bucket:
        return Archive(S3Store(options.archive_bucket, boto3.client("s3")), options.group)
    if options.cluster_arn:
        return KafkaLog(KafkaCluster.of_msk(options.cluster_arn), options.log, options.group, derivable=derivable)
    if not any(options.directory.glob(f"{options.log}-*.log")):
        raise FileNotFoundError(f"{options.directory}: no files {options.log}-*.log are there")
    return FileLog(options.directory, options.log, options.group, derivable=derivable)


def main(arguments: list[str] | None = None, out: TextIO = sys.stdout, told: TextIO = sys.stderr) -> int:
    """Carry out one command; return the exit code."""
    options = parser().parse_args(arguments)
    run: Callable[[LogReader, argparse.Namespace, TextIO, Progress], int] = options.run
    if options.command == "export" and options.log != COMMANDS:
        told.write("export writes commands; the event log is read by `inspect` and `verify`\n")
        return WRONG_CALL
    if options.archive_bucket and options.log != COMMANDS:
        told.write("the archive holds commands; the event log follows from them\n")
        return WRONG_CALL
    try:
        log = open_log(options)
    except (FileNotFoundError, BatchError) as error:
        told.write(f"{error}\n")
        return WRONG_CALL
    try:
        return run(log, options, out, Progress(told))
    except LogError as error:
        told.write(f"does not verify: {error}\n")
        return DOES_NOT_VERIFY
    except (NothingToDoError, BotoCoreError, ClientError) as error:
        told.write(f"{error}\n")
        return WRONG_CALL
    finally:
        log.close()


if __name__ == "__main__":
    sys.exit(main())
