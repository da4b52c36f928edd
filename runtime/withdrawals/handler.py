"""Lambda: requests, address books, approvals, and every step of a withdrawal but those that move money."""

import json
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from runtime.chain.rpc import Rpc
from runtime.shared import executions
from runtime.shared.asked import Asked, AssetName, ChainName, ReceiverAsked, SignedApproval
from runtime.shared.business_events import (
    AddressScreeningRequested,
    EventPublisher,
    Identifier,
    PartnerAnswered,
    WithdrawalRequested,
    read_event,
)
from runtime.shared.functions import logger, tracer
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import check, stored
from runtime.withdrawals.clerk import Clerk
from runtime.withdrawals.nodes import EthereumNodes
from runtime.withdrawals.register import Register, address_key
from runtime.withdrawals.rules import Receiver, Request, Rule, read_rules
from runtime.withdrawals.signing import Signing

CLEAR: Final = "clear"
"""What the screening partner says of an address that nothing is known against."""


class WithdrawalAsked(Asked):
    """A request as it comes from a gateway or an operator."""

    withdrawal_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    account: Annotated[int, Field(ge=1)]
    asked_by: Annotated[str, Field(min_length=1, max_length=128)]
    asset: AssetName
    chain: ChainName
    destination: Identifier
    amount: Annotated[int, Field(ge=1, le=2**62 - 1)]
    receiver: ReceiverAsked | None = None
    client_id: Annotated[str, Field(max_length=64)] = ""


class AddressAsked(Asked):
    """An address that an account wants to withdraw to."""

    account: Annotated[int, Field(ge=1)]
    chain: ChainName
    address: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]


class ApprovalGiven(SignedApproval):
    """One approver's word on a withdrawal."""

    withdrawal_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> str:
    """Carry out one step of the state machine."""
    outcome = _clerk().do(request)
    logger.info("step done", step=request["step"], withdrawal_id=request["withdrawal_id"], outcome=outcome)
    return outcome


@tracer.capture_lambda_handler(capture_response=False)
def apply(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Take a request and start its execution, which has its name: asked twice, it is carried out once."""
    given = WithdrawalAsked.model_validate(asked)
    name, now_s = given.withdrawal_id, int(time.time())
    fields = given.model_dump(exclude={"withdrawal_id", "receiver"})
    receiver = Receiver(name=given.receiver.name, place=given.receiver.place) if given.receiver else None
    _register().add(Request(request_id=name, receiver=receiver, **fields), now_s)
    _events().publish(
        WithdrawalRequested(
            event_id=f"withdrawal-requested/{name}",
            at_us=now_s * 1_000_000,
            account_id=given.account,
            withdrawal_id=name,
            asset=given.asset,
            amount=str(given.amount),
        )
    )
    executions.begin(name, {"withdrawal_id": name})
    return {"id": name}


@tracer.capture_lambda_handler(capture_response=False)
def add_address(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Add an address to an account's book and have it screened; it can be used once that is done and it has aged."""
    given = AddressAsked.model_validate(asked)
    now_s = int(time.time())
    key = address_key(given.account, given.chain, given.address)
    _register().add_address(given.account, given.chain, given.address, now_s)
    _events().publish(
        AddressScreeningRequested(
            event_id=f"screening/{key}",
            at_us=now_s * 1_000_000,
            screening_id=key,
            chain=given.chain,
            address=given.address,
        )
    )
    return {"id": key}


@tracer.capture_lambda_handler(capture_response=False)
def hear(envelope: Mapping[str, Any], _context: LambdaContext) -> None:
    """Note what the screening partner found of an address. Only the one word that clears it does."""
    event = read_event(envelope)
    if not isinstance(event, PartnerAnswered) or event.partner != "screening":
        logger.warning("not for withdrawals", event_id=event.event_id, detail_type=event.detail_type)
    elif not _register().screened(event.subject, is_clear=event.outcome == CLEAR):
        logger.warning("an answer about no address", event_id=event.event_id)


@tracer.capture_lambda_handler(capture_response=False)
def approve(given: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Take one approver's signature; with the last that is needed the execution goes on."""
    word = ApprovalGiven.model_validate(given)
    found = _register().withdrawal(word.withdrawal_id)
    approval = Approval(word.approver, word.expires_at, word.signature)
    check(found, approval, int(time.time()))
    if "token" not in found:
        raise RuntimeError(f"withdrawal {word.withdrawal_id} does not wait for approvals")
    count = _register().approve(word.withdrawal_id, word.approver, stored(approval))
    logger.info("approved", withdrawal_id=word.withdrawal_id, count=count)
    if count >= found["approvals_needed"] and not executions.tell(found["token"], "approved"):
        logger.info("nobody waits for this approval any more", withdrawal_id=word.withdrawal_id)
    return {"approvals": count, "needed": found["approvals_needed"]}


def _clerk() -> Clerk:
    return Clerk(
        register=_register(),
        signing=_signing(),
        chain=EthereumNodes([Rpc(address) for address in os.environ["NODE_ADDRESSES"].split(",")]),
        confirmations=json.loads(os.environ["CONFIRMATIONS"]),
        rules=_rules(),
        count_max=int(os.environ["HOURLY_COUNT_MAX"]),
        is_locked=_is_locked,
        publish=_events().publish,
        now_s=int(time.time()),
    )


def _is_locked(account: int) -> bool:
    key = {"account_id": {"N": str(account)}}
    answer = _dynamodb().get_item(TableName=os.environ["LOCK_TABLE"], Key=key, ConsistentRead=True)
    until_us = int(answer.get("Item", {}).get("locked_until_us", {"N": "0"})["N"])
    return until_us > time.time_ns() // 1_000


@cache
def _rules() -> tuple[Rule, ...]:
    return read_rules(os.environ["RULES"])


@cache
def _register() -> Register:
    return Register(os.environ["WITHDRAWAL_TABLE"])


@cache
def _signing() -> Signing:
    return Signing(os.environ["SIGNING_TABLE"])


@cache
def _events() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])


@cache
def _dynamodb() -> Any:  # noqa: ANN401 - boto3's
    return boto3.client("dynamodb")
