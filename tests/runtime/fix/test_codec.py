"""Framing: what is written is read back, wherever it is cut; what is not FIX is refused at once."""

import contextlib
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.fix.codec import BODY_BYTES_MAX, FixError, decode, encode
from runtime.fix.session import NOT_BUILT, answer

NOW = datetime(2026, 11, 26, 1, 2, 3, 4_567, tzinfo=UTC)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)
bodies = st.lists(st.tuples(st.integers(1, 99_999), values), max_size=20).map(lambda rest: [(35, "A"), *rest])


def logon(**changed: str) -> bytes:
    """Return a Logon; `_49=""` leaves a field out."""
    fields = {"35": "A", "34": "1", "49": "CLIENT", "52": "20261126-01:02:03.004", "56": "BURSA", "98": "0"}
    fields |= {tag.removeprefix("_"): value for tag, value in changed.items()}
    return encode((int(tag), value) for tag, value in fields.items() if value)


@given(bodies)
def test_what_is_written_is_read_back(fields: list[tuple[int, str]]) -> None:
    assert decode(encode(fields)) == fields


@given(bodies, st.data())
def test_a_part_of_a_message_is_waited_for(fields: list[tuple[int, str]], data: st.DataObject) -> None:
    whole = encode(fields)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert decode(whole[:cut]) is None


@given(bodies, st.data())
def test_a_changed_byte_is_never_taken(fields: list[tuple[int, str]], data: st.DataObject) -> None:
    whole = bytearray(encode(fields))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FixError):
        assert decode(bytes(whole)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_awaited_or_refused(data: bytes) -> None:
    with contextlib.suppress(FixError):
        decode(data)


def test_length_and_checksum_are_those_of_the_standard() -> None:
    """The length counts from after its own field to before the checksum; counted here in another way."""
    whole = encode([(35, "A"), (49, "CLIENT"), (56, "BURSA")])
    found = re.fullmatch(rb"(8=FIX\.4\.4\x019=(\d+)\x01(35=A.*\x01))10=(\d{3})\x01", whole, re.DOTALL)
    assert found
    assert int(found[2]) == len(found[3]) == 5 + 10 + 9
    assert int(found[4]) == sum(found[1]) & 0xFF


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1", "begins with"),
        (b"8=FIX.4.2\x01", "begins with"),
        (b"8=FIX.4.4\x0135=A\x01", "second field"),
        (b"8=FIX.4.4\x019=\x01", "digits"),
        (b"8=FIX.4.4\x019=1x\x01", "digits"),
        (b"8=FIX.4.4\x019=99999", "digits"),
        (b"8=FIX.4.4\x019=9999\x01", f"at most {BODY_BYTES_MAX}"),
        (b"8=FIX.4.4\x019=5\x0135=A\x0110=000\x01", "checksum"),
    ],
)
def test_what_can_be_no_message_is_refused_before_more_comes(data: bytes, reason: str) -> None:
    with pytest.raises(FixError, match=reason):
        decode(data)


@pytest.mark.parametrize("fields", [[(34, "1")], [(35, "A"), (58, "two\x01lines")], [(35, "")], [(35, "x" * 5000)]])
def test_what_fix_cannot_carry_is_not_written(fields: list[tuple[int, str]]) -> None:
    with pytest.raises(FixError):
        encode(fields)


def test_a_logon_is_answered_by_a_logout_that_says_why() -> None:
    fields = decode(logon())
    assert fields
    assert decode(answer(fields, NOW)) == [
        (35, "5"),
        (49, "BURSA"),
        (56, "CLIENT"),
        (34, "1"),
        (52, "20261126-01:02:03.004"),
        (58, NOT_BUILT),
    ]
    assert "not built" in NOT_BUILT


@pytest.mark.parametrize(
    "message", [logon(_35="D"), logon(_49=""), logon(_56=""), logon(_49="x" * 65)], ids=["order", "49", "56", "long"]
)
def test_another_first_message_is_refused(message: bytes) -> None:
    fields = decode(message)
    assert fields
    with pytest.raises(FixError):
        answer(fields, NOW)
