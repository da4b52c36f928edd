"""Lambda: the only function of off-boarding that talks to the engine."""

import asyncio
import os
import time
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.offboarding.broker import Broker
from runtime.offboarding.register import Register
from runtime.shared.catalogue import Catalogue
from runtime.shared.engine_link import EngineLink, linked
from runtime.shared.functions import logger, tracer
from runtime.shared.messages import Answered, Command, Question, Reply
from runtime.shared.settings import read_catalogue_parameter


class LinkedEngine:
    """The engine over one link."""

    def __init__(self, link: EngineLink) -> None:
        """Use a link that is started."""
        self._link = link

    async def send(self, command: Command) -> Reply:
        """Return the reply to a command. Raises as `EngineLink.send`; the step then comes again."""
        return (await self._link.send(command)).reply

    async def ask(self, question: Question) -> Answered:
        """Return the answer to a question. Raises as `EngineLink.ask`."""
        return await self._link.ask(question)


@tracer.capture_lambda_handler(capture_response=False)
def do_step(request: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Carry out one step that asks the engine."""
    step, name = str(request["step"]), str(request["closure_id"])
    done = asyncio.run(_done(step, name))
    logger.info("step done", step=step, closure_id=name, outcome=done["outcome"])
    return done


async def _done(step: str, name: str) -> dict[str, Any]:
    async with linked(os.environ["ENGINE_ADDRESS"]) as link:
        broker = Broker(
            register=_register(),
            engine=LinkedEngine(link),
            assets={asset.id: asset.name for asset in _catalogue().assets},
            days_max=int(os.environ["SETTLE_DAYS_MAX"]),
            now_s=int(time.time()),
        )
        return await broker.do(step, name)


@cache
def _catalogue() -> Catalogue:
    return read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])


@cache
def _register() -> Register:
    return Register(os.environ["OFFBOARDING_TABLE"])
