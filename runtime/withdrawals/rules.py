"""Why a withdrawal is refused, and whether enough people have approved it. Pure; the enclave checks again by itself.

Amounts are in units of the ledger. Every reason is told at once, so that a customer mends all of them in one go.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydantic import TypeAdapter

DAY_S: Final = 24 * 3600


class Reason(NamedTuple):
    """Why not: a code for events and programs, and the words for whoever asked."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who receives, as the travel rule wants to know it."""

    name: str
    place: str
    """Address or institution, such as the exchange that holds the receiver's account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a customer asked for."""

    request_id: str
    account: int
    asked_by: str
    """The person, not the account: nobody approves what they asked for themselves."""
    asset: str
    chain: str
    destination: str
    amount: int
    receiver: Receiver | None
    client_id: str = ""
    """The customer's own name of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may leave of one asset on one chain."""

    asset: str
    chain: str
    minimum: int
    transaction_max: int
    day_max: int
    approval_above: int
    travel_rule_from: int
    cooldown_s: int
    """So long a new address waits."""
    hour_max: int = 0
    """What all customers together withdraw within an hour before everything is halted."""
    fee: int = 0
    """What the house keeps of each withdrawal; the rest is sent."""


def read_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of an environment, which are JSON. Raises ValueError for anything else."""
    return TypeAdapter(tuple[Rule, ...]).validate_json(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAddress:
    """An address in the customer's book."""

    chain: str
    address: str
    added_at_s: int
    is_screened: bool
    """Whether screening found nothing against it; unknown is no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's yes."""

    person: str
    device: str
    request_id: str
    destination: str
    amount: int
    expires_at_s: int


def reasons_against(
    request: Request,
    rule: Rule | None,
    address: KnownAddress | None,
    *,
    left_today: int,
    is_locked: bool,
    now_s: int,
) -> list[Reason]:
    """Return every reason to refuse; empty when the request may go on.

    `left_today` is what the customer withdrew of the asset in the last DAY_S, requests on their way included.
    `is_locked` is the account's lock after a change of credentials, or by an operator.
    """
    if rule is None or (rule.asset, rule.chain) != (request.asset, request.chain):
        return [Reason("asset-not-withdrawable", f"{request.asset} does not leave on {request.chain}")]
    found = [Reason("account-locked", "the account is locked for withdrawals")] if is_locked else []
    if request.amount < rule.minimum:
        found.append(Reason("below-minimum", f"at least {rule.minimum} must be withdrawn, asked were {request.amount}"))
    if request.amount > rule.transaction_max:
        found.append(
            Reason("above-maximum", f"at most {rule.transaction_max} leave at once, asked were {request.amount}")
        )
    if left_today < 0 or left_today + request.amount > rule.day_max:
        found.append(above_day(rule, left_today + request.amount))
    found += _against_address(request, rule, address, now_s)
    receiver = request.receiver
    if receiver is None or not receiver.name.strip():
        found.append(Reason("receiver-name-missing", "the receiver's name is missing"))
    if request.amount >= rule.travel_rule_from and (receiver is None or not receiver.place.strip()):
        text = f"from {rule.travel_rule_from} on the receiver's address or institution must be given"
        found.append(Reason("receiver-place-missing", text))
    return found


def above_day(rule: Rule, total: int) -> Reason:
    """Return the reason against more in a day than a customer may withdraw."""
    return Reason("above-day-limit", f"at most {rule.day_max} leave in a day, with this one it were {total}")


def _against_address(request: Request, rule: Rule, address: KnownAddress | None, now_s: int) -> list[Reason]:
    if address is None or (address.chain, address.address) != (request.chain, request.destination):
        return [Reason("address-unknown", "the address is not in the customer's book")]
    found = [] if address.is_screened else [Reason("address-not-screened", "the address has not passed screening")]
    age_s = now_s - address.added_at_s
    if age_s < rule.cooldown_s:
        found.append(Reason("address-too-new", f"the address is {age_s} s old, {rule.cooldown_s} s are needed"))
    return found


def approvals_missing(request: Request, rule: Rule, approvals: Iterable[Approval], *, needed: int, now_s: int) -> int:
    """Return how many more people must approve. Two approvals from one person or one device count once."""
    if request.amount <= rule.approval_above:
        return 0
    valid = [
        each
        for each in approvals
        if (each.request_id, each.destination, each.amount) == (request.request_id, request.destination, request.amount)
        and each.expires_at_s > now_s
        and each.person != request.asked_by
    ]
    # A person with two devices, or a device with two people, must not look like two of both.
    people, devices = {each.person for each in valid}, {each.device for each in valid}
    return max(0, needed - min(len(people), len(devices)))
