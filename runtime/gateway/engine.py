"""The gateway's side of the engine: the link as handlers see it, refusing at once what could not be sent at once."""

from typing import Protocol

from runtime.shared.engine_link import EngineBusyError
from runtime.shared.messages import Answered, Command, Question, Replied


class Engine(Protocol):
    """The part of `EngineLink` that the gateway uses."""

    @property
    def connected(self) -> bool:
        """Tell whether there is a link."""

    async def send(self, command: Command) -> Replied:
        """Have a command carried out."""

    async def ask(self, question: Question) -> Answered:
        """Have a question answered."""


class PromptEngine:
    """An engine that is never waited for while there is no link.

    `EngineLink` keeps a command until it is connected again, which may be minutes later. A trader wants to hear at
    once that the order was not sent, and that it never will be.
    """

    def __init__(self, link: Engine) -> None:
        """Speak through `link`; whoever made it starts and stops it."""
        self._link = link

    @property
    def connected(self) -> bool:
        """Tell whether there is a link."""
        return self._link.connected

    async def send(self, command: Command) -> Replied:
        """Have a command carried out. Raises EngineBusyError (not sent) or EngineUnavailableError (status unknown)."""
        if not self._link.connected:
            raise EngineBusyError("there is no link to the engine")
        return await self._link.send(command)

    async def ask(self, question: Question) -> Answered:
        """Have a question answered. Raises as `send`."""
        if not self._link.connected:
            raise EngineBusyError("there is no link to the engine")
        return await self._link.ask(question)
