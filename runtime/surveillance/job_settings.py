"""What the Flink job is told by the properties of its application. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

GROUP: Final = "surveillance"
PROPERTIES: Final = "/etc/flink/application_properties.json"
"""Where the service writes the properties of an application."""


class JobSettings(Struct, frozen=True):
    """Where the job reads and writes. Its template gives every one."""

    region: str
    stream_arn: str
    queue_url: str
    owner_table: str


def read_settings(groups: Sequence[Mapping[str, Any]]) -> JobSettings:
    """Return the settings in the group GROUP. Raises ValueError naming what is missing."""
    found = [group["PropertyMap"] for group in groups if group.get("PropertyGroupId") == GROUP]
    if len(found) != 1:
        raise ValueError(f"the application must have one property group {GROUP!r}, had {len(found)}")
    missing = [name for name in JobSettings.__struct_fields__ if not found[0].get(name)]
    if missing:
        raise ValueError(f"property group {GROUP!r} lacks {', '.join(missing)}")
    return JobSettings(**{name: found[0][name] for name in JobSettings.__struct_fields__})


def source_table(settings: JobSettings) -> str:
    """Return the statement that declares the trade stream, one column of bytes, read from the oldest that is kept.

    Raises ValueError for a value that would end its string.
    """
    for name in ("stream_arn", "region"):
        if "'" in (value := getattr(settings, name)):
            raise ValueError(f"{name} must not hold a quotation mark, was {value!r}")
    return (
        "CREATE TABLE trades (data BYTES) WITH ("
        f"'connector' = 'kinesis', 'stream.arn' = '{settings.stream_arn}', 'aws.region' = '{settings.region}', "
        "'source.init.position' = 'TRIM_HORIZON', 'format' = 'raw')"
    )
