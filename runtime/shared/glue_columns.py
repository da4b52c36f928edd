"""The columns of a table in the lake, from the very struct that encodes its records. Pure."""

from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

_SCALARS: Final = {int: "bigint", str: "string", bool: "boolean"}


def columns(kind: type[Struct]) -> dict[str, str]:
    """Return name and Hive type of each field of `kind`, in order. Raises TypeError for a type that has none."""
    hints = get_type_hints(kind)
    return {field.encode_name: hive_type(hints[field.name]) for field in fields(kind)}


def hive_type(kind: Any) -> str:  # noqa: ANN401 - a type, or what typing makes of one
    """Return the Hive type of a field."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return f"struct<{','.join(f'{name}:{text}' for name, text in columns(kind).items())}>"
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return f"array<{hive_type(arguments[0])}>"
    if origin in (Union, UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return hive_type(inner)
    raise TypeError(f"a column must be int, str, bool, a list or a struct, was {kind!r}")
