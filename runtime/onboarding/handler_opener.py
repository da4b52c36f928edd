"""Lambda: the one step that talks to the engine. It opens an approved applicant's account by the accounts' own path."""

import asyncio
import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.accounts.operations import open_account
from runtime.onboarding.applications import Applications
from runtime.onboarding.steps import Desk
from runtime.shared.business_events import AccountOpened, EventPublisher
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import linked
from runtime.shared.functions import logger, tracer
from runtime.shared.settings import read_catalogue_parameter


class NotApprovedError(RuntimeError):
    """The account of an application that was not approved is not opened, whatever the caller says."""


@tracer.capture_lambda_handler(capture_response=False)
def open_approved(request: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Open the account and tell the bus. Opening it again returns the same account, so a retry is safe."""
    name = str(request["application_id"])
    desk = Desk(applications=_applications(), events=_events(), now=datetime.now(UTC))
    made = desk.decision(name)
    if made.decision != "approved":
        raise NotApprovedError(f"application {name} was {made.decision}")
    account = asyncio.run(_open(os.environ["ENGINE_ADDRESS"], name, _catalogue().tier(made.tier).id))
    desk.applications.opened(name, account)
    opened = AccountOpened(event_id=f"account-opened/{account}", at_us=desk.now_us, account_id=account, tier=made.tier)
    for event in (desk.decided_event(name, made), opened):
        desk.events.publish(event)
    logger.info("account opened", application_id=name, account_id=account)
    return {"account_id": account}


async def _open(address: str, name: str, tier: int) -> int:
    async with linked(address) as link:
        return await open_account(link, name, tier)


@cache
def _catalogue() -> Catalogue:
    return read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])


@cache
def _applications() -> Applications:
    return Applications(os.environ["APPLICATION_TABLE"], os.environ["KYC_BUCKET"])


@cache
def _events() -> EventPublisher:
    return EventPublisher(os.environ["EVENT_BUS"])
