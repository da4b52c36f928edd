"""Lambda: `brake` takes what one operator may do alone, `ask` what others must approve, `approve` takes signatures."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from runtime.controls.approvals import NEEDED, check
from runtime.controls.carrier import AMISS, Carrier, changed
from runtime.controls.register import ASKED, Register
from runtime.controls.rules import Control, ControlError, control_of
from runtime.shared.asked import Asked, SignedApproval
from runtime.shared.business_events import EventPublisher, Identifier
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineLink, linked
from runtime.shared.functions import logger, tracer
from runtime.shared.messages import Answered, Command, Question, Replied
from runtime.shared.settings import read_catalogue_parameter
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import stored
from runtime.withdrawals.register import Register as WithdrawalRegister

Answer = TypeVar("Answer")
NAME: Final = r"^[A-Za-z0-9_-]{8,64}$"


class ControlAsked(Asked, hide_input_in_errors=False):
    """What an operator asks for; errors show what it was. `value` is a status, or `open` or `halt` of withdrawals."""

    control_id: Annotated[str, Field(pattern=NAME)]
    asked_by: Identifier
    kind: Literal["status", "limits", "withdrawals"]
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9]{0,40}$")] = ""
    value: Annotated[str, Field(max_length=20)] = ""
    limits: Annotated[dict[str, str | int], Field(max_length=20)] = Field(default_factory=dict)
    """What moves, if `kind` is `limits`."""
    reason: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9.-]+$")]
    """A code, such as `price-move`; customers hear it with the status."""


class ApprovalGiven(SignedApproval):
    """One operator's word on a control."""

    control_id: Annotated[str, Field(pattern=NAME)]


@tracer.capture_lambda_handler(capture_response=False)
def brake(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Do at once what makes things safer; asked twice, it is done once. Once taken it is done, though it fail here."""
    given = ControlAsked.model_validate(asked)
    control = _control(given)
    if not control.alone_from:
        raise ControlError(f"{given.kind} {given.value} opens or moves a limit: ask for it, and have it approved")
    _added(given, control)
    outcome = carried(lambda carrier: carrier.alone(given.control_id))
    logger.info("control done alone", control_id=given.control_id, outcome=outcome)
    return {"id": given.control_id, "outcome": outcome}


@tracer.capture_lambda_handler(capture_response=False)
def ask(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Keep a control until operators approve it, and tell the bus that it waits."""
    given = ControlAsked.model_validate(asked)
    _added(given, _control(given))
    found = register().control(given.control_id)
    if found["status"] == ASKED:
        events().publish(changed(given.control_id, given.kind, found["symbol"], "waiting", int(time.time())))
    return {"id": given.control_id, "outcome": found["status"], "seen": found["seen"]}


@tracer.capture_lambda_handler(capture_response=False)
def approve(given: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Take one operator's signature; with the last that is needed the control is carried out.

    The same word again, after a failure, carries on from where it failed.
    """
    word = ApprovalGiven.model_validate(given)
    found = register().control(word.control_id)
    count = NEEDED
    if found["status"] == ASKED:
        approval = Approval(word.approver, word.expires_at, word.signature)
        check(found, approval, _approvers(), int(time.time()))
        count = register().approve(word.control_id, word.approver, stored(approval))
        logger.info("approved", control_id=word.control_id, count=count)
    outcome = "waiting"
    if count >= NEEDED:
        outcome = carried(lambda carrier: carrier.approved(word.control_id, _approvers()))
    return {"approvals": count, "needed": NEEDED, "outcome": outcome}


@tracer.capture_lambda_handler(capture_response=False)
def watch(_event: dict[str, Any], _context: LambdaContext) -> dict[str, list[str]]:
    """Mend what is not as it was last wanted, and write down whether anything stays looser: an alarm reads that.

    Raises what it could not mend.
    """
    try:
        mended = carried(lambda carrier: carrier.watch())
    except Exception:
        logger.error("controls are not as wanted", extra={AMISS: 1})
        raise
    if mended:
        logger.warning("settings mended", settings=mended)
    logger.info("controls are as wanted", extra={AMISS: 0})
    return {"mended": mended}


class CatalogueParameter:
    """The catalogue as an SSM parameter."""

    def __init__(self, name: str) -> None:
        """Use the parameter of this name."""
        self._name = name

    def read(self) -> Catalogue:
        """Return it as it is now."""
        return read_catalogue_parameter(self._name)

    def write(self, catalogue: Catalogue) -> None:
        """Put another in its place; SSM keeps the one before as an older version."""
        boto3.client("ssm").put_parameter(
            Name=self._name, Value=catalogue.to_json(), Overwrite=True, Tier="Intelligent-Tiering"
        )


class EngineOnDemand:
    """The engine, linked to when it is first needed: an engine that is away stops nothing that does not need it."""

    def __init__(self, address: str, links: AsyncExitStack) -> None:
        """Link to the engine at `address`; `links` closes the link."""
        self._address, self._links = address, links
        self._link: EngineLink | None = None

    async def send(self, command: Command) -> Replied:
        """Have a command sequenced. Raises as `linked` and `EngineLink.send`."""
        return await (await self._linked()).send(command)

    async def ask(self, question: Question) -> Answered:
        """Return an answer. Raises as `linked` and `EngineLink.ask`."""
        return await (await self._linked()).ask(question)

    async def _linked(self) -> EngineLink:
        if self._link is None:
            self._link = await self._links.enter_async_context(linked(self._address))
        return self._link


def carried(work: Callable[[Carrier], Coroutine[Any, Any, Answer]]) -> Answer:
    """Do `work` on the stores and the engine of this function's environment. Raises as the work."""

    async def run() -> Answer:
        async with AsyncExitStack() as links:
            carrier = Carrier(
                register=register(),
                engine=EngineOnDemand(os.environ["ENGINE_ADDRESS"], links),
                markets=CatalogueParameter(os.environ["CATALOGUE_PARAMETER"]),
                withdrawals=_withdrawals(),
                publish=events().publish,
                now_s=int(time.time()),
            )
            return await work(carrier)

    return asyncio.run(run())


def _control(given: ControlAsked) -> Control:
    catalogue = CatalogueParameter(os.environ["CATALOGUE_PARAMETER"]).read()
    return control_of(given.kind, given.symbol, given.value, given.limits, catalogue)


def _added(given: ControlAsked, control: Control) -> None:
    catalogue = CatalogueParameter(os.environ["CATALOGUE_PARAMETER"]).read()
    fields = {
        "id": given.control_id,
        "kind": control.kind,
        "symbol": control.symbol,
        "value": control.value,
        "reason": given.reason,
        "asked_by": given.asked_by,
    }
    register().add(fields, control.settings(catalogue), int(time.time()))


def _approvers() -> tuple[str, ...]:
    return tuple(os.environ["APPROVERS"].split(","))


@cache
def register() -> Register:
    """Return the register of controls."""
    return Register(os.environ["CONTROL_TABLE"])


@cache
def _withdrawals() -> WithdrawalRegister:
    return WithdrawalRegister(os.environ["WITHDRAWAL_TABLE"])


@cache
def events() -> EventPublisher:
    """Return the way to the bus."""
    return EventPublisher(os.environ["EVENT_BUS"])
