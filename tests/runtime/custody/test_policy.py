"""What may be signed: nothing, until everything that a yes needs is shown."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.wallet_enclave.manifest import ManifestError, verified
from runtime.wallet_enclave.messages import (
    AMOUNT_MAX,
    Approval,
    Destination,
    Manifest,
    MessageError,
    SignWithdrawal,
    Withdrawal,
    decode,
    decode_request,
    encode,
)
from runtime.wallet_enclave.policy import RefusedError, Spent, allowed
from tests.runtime.custody.vault import (
    APPROVERS,
    DESTINATION,
    SIGNERS,
    approval,
    load,
    manifest,
    public,
    rule,
    withdrawal,
)

NOW = 1_800_000_000
WALLET_ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
OTHER = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
MANIFEST = manifest(WALLET_ADDRESS)
LARGE = withdrawal(amount=2_00000000)


def why(wanted: Withdrawal, *approvals: Approval, under: Manifest | None = MANIFEST, spent: Spent | None = None) -> str:
    """Return the reason of the refusal; empty when it may be signed."""
    try:
        allowed(under, wanted, approvals, spent or Spent(), NOW)
    except RefusedError as error:
        return str(error)
    return ""


def test_a_listed_destination_and_a_small_amount_may_be_signed() -> None:
    assert why(withdrawal()) == ""
    assert why(withdrawal(amount=1_00000000)) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"wallet": "hot-2"}, "another wallet"),
        ({"chain": "bitcoin"}, "no rule for ETH on bitcoin"),
        ({"asset": "USDT"}, "no rule for USDT on ethereum"),
        ({"destination": OTHER}, "not on the manifest's list"),
        ({"destination": DESTINATION.lower()}, "capitals of its checksum"),
        ({"destination": DESTINATION.replace("0x5a", "0x5A", 1)}, "capitals of its checksum"),
        ({"destination": DESTINATION + " "}, "capitals of its checksum"),
        ({"destination": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"}, "capitals of its checksum"),
        ({"amount": 0}, "an amount is 1 to"),
        ({"amount": -1}, "an amount is 1 to"),
        ({"amount": AMOUNT_MAX + 1}, "an amount is 1 to"),
        ({"amount": 5_00000001}, "at most 500000000 leave at once"),
        ({"fee_per_gas_max": 10**12}, "a fee is at most"),
        ({"priority_fee_per_gas_max": 30_000_000_001}, "priority fee"),
        ({"amount": 1_00000001}, "2 approvals are needed, 0 are valid"),
    ],
)
def test_each_wrong_part_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    assert reason in why(withdrawal(**change))


def test_without_a_manifest_or_under_a_halting_one_nothing_is_signed() -> None:
    assert why(withdrawal(), under=None) == "no manifest is in force"
    assert "halts" in why(withdrawal(), under=manifest(WALLET_ADDRESS, halted=True))
    assert "no rule" in why(withdrawal(), under=manifest(WALLET_ADDRESS, assets=()))
    assert "list" in why(withdrawal(), under=manifest(WALLET_ADDRESS, destinations=()))


def test_two_approvers_are_needed_for_a_large_amount_and_one_twice_is_one() -> None:
    first, second, _ = (approval(key, LARGE, NOW + 60) for key in APPROVERS)
    assert why(LARGE, first, second) == ""
    assert "1 are valid" in why(LARGE, first)
    assert "1 are valid" in why(LARGE, first, first)
    assert "1 are valid" in why(LARGE, first, approval(APPROVERS[0], LARGE, NOW + 90))


def test_an_approval_ends_and_is_for_one_withdrawal_only() -> None:
    first, second, _ = (approval(key, LARGE, NOW + 60) for key in APPROVERS)
    assert "1 are valid" in why(LARGE, first, approval(APPROVERS[1], LARGE, NOW))
    elsewhere = msgspec.structs.replace(LARGE, amount=LARGE.amount + 1)
    assert "0 are valid" in why(elsewhere, first, second)
    assert "0 are valid" in why(msgspec.structs.replace(LARGE, request_id="request-0002"), first, second)
    longer = msgspec.structs.replace(second, expires_at=second.expires_at + 1)
    assert "1 are valid" in why(LARGE, first, longer)
    stranger = approval(SIGNERS[0], LARGE, NOW + 60)
    assert "1 are valid" in why(LARGE, first, stranger)
    assert "at most 16 approvals" in why(LARGE, *[first] * 17)


def test_one_start_signs_no_more_than_its_cap_however_it_is_split() -> None:
    spent = Spent()
    for number in range(20):
        part = withdrawal(request_id=f"request-{number:04}", amount=1_00000000, nonce=number)
        assert why(part, spent=spent) == ""
        spent.add(part)
    one_more = withdrawal(request_id="request-more", amount=1, nonce=20)
    assert "may sign 2000000000 in all" in why(one_more, spent=spent)


def test_a_repeated_request_counts_once_and_an_altered_one_is_refused() -> None:
    spent = Spent()
    whole = withdrawal(amount=1_00000000)
    for _ in range(30):
        assert why(whole, spent=spent) == ""
        spent.add(whole)
    assert spent.amounts == {("ethereum", "ETH"): 1_00000000}
    assert "another withdrawal was signed" in why(withdrawal(amount=99_999_999), spent=spent)
    assert "nonce 0 was signed" in why(withdrawal(request_id="request-0002"), spent=spent)


PARTS = {
    "request_id": st.sampled_from([f"request-{number:04}" for number in range(6)]),
    "wallet": st.sampled_from(["hot-1", "hot-2", ""]),
    "chain": st.sampled_from(["ethereum", "bitcoin", ""]),
    "asset": st.sampled_from(["ETH", "BTC", ""]),
    "destination": st.sampled_from([DESTINATION, OTHER, DESTINATION.lower(), ""]),
    "amount": st.integers(-(2**70), 2**70) | st.integers(0, 6_00000000),
    "nonce": st.integers(0, 3),
    "fee_per_gas_max": st.integers(0, 10**13),
    "priority_fee_per_gas_max": st.integers(0, 10**13),
}


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.fixed_dictionaries({}, optional=PARTS), st.lists(st.integers(0, 2), max_size=3)), max_size=12)
)
def test_whatever_is_asked_what_is_signed_keeps_every_bound(asked: list[tuple[dict[str, Any], list[int]]]) -> None:
    spent, signed = Spent(), []
    for parts, approvers in asked:
        wanted = withdrawal(**parts)
        try:
            allowed(MANIFEST, wanted, [approval(APPROVERS[who], wanted, NOW + 9) for who in approvers], spent, NOW)
        except RefusedError:
            continue
        spent.add(wanted)
        signed.append(wanted)
        assert (wanted.wallet, wanted.chain, wanted.asset) == ("hot-1", "ethereum", "ETH")
        assert wanted.destination == DESTINATION
        assert 1 <= wanted.amount <= rule().transaction_max
        assert wanted.amount <= rule().approval_above or len(set(approvers)) >= 2
        assert 21_000 * wanted.fee_per_gas_max <= rule().fee_max * rule().chain_units
    once = {wanted.request_id: wanted for wanted in signed}
    assert sum(wanted.amount for wanted in once.values()) <= rule().boot_max
    assert all(once[wanted.request_id] == wanted for wanted in signed)
    assert len({wanted.nonce for wanted in once.values()}) == len(once)


def test_a_manifest_needs_two_of_the_three_keys_of_the_image() -> None:
    built_in = [public(key) for key in SIGNERS]
    data = encode(MANIFEST)

    def take(*keys: Any, newer_than: int = 0) -> Manifest:
        return verified(data, load(data, *keys).signatures, built_in, newer_than=newer_than)

    for pair in ((0, 1), (0, 2), (1, 2)):
        assert take(*(SIGNERS[number] for number in pair)) == MANIFEST
    for keys in ([], SIGNERS[:1], [SIGNERS[0], SIGNERS[0]], [SIGNERS[0], APPROVERS[0]], APPROVERS):
        with pytest.raises(ManifestError, match=r"2 of 3 signatures are needed, [01] are valid"):
            take(*keys)
    with pytest.raises(ManifestError, match="version 1 is not above 1"):
        take(*SIGNERS, newer_than=1)
    changed = encode(msgspec.structs.replace(MANIFEST, halted=True))
    with pytest.raises(ManifestError, match="0 are valid"):
        verified(changed, load(data, *SIGNERS).signatures, built_in, newer_than=0)
    with pytest.raises(ManifestError, match="3 different keys"):
        verified(data, load(data, *SIGNERS).signatures, [built_in[0]] * 3, newer_than=0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"assets": (rule(), rule(transaction_max=10**18))}, "two rules"),
        ({"approvers": (public(APPROVERS[0]),) * 3}, "named twice"),
        ({"approvals_required": 4}, "4 approvals of 3 approvers"),
    ],
)
def test_a_manifest_that_contradicts_itself_does_not_count(changes: dict[str, Any], reason: str) -> None:
    data = encode(manifest(WALLET_ADDRESS, **changes))
    with pytest.raises(ManifestError, match=reason):
        verified(data, load(data, *SIGNERS).signatures, [public(key) for key in SIGNERS], newer_than=0)


CANONICAL = encode(SignWithdrawal(withdrawal(), ()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"amount":50000000,', b""),
        (b'"amount":50000000,', b'"amount":50000000,"amount":1,'),
        (b'"amount":50000000', b'"amount":50000000.0'),
        (b'"amount":50000000', b'"amount":5e7'),
        (b'"amount":50000000', b'"amount":"50000000"'),
        (b'"amount":50000000', b'"amount":-50000000'),
        (b'"amount":50000000', b'"amount":0'),
        (b'"amount":50000000', b'"amount":NaN'),
        (b'"amount":50000000', b'"amount":' + str(2**256).encode()),
        (b'"amount":50000000', b'"amount": 50000000'),
        (b'"amount":50000000', b'"amount":null'),
        (b'"nonce":0', b'"nonce":0,"memo":"x"'),
        (b'"destination":"' + DESTINATION.encode() + b'",', b""),
        (b'"approvals":[]', b'"approvals":[{}]'),
        (b'"type":"sign_withdrawal"', b'"type":"sign_hash"'),
        (b'"hot-1"', b'"\\u0068ot-1"'),
        (b'"hot-1"', b'"\xff"'),
        (b"}", b"} "),
    ],
)
def test_a_request_has_exactly_one_form(old: bytes, new: bytes) -> None:
    assert old in CANONICAL
    with pytest.raises(MessageError):
        decode_request(CANONICAL.replace(old, new))
    assert encode(decode_request(CANONICAL)) == CANONICAL


@settings(max_examples=500)
@given(st.binary(max_size=400) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(msgspec.json.encode))
def test_no_bytes_raise_anything_but_a_message_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode_request(data)
    with pytest.raises(MessageError):
        decode(data, Destination)


def test_deep_and_long_requests_are_refused() -> None:
    with pytest.raises(MessageError):
        decode_request(b"[" * 60_000)
    with pytest.raises(MessageError, match="at most 65536 bytes"):
        decode_request(b" " * 70_000)
