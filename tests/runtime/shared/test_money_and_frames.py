"""Exact decimals, whole frames."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.shared.frames import FRAME_BYTES_MAX, FrameError, FrameSplitter, frame
from runtime.shared.money import MoneyError, NotDecimalError, TooPreciseError, format_decimal, parse_decimal


@given(st.integers(0, 10**30), st.integers(0, 18))
def test_what_is_written_is_read_back(amount: int, scale: int) -> None:
    assert parse_decimal(format_decimal(amount, scale), scale) == amount


@given(st.integers(-(10**20), 10**20), st.integers(0, 10), st.integers(0, 12))
def test_no_display_loses_money(amount: int, scale: int, places: int) -> None:
    try:
        text = format_decimal(amount, scale, places)
    except TooPreciseError:
        assert amount % 10 ** (scale - places)
        return
    assert len(text.partition(".")[2]) == places
    assert parse_decimal(text.removeprefix("-"), max(scale, places)) == abs(amount) * 10 ** max(0, places - scale)


@pytest.mark.parametrize(
    ("text", "scale", "amount"),
    [("1", 2, 100), ("1.5", 2, 150), (".5", 2, 50), ("7.", 2, 700), ("1.500000", 2, 150), ("007", 0, 7)],
)
def test_plain_forms(text: str, scale: int, amount: int) -> None:
    assert parse_decimal(text, scale) == amount


@pytest.mark.parametrize(
    "text",
    ["", ".", "-1", "+1", "1e5", "1_0", " 1", "1 ", "0x1", "1.2.3", "1,5", "NaN", "inf", "\u0661", "\u00b2", "9" * 41],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotDecimalError, match="plain decimal"):
        parse_decimal(text, 8)


def test_too_many_decimals_are_refused() -> None:
    with pytest.raises(TooPreciseError, match="at most 2 decimals"):
        parse_decimal("1.005", 2)


@given(st.text(max_size=50), st.integers(0, 18))
def test_no_text_raises_anything_else(text: str, scale: int) -> None:
    with contextlib.suppress(MoneyError):
        assert parse_decimal(text, scale) >= 0


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 20))
def test_frames_survive_any_cut(payloads: list[bytes], step: int) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    splitter, found = FrameSplitter(), []
    for start in range(0, len(stream), step):
        found += splitter.feed(stream[start : start + step])
    assert found == payloads


def test_an_oversized_frame_is_refused_unread() -> None:
    with pytest.raises(FrameError, match="at most"):
        FrameSplitter().feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="at most"):
        frame(bytes(FRAME_BYTES_MAX + 1))
