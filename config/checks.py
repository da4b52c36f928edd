"""How a value of the configuration is bounded: each check says what is allowed, and the loader adds what was given."""

import re
from typing import ClassVar

from pydantic import AfterValidator, ConfigDict


class Sample(str):
    """A value that only a deployer can know: synth reports it and `make deploy` refuses it until it is replaced."""

    __slots__ = ()


class Checked:
    """Makes pydantic check an instance that already exists, without turning "5" into 5."""

    __slots__ = ()
    __pydantic_config__: ClassVar = ConfigDict(strict=True, revalidate_instances="always")


def between(least: float, most: float) -> AfterValidator:
    """Return a check for a number from `least` to `most`, both allowed."""

    def check(value: float) -> float:
        if not least <= value <= most:
            raise ValueError(f"must be {least} to {most}")
        return value

    return AfterValidator(check)


def matching(pattern: str, meaning: str) -> AfterValidator:
    """Return a check for a text that is wholly `pattern`; `meaning` says so in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")
        return value

    return AfterValidator(check)
