"""The step that reads the ledger: the final statement, once the ledger has come as far as the engine had."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg

from runtime.offboarding.clerk import UnknownStepError, outcome
from runtime.offboarding.register import CONFIRMED, EMPTY, STATED, Register
from runtime.portfolio.statement import final_statement
from runtime.reporting.filing import Cabinet
from runtime.shared.business_day import day_of
from runtime.shared.catalogue import Catalogue
from runtime.shared.request_table import StatusError

BEHIND_WAIT_S: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What the step works with."""

    register: Register
    connection: psycopg.Connection
    catalogue: Catalogue
    cabinet: Cabinet
    now_s: int

    def do(self, step: str, name: str) -> dict[str, Any]:
        """Carry out the step; return its outcome. Raises OutOfBalanceError where the books say that something is left.

        `behind`: the ledger has not come so far yet.
        """
        if step != "state":
            raise UnknownStepError(f"no step {step!r}")
        found = self.register.request(name)
        if found["status"] in {STATED, CONFIRMED}:
            return outcome("stated")
        if found["status"] != EMPTY:
            raise StatusError(f"request {name} is {found['status']}, not {EMPTY}")
        row = self.connection.execute("SELECT coalesce(max(sequence), 0) FROM positions").fetchone()
        if row is None or row[0] < found["sequence"]:
            return outcome("behind", BEHIND_WAIT_S)
        day = day_of(self.now_s * 1_000_000)
        statement = final_statement(self.connection, self.catalogue, found["account"], found["sequence"], day)
        where = self.cabinet.file(statement, found["sequence"])
        self.register.move(name, (EMPTY,), STATED, statement=where)
        return outcome("stated")
