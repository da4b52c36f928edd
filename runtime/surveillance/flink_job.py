"""Managed Service for Apache Flink starts this file: the trade stream in, findings out to the queue.

A thin shell over `stream_job`. Flink keeps each market's memory in its checkpoints and, after a failure, hands over
again what came since the last one; the queue's reader does not mind what comes twice. PyFlink is no dependency of the
exchange: only this file imports it, and only in AWS.

The application's property group GROUP says where to read and write: see `JobSettings`.
"""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

# In AWS the file is started by its path, from an archive with the project's root at its top.
ROOT: Final = Path(__file__).resolve().parents[2]
LIBRARIES: Final = ROOT / ".build" / "flink" / "python"
sys.path[:0] = [str(ROOT), str(LIBRARIES)]

import boto3  # noqa: E402 - found by the line above
from pyflink.common import Types  # noqa: E402
from pyflink.datastream import (  # noqa: E402
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import ValueStateDescriptor  # noqa: E402
from pyflink.table import StreamTableEnvironment  # noqa: E402

from runtime.surveillance.job_settings import PROPERTIES, JobSettings, read_settings, source_table  # noqa: E402
from runtime.surveillance.owners import Owners  # noqa: E402
from runtime.surveillance.stream_job import MarketTrades, advance, split  # noqa: E402
from runtime.surveillance.trades import Limits  # noqa: E402

log = logging.getLogger("surveillance")


class Detect(KeyedProcessFunction):  # type: ignore[misc] # PyFlink is not installed where types are checked
    """One market's memory, and where its findings go."""

    def __init__(self, settings: JobSettings) -> None:
        """Keep the settings: Flink sends this object to its workers, where `open` makes the rest."""
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Connect, once a worker."""
        self._memory = runtime_context.get_state(ValueStateDescriptor("watch", Types.PICKLED_BYTE_ARRAY()))
        self._queue = boto3.client("sqs", region_name=self._settings.region)
        dynamodb = boto3.resource("dynamodb", region_name=self._settings.region)
        self._owners = Owners(dynamodb, self._settings.owner_table)

    def process_element(self, value: tuple[int, bytes], _context: Any) -> Iterator[Any]:  # noqa: ANN401 - PyFlink's
        """Observe the trades of one market in one record; what is found leaves before the memory is changed."""
        step = advance(self._memory.value(), MarketTrades(*value), self._owners.of, Limits())
        if step.missing:
            log.error("trades are missing: market %d, %d", value[0], step.missing)
        for message in step.messages:
            self._queue.send_message(QueueUrl=self._settings.queue_url, MessageBody=message)
        self._memory.update(step.memory)
        yield from ()


def main() -> None:
    """Describe the job and hand it to Flink."""
    settings = read_settings(json.loads(Path(PROPERTIES).read_text()))
    environment = StreamExecutionEnvironment.get_execution_environment()
    for folder in (ROOT, LIBRARIES):  # each is put on the path of the workers
        environment.add_python_file(str(folder))
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(source_table(settings))
    pairs = Types.TUPLE([Types.INT(), Types.PICKLED_BYTE_ARRAY()])
    (
        tables.to_data_stream(tables.from_path("trades"))
        .flat_map(lambda row: (tuple(part) for part in split(bytes(row[0]))), output_type=pairs)
        .key_by(lambda part: part[0])
        .process(Detect(settings), output_type=Types.STRING())
        .print()
    )
    environment.execute("surveillance")


if __name__ == "__main__":
    main()
