"""The gateway's side of the engine: the link as handlers see it, refusing at once what could not be sent at once."""

from collections.abc import Callable
from typing import Protocol

from runtime.shared.engine_link import EngineBusyError, EngineError
from runtime.shared.messages import Answered, Command, Question, Replied

Tell = Callable[[Replied | EngineError], None]
"""Is told once what came of a command."""


class Engine(Protocol):
    """The part of `EngineLink` that the gateway uses."""

    @property
    def connected(self) -> bool:
        """Tell whether there is a link."""

    def submit(self, command: Command, tell: Tell) -> None:
        """Have a command carried out, and tell what came of it."""

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

    def submit(self, command: Command, tell: Tell) -> None:
        """Have a command carried out. `tell` gets its reply, or EngineUnavailableError: its status is unknown.

        Raises EngineBusyError: it was not sent, and nothing will be told.
        """
        if not self._link.connected:
            raise EngineBusyError("there is no link to the engine")
        self._link.submit(command, tell)

    async def ask(self, question: Question) -> Answered:
        """Have a question answered. Raises EngineBusyError (not asked) or EngineUnavailableError."""
        if not self._link.connected:
            raise EngineBusyError("there is no link to the engine")
        return await self._link.ask(question)
