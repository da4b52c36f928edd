"""Stands before moto: decides on each call of a known caller, records what is new, refuses what is not granted."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from local.callers import Caller
from local.grants.book import Book
from local.grants.policy import Call, Decision
from local.grants.requests import Known, Need, Request, UnknownRequestError, needs
from local.refusals import Answer

REMEMBERED_MAX: Final = 100_000
_REST: Final = frozenset({"lambda", "scheduler", "ses"})
logger = logging.getLogger(__name__)


class Guard:
    """The policies of one deployment, at work."""

    def __init__(self, book: Book, record: Path, *, is_enforced: bool) -> None:
        """Record each different call into `record`, anew. Refuse only if `is_enforced`."""
        self.refused: Counter[str] = Counter()
        """How often what was not granted, by message."""
        self.is_enforced = is_enforced
        self._book = book
        self._decided: dict[Call, Decision] = {}
        self._lock = threading.Lock()
        self._record = record.open("w", buffering=1)

    @property
    def known(self) -> Known:
        """What requests do not say of themselves."""
        return self._book.known

    def close(self) -> None:
        """Close the record."""
        with self._lock:
            self._record.close()

    def judge(self, caller: Caller, request: Request) -> Answer | None:
        """Return the refusal of a request, or None to let it pass."""
        try:
            calls = [_call(caller, need, request) for need in needs(request)]
        except UnknownRequestError as error:
            return self._refuse(request, f"User: {caller} makes a call that cannot be judged: {error}")
        except (KeyError, ValueError, AttributeError, TypeError):
            return None  # malformed: the service itself will say so
        for call in calls:
            decision = self._decide(call)
            if not decision.is_allowed:
                return self._refuse(request, _told(caller, call, decision))
        return None

    def _decide(self, call: Call) -> Decision:
        with self._lock:
            decision = self._decided.get(call)
        if decision is None:
            decision = self._book.decide(call)
            with self._lock:
                if len(self._decided) < REMEMBERED_MAX and not self._record.closed:
                    self._decided[call] = decision
                    self._record.write(_line(call, decision))
        return decision

    def _refuse(self, request: Request, message: str) -> Answer | None:
        with self._lock:
            self.refused[message] += 1
            is_first = self.refused[message] == 1
        if is_first:
            logger.warning("%s%s", "" if self.is_enforced else "would refuse: ", message)
        return denied(request, message) if self.is_enforced else None


def denied(request: Request, message: str) -> Answer:
    """Return a refusal in the protocol of the request."""
    is_s3 = request.service == "s3"
    if not is_s3 and not request.form:
        return Answer.error(403 if request.service in _REST else 400, "AccessDeniedException", message)
    detail = f"<Code>AccessDenied</Code><Message>{escape(message)}</Message>"
    body = f"<Error>{detail}</Error>" if is_s3 else f"<ErrorResponse><Error>{detail}</Error></ErrorResponse>"
    return Answer("403 Forbidden", [("Content-Type", "application/xml")], body.encode())


def _call(caller: Caller, need: Need, request: Request) -> Call:
    action, resource, context = need
    everyone: Mapping[str, list[str]] = {
        "aws:principalaccount": [request.account],
        "aws:requestedregion": [request.region],
        "aws:securetransport": ["true"],
        "aws:viaawsservice": ["true" if "kms:viaservice" in context else "false"],
        "s3:tlsversion": ["1.3"],
    }
    own = (
        {"aws:principalarn": [caller.role], "aws:principalisawsservice": ["false"]}
        if caller.role
        else {
            "aws:principalisawsservice": ["true"],
            "aws:sourcearn": [caller.source],
            "aws:sourceaccount": [request.account],
        }
    )
    whole = {**everyone, **own, **context}
    return Call(
        role=caller.role,
        service=caller.service,
        action=action,
        resource=resource,
        context=tuple((key, tuple(value)) for key, value in sorted(whole.items())),
    )


def _told(caller: Caller, call: Call, decision: Decision) -> str:
    why = f"with an explicit deny in {decision.by}" if decision.by else "because no policy allows it"
    return f"User: {caller} is not authorized to perform: {call.action} on resource: {call.resource} {why}"


def _line(call: Call, decision: Decision) -> str:
    told = {
        "caller": call.role or call.service,
        "is_role": bool(call.role),
        "action": call.action,
        "resource": call.resource,
        "context": {key: list(values) for key, values in call.context},
        "allowed": decision.is_allowed,
        "by": decision.by,
    }
    return json.dumps(told) + "\n"
