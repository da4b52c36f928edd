"""Lambda: requests, approvals, steps that ask neither engine nor ledger, deposits that come too late, clocks."""

import json
import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field, TypeAdapter

from runtime.offboarding.api_keys import KeyRing
from runtime.offboarding.approvals import NEEDED, check
from runtime.offboarding.clerk import Clerk, Retention, open_due
from runtime.offboarding.payouts import Payouts
from runtime.offboarding.register import CLOSED, CLOSURE, CUSTOMER, HAND_OVER, OPERATOR, Register
from runtime.shared import executions
from runtime.shared.asked import Asked, AssetName, ChainName, ReceiverAsked, SignedApproval
from runtime.shared.business_events import CaseOpened, DepositCredited, EventPublisher, Identifier, read_event
from runtime.shared.functions import logger, tracer
from runtime.shared.messages import FIRST_USER_ACCOUNT
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import stored
from runtime.withdrawals.register import Register as WithdrawalRegister
from runtime.withdrawals.register import UnknownWithdrawalError
from runtime.withdrawals.rules import Rule

_NAME: Final = r"^[A-Za-z0-9_-]{8,40}$"
"""Shorter than a withdrawal's id, which is made of it."""


class PayoutRefusedError(RuntimeError):
    """The way in of withdrawals did not take a request."""


class PayoutAsked(Asked):
    """Where what is left of an asset goes: an address of the customer's own book."""

    chain: ChainName
    destination: Identifier
    receiver: ReceiverAsked


class ClosureAsked(Asked):
    """A request to close an account. Without payouts the customer withdraws everything as usual."""

    closure_id: Annotated[str, Field(pattern=_NAME)]
    account: Annotated[int, Field(ge=FIRST_USER_ACCOUNT, lt=2**63)]
    asked_by: Identifier
    payouts: Annotated[dict[AssetName, PayoutAsked], Field(max_length=50)] = Field(default_factory=dict)


class HandOverAsked(Asked):
    """A request to hand all accounts over."""

    hand_over_id: Annotated[str, Field(pattern=_NAME)]
    to: Annotated[str, Field(min_length=1, max_length=200)]
    """The trader who takes them."""
    asked_by: Identifier


class ApprovalGiven(SignedApproval):
    """One approver's word on a request."""

    request_id: Annotated[str, Field(pattern=_NAME)]


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Carry out one step of the state machine."""
    done = _clerk().do(request)
    logger.info("step done", step=request["step"], closure_id=request["closure_id"], outcome=done["outcome"])
    return done


@tracer.capture_lambda_handler(capture_response=False)
def ask_as_customer(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Take a customer's request to close the own account, from whoever has signed the customer in."""
    return _ask(asked, CUSTOMER)


@tracer.capture_lambda_handler(capture_response=False)
def ask_as_operator(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Take an operator's request to close an account; it waits for two approvals."""
    return _ask(asked, OPERATOR)


def _ask(asked: dict[str, Any], initiator: str) -> dict[str, str]:
    """Store a request and start its execution; asked twice, it is carried out once, and goes on after a failure."""
    given = ClosureAsked.model_validate(asked)
    name = given.closure_id
    payouts = {asset: each.model_dump() for asset, each in sorted(given.payouts.items())}
    fields = {
        "id": name,
        "kind": CLOSURE,
        "account": given.account,
        "asked_by": given.asked_by,
        "initiator": initiator,
        "details": json.dumps({"payouts": payouts}, sort_keys=True),
    }
    return _started(fields, "closure_id")


@tracer.capture_lambda_handler(capture_response=False)
def ask_hand_over(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Take an operator's request to hand all accounts over to another trader; it waits for two approvals."""
    given = HandOverAsked.model_validate(asked)
    fields = {
        "id": given.hand_over_id,
        "kind": HAND_OVER,
        "account": 0,
        "asked_by": given.asked_by,
        "initiator": OPERATOR,
        "details": json.dumps({"to": given.to}),
    }
    return _started(fields, "hand_over_id")


def _started(fields: dict[str, Any], key: str) -> dict[str, str]:
    """Store a request and start the execution of its present attempt."""
    name = fields["id"]
    _register().add(fields, int(time.time()))
    attempt = _register().request(name)["attempt"]
    executions.begin(f"{name}-{attempt}", {key: name, "attempt": attempt})
    return {"id": name}


@tracer.capture_lambda_handler(capture_response=False)
def approve(given: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Take one approver's signature; with the last that is needed the execution goes on."""
    word = ApprovalGiven.model_validate(given)
    found = _register().request(word.request_id)
    approval = Approval(word.approver, word.expires_at, word.signature)
    check(found, approval, _approvers(), int(time.time()))
    if "token" not in found:
        raise RuntimeError(f"request {word.request_id} does not wait for approvals")
    count = _register().approve(word.request_id, word.approver, stored(approval))
    logger.info("approved", request_id=word.request_id, count=count)
    if count >= NEEDED and not executions.tell(found["token"], "approved"):
        logger.info("nobody waits for this approval any more", request_id=word.request_id)
    return {"approvals": count, "needed": NEEDED}


@tracer.capture_lambda_handler(capture_response=False)
def hear(envelope: Mapping[str, Any], _context: LambdaContext) -> None:
    """Open a case for what is credited to an account that is closed: somebody has to give it back."""
    event = read_event(envelope)
    if not isinstance(event, DepositCredited):
        logger.warning("not for off-boarding", event_id=event.event_id, detail_type=event.detail_type)
        return
    name = _register().request_of(event.account_id)
    if name is None or _register().request(name)["status"] != CLOSED:
        return
    case = f"deposit-after-closure/{event.event_id}"[:128]
    _events().publish(
        CaseOpened(
            event_id=case,
            at_us=event.at_us,
            case_id=case,
            kind="deposit-after-closure",
            severity="medium",
            account_ids=(event.account_id,),
        )
    )


@tracer.capture_lambda_handler(capture_response=False)
def clocks(_event: Mapping[str, Any], _context: LambdaContext) -> list[str]:
    """Open a case for each account whose records need not be kept any more."""
    return open_due(_register(), _events().publish, int(time.time()))


class AwsWithdrawals:
    """The way in of withdrawals, as a function, and their register, as a table."""

    def __init__(self, function: str, table: str) -> None:
        """Use these."""
        self._function = function
        self._register = WithdrawalRegister(table)

    def apply(self, asked: Mapping[str, Any]) -> None:
        """Take a request. Raises PayoutRefusedError with the kind of error, never with what was asked."""
        answer = _lambda().invoke(FunctionName=self._function, Payload=json.dumps(asked).encode())
        told = json.load(answer["Payload"])
        if answer.get("FunctionError") or told.get("id") != asked["withdrawal_id"]:
            raise PayoutRefusedError(f"withdrawal {asked['withdrawal_id']}: {told.get('errorType', 'no answer')}")

    def status(self, withdrawal_id: str) -> str | None:
        """Return how far a withdrawal has come; None for one that was never taken."""
        try:
            status: str = self._register.withdrawal(withdrawal_id)["status"]
        except UnknownWithdrawalError:
            return None
        return status


def _clerk() -> Clerk:
    return Clerk(
        register=_register(),
        keys=_keys(),
        payouts=_payouts(),
        approvers=_approvers(),
        retention=Retention(files_years=int(os.environ["FILES_YEARS"]), books_years=int(os.environ["BOOKS_YEARS"])),
        publish=_events().publish,
        now_s=int(time.time()),
    )


def _approvers() -> tuple[str, ...]:
    return tuple(os.environ["APPROVERS"].split(","))


@cache
def _payouts() -> Payouts:
    return Payouts(
        withdrawals=AwsWithdrawals(os.environ["WITHDRAWAL_DOOR"], os.environ["WITHDRAWAL_TABLE"]),
        rules=TypeAdapter(tuple[Rule, ...]).validate_json(os.environ["RULES"]),
    )


@cache
def _keys() -> KeyRing:
    return KeyRing(os.environ["API_KEY_TABLE"])


@cache
def _register() -> Register:
    return Register(os.environ["OFFBOARDING_TABLE"])


@cache
def _events() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])


@cache
def _lambda() -> Any:  # noqa: ANN401 - boto3's
    return boto3.client("lambda")
