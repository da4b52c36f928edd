"""Lambda: the only function of withdrawals that talks to the engine."""

import asyncio
import os
import time
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineLink, linked
from runtime.shared.functions import logger, tracer
from runtime.shared.messages import Answer, Command, Question, Reply
from runtime.shared.settings import read_catalogue_parameter
from runtime.withdrawals.register import Register
from runtime.withdrawals.teller import Teller


class LinkedEngine:
    """The engine over one link."""

    def __init__(self, link: EngineLink) -> None:
        """Use a link that is started."""
        self._link = link

    async def send(self, command: Command) -> Reply:
        """Return the reply to a command. Raises as `EngineLink.send`; the step then comes again."""
        return (await self._link.send(command)).reply

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question. Raises as `EngineLink.ask`."""
        return (await self._link.ask(question)).answer


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> str:
    """Carry out one step that moves money."""
    step, name = str(request["step"]), str(request["withdrawal_id"])
    outcome = asyncio.run(_done(step, name))
    logger.info("step done", step=step, withdrawal_id=name, outcome=outcome)
    return outcome


async def _done(step: str, name: str) -> str:
    async with linked(os.environ["ENGINE_ADDRESS"]) as link:
        assets = {asset.name: asset.id for asset in _catalogue().assets}
        teller = Teller(register=_register(), engine=LinkedEngine(link), assets=assets, now_s=int(time.time()))
        return await teller.do(step, name)


@cache
def _catalogue() -> Catalogue:
    return read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])


@cache
def _register() -> Register:
    return Register(os.environ["WITHDRAWAL_TABLE"])
