"""Parquet, by the library that the job's environment brings along."""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

import pyarrow as pa
from pyarrow import parquet

from runtime.curation.day import COLUMNS, Columns
from runtime.curation.lake import BadFileError

RECORDS_AT_ONCE: Final = 256
_TYPES: Final = {"bigint": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
_SCHEMA: Final = pa.schema([pa.field(name, _TYPES[kind], nullable=False) for name, kind in COLUMNS.items()])


class Parquet:
    """What Firehose writes, and Athena reads."""

    suffix = ".parquet"

    def read(self, data: bytes) -> Iterator[object]:
        """Yield each record, some at a time. Raises BadFileError where the file cannot be read, or no further."""
        try:
            for batch in parquet.ParquetFile(BytesIO(data)).iter_batches(batch_size=RECORDS_AT_ONCE):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise BadFileError(f"no Parquet, or not all of it: {error}") from error

    def write(self, columns: Columns) -> bytes:
        """Return one part of a day."""
        out = BytesIO()
        parquet.write_table(pa.table(columns, schema=_SCHEMA), out, compression="snappy")
        return out.getvalue()
