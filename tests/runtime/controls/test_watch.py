"""Each look of the watch leaves a number, also one that fails: an alarm reads it."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.controls import handler
from runtime.controls.carrier import AMISS, EngineRefusedError


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers that were written down, in order."""
    numbers: list[int] = []

    def write(_message: str, *, extra: dict[str, int] | None = None, **_fields: Any) -> None:
        numbers.extend(value for name, value in (extra or {}).items() if name == AMISS)

    for level in ("info", "warning", "error"):
        monkeypatch.setattr(handler.logger, level, write)
    return numbers


@pytest.mark.parametrize("mended", [[], ["status#BTCUSDT"]])
def test_a_look_that_could_mend_everything_is_zero(
    monkeypatch: pytest.MonkeyPatch, told: list[int], mended: list[str]
) -> None:
    monkeypatch.setattr(handler, "carried", lambda _work: mended)
    assert handler.watch({}, LambdaContext()) == {"mended": mended}
    assert told == [0]


@pytest.mark.parametrize(
    "error", [EngineRefusedError("no"), ConnectionError("away"), ExceptionGroup("all", [OSError()])]
)
def test_a_look_that_failed_is_one_and_still_fails(
    monkeypatch: pytest.MonkeyPatch, told: list[int], error: Exception
) -> None:
    def fail(_work: Callable[..., Any]) -> None:
        raise error

    monkeypatch.setattr(handler, "carried", fail)
    with pytest.raises(type(error)):
        handler.watch({}, LambdaContext())
    assert told == [1]
