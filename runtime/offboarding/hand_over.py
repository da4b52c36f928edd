"""The hand-over of all accounts to another trader: two approvals, then files in the transfer-out bucket, once.

    [two approvals] → export: files under hand-over/<id>/<ledger sequence>/, the manifest last

A folder without a manifest was cut off and is void; the next attempt writes one of its own.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from botocore.exceptions import ClientError

from runtime.offboarding.approvals import NEEDED, valid
from runtime.offboarding.clerk import NotApprovedError, UnknownStepError, outcome
from runtime.offboarding.export import export
from runtime.offboarding.register import ASKED, EXPORTED, REFUSED, Register
from runtime.shared.business_events import BusinessEvent, CaseOpened, HandOverChanged
from runtime.shared.catalogue import Catalogue
from runtime.shared.hand_over import MANIFEST
from runtime.shared.request_table import StatusError

logger = logging.getLogger(__name__)
PREFIX: Final = "hand-over/"
_THERE: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """What the steps work with. `connect` opens the ledger, for the one step that reads it."""

    register: Register
    connect: Callable[[], psycopg.Connection]
    catalogue: Catalogue
    bucket: Any
    approvers: Collection[str]
    publish: Callable[[BusinessEvent], None]
    now_s: int

    def do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out the step that `request` names; return its outcome. Raises UnknownStepError, and as the stores."""
        name = str(request["hand_over_id"])
        match request["step"]:
            case "await-approval":
                if self.register.request(name)["status"] != EXPORTED:
                    self.register.move(name, (ASKED,), ASKED, token=str(request["token"]))
                    self._changed(name, "waiting")
                return outcome("waiting")
            case "export":
                return outcome(self.export(name))
            case "refuse":
                self.register.refuse(name)
                self._changed(name, REFUSED)
                return outcome("refused")
            case "undecided":
                return outcome(self.undecided(name, int(request["attempt"])))
            case step:
                raise UnknownStepError(f"no step {step!r}")

    def export(self, name: str) -> str:
        """Write the files, then note where. Raises NotApprovedError, and OutOfBalanceError for books that are wrong."""
        found = self.register.request(name)
        if found["status"] == ASKED:
            count = len(valid(found, self.approvers, self.now_s))
            if count < NEEDED:
                raise NotApprovedError(f"{NEEDED} approvals are needed, {count} count")
            with self.connect() as connection:
                made = export(connection, self.catalogue, name)
            folder = f"{PREFIX}{name}/{made.sequence}"
            for file, content in made.files.items():
                self._put(f"{folder}/{file}", content)
            self.register.move(name, (ASKED,), EXPORTED, location=f"s3://{self.bucket.name}/{folder}/{MANIFEST}")
        elif found["status"] != EXPORTED:
            raise StatusError(f"request {name} is {found['status']}, not {ASKED}")
        self._changed(name, "exported")
        return "exported"

    def undecided(self, name: str, attempt: int) -> str:
        """Open a case for a person; the same request goes on once it is asked again."""
        case = f"hand-over-undecided/{name}/{attempt}"
        self.publish(
            CaseOpened(
                event_id=case,
                at_us=self.now_s * 1_000_000,
                case_id=case,
                kind="hand-over-undecided",
                severity="high",
            )
        )
        self.register.try_again(name, attempt)
        return "undecided"

    def _put(self, key: str, content: bytes) -> None:
        """Write an object once. What an attempt at the same sequence wrote has the same bytes, and stays."""
        try:
            self.bucket.put_object(Key=key, Body=content, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                raise
            logger.info("%s is there already", key)

    def _changed(self, name: str, state: Any) -> None:  # noqa: ANN401 - one of the event's words
        found = self.register.request(name)
        self.publish(
            HandOverChanged(
                event_id=f"hand-over-{state}/{name}",
                at_us=self.now_s * 1_000_000,
                hand_over_id=name,
                state=state,
                location=found.get("location", ""),
            )
        )
