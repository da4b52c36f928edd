"""A service tells how it is, again and again."""

import asyncio
import logging

import pytest

from runtime.shared import pulse


def test_each_line_has_the_numbers_of_its_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pulse, "PULSE_S", 0.001)
    numbers = iter(range(1, 4))

    async def scenario() -> None:
        with pytest.raises(RuntimeError):  # whoever has no more to tell ends it
            await pulse.beat(lambda: {"waiting": next(numbers)})

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    assert [(each.getMessage(), each.__dict__["waiting"]) for each in caplog.records] == [
        ("pulse", n) for n in (1, 2, 3)
    ]
