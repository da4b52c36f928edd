"""What a target is given of an event: all of it, a constant, a part, or a text made of parts. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Final

from local.resolve import Json

_VARIABLE: Final = re.compile(r"<([\w.-]+)>")
_STEP: Final = re.compile(r"\.([\w-]+)|\['([^']+)'\]|\[(\d+)\]")


class InputError(ValueError):
    """An input is written in a way that this module does not know."""


def shaped(target: Mapping[str, Json], event: Mapping[str, Json], rule_arn: str) -> str:
    """Return the JSON text that `target` of a rule is sent for `event`."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(at(event, target["InputPath"]))
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        values: dict[str, Json] = {name: at(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
        values |= {
            "aws.events.event": event,
            "aws.events.event.json": event,
            "aws.events.event.ingestion-time": event.get("time"),
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_arn.rpartition("/")[2],
        }
        return filled(transformer["InputTemplate"], values)
    return json.dumps(event)


def at(event: Json, path: str) -> Json:
    """Return the value at a path such as `$.detail.amounts[0]`; None where there is none. Raises InputError."""
    if not path.startswith("$"):
        raise InputError(f"a path begins with $, was {path!r}")
    place = 1
    value = event
    while place < len(path):
        step = _STEP.match(path, place)
        if step is None:
            raise InputError(f"no rule for {path[place:]!r} in the path {path!r}")
        key, quoted, index = step.groups()
        if index is not None:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(key or quoted) if isinstance(value, dict) else None
        place = step.end()
    return value


def filled(template: str, values: Mapping[str, Json]) -> str:
    """Return the template with each `<name>` replaced: by JSON, or by its text where it stands inside a string."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            return found[0]
        text = json.dumps(values[name])
        if not _inside_string(template, found.start()):
            return text
        plain = values[name] if isinstance(values[name], str) else "" if values[name] is None else text
        return json.dumps(plain)[1:-1]

    return _VARIABLE.sub(value, template)


def _inside_string(template: str, place: int) -> bool:
    before = template[:place].replace("\\\\", "").replace('\\"', "")
    return before.count('"') % 2 == 1
