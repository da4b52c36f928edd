"""Every reason against a withdrawal, and who counts as an approver."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.withdrawals.rules import (
    Approval,
    KnownAddress,
    Receiver,
    Request,
    Rule,
    approvals_missing,
    reasons_against,
)

NOW = 1_800_000_000
RULE = Rule(
    asset="ETH",
    chain="ethereum",
    minimum=10,
    transaction_max=1000,
    day_max=2000,
    approval_above=500,
    travel_rule_from=300,
    cooldown_s=86_400,
)
REQUEST = Request(
    request_id="w1",
    account=7,
    asked_by="ani",
    asset="ETH",
    chain="ethereum",
    destination="0xAA",
    amount=400,
    receiver=Receiver(name="Budi", place="Jakarta"),
)
ADDRESS = KnownAddress(chain="ethereum", address="0xAA", added_at_s=NOW - 86_400, is_screened=True)


def against(request: Request = REQUEST, address: KnownAddress | None = ADDRESS, **changes: Any) -> list[str]:
    situation = {"left_today": 0, "is_locked": False, "now_s": NOW} | changes
    return [reason.text for reason in reasons_against(request, RULE, address, **situation)]


def test_a_good_request_goes_on() -> None:
    assert against() == []
    assert against(replace(REQUEST, amount=1000), left_today=1000) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": 9}, "at least 10"),
        ({"amount": -400}, "at least 10"),
        ({"amount": 1001}, "at most 1000 leave at once"),
        ({"destination": "0xAB"}, "not in the customer's book"),
        ({"receiver": Receiver(name=" ", place="Jakarta")}, "name is missing"),
        ({"receiver": Receiver(name="Budi", place="")}, "from 300 on"),
        ({"asset": "BTC"}, "BTC does not leave on ethereum"),
        ({"chain": "bitcoin"}, "ETH does not leave on bitcoin"),
    ],
)
def test_each_wrong_part_of_a_request_is_a_reason(change: dict[str, Any], reason: str) -> None:
    (told,) = against(replace(REQUEST, **change))
    assert reason in told


def test_the_situation_can_be_against_it() -> None:
    assert against(is_locked=True) == ["the account is locked for withdrawals"]
    assert "with this one it were 2001" in against(left_today=1601)[0]
    assert "leave in a day" in against(left_today=-1)[0]
    assert against(address=None) == ["the address is not in the customer's book"]
    young = replace(ADDRESS, added_at_s=NOW - 86_399, is_screened=False)
    assert against(address=young) == [
        "the address has not passed screening",
        "the address is 86399 s old, 86400 s are needed",
    ]
    assert reasons_against(REQUEST, None, ADDRESS, left_today=0, is_locked=False, now_s=NOW)


def approval(person: str, device: str, **changes: Any) -> Approval:
    made = Approval(person=person, device=device, request_id="w1", destination="0xAA", amount=600, expires_at_s=NOW + 1)
    return replace(made, **changes)


LARGE = replace(REQUEST, amount=600)


@pytest.mark.parametrize(
    ("approvals", "missing"),
    [
        ([], 2),
        ([approval("budi", "d1"), approval("citra", "d2")], 0),
        ([approval("budi", "d1"), approval("budi", "d2")], 1),
        ([approval("budi", "d1"), approval("citra", "d1")], 1),
        ([approval("ani", "d1"), approval("citra", "d2")], 1),
        ([approval("budi", "d1", expires_at_s=NOW), approval("citra", "d2")], 1),
        ([approval("budi", "d1", amount=601), approval("citra", "d2", destination="0xAB")], 2),
        ([approval("budi", "d1", request_id="w2")], 2),
    ],
)
def test_two_people_with_two_devices_approve_this_very_withdrawal(approvals: list[Approval], missing: int) -> None:
    assert approvals_missing(LARGE, RULE, approvals, needed=2, now_s=NOW) == missing
    assert approvals_missing(REQUEST, RULE, approvals, needed=2, now_s=NOW) == 0


@given(
    st.lists(st.builds(approval, st.sampled_from(["ani", "budi", "citra"]), st.sampled_from(["d1", "d2"])), max_size=8)
)
def test_the_one_who_asked_never_helps(approvals: list[Approval]) -> None:
    others = [each for each in approvals if each.person != "ani"]
    missing = approvals_missing(LARGE, RULE, approvals, needed=2, now_s=NOW)
    assert missing == approvals_missing(LARGE, RULE, others, needed=2, now_s=NOW)
    assert missing > 0 or len({each.person for each in others}) >= 2
