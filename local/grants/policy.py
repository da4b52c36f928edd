"""Evaluates policies, as IAM does within one account. Pure."""

import fnmatch
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from local.resolve import Json

_NEGATED: Final = "Not"
_IF_EXISTS: Final = "IfExists"


class PolicyError(ValueError):
    """A policy cannot be evaluated: an operator nobody here knows, or a statement without a part it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Someone wants to do something to something."""

    role: str = ""
    """ARN of the role that calls; empty when a service does."""
    service: str = ""
    """Principal of the service that calls; empty when a role does."""
    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Condition keys in lower case, and their values."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, and where it stands: path of its resource and number."""

    where: str
    allows: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: Json = field(hash=False)
    """As the policy gives it; None in an identity policy."""
    not_principals: Json = field(hash=False)
    conditions: Json = field(hash=False)

    def covers(self, call: Call) -> bool:
        """Return whether action, resource and conditions fit; principals are looked at elsewhere."""
        if self.not_actions:
            fits = not any(_like(call.action.lower(), each.lower()) for each in self.not_actions)
        else:
            fits = any(_like(call.action.lower(), each.lower()) for each in self.actions)
        if fits and self.not_resources:
            fits = not any(_like(call.resource, each) for each in self.not_resources)
        elif fits and self.resources:
            fits = any(_like(call.resource, each) for each in self.resources)
        return fits and holds(self.conditions, dict(call.context))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call is allowed, and which statement says so; without one, nothing does."""

    is_allowed: bool
    by: str = ""


@dataclass(frozen=True, slots=True)
class Policies:
    """What decides on a call: the caller's own, its boundary, and the resource's."""

    identity: Sequence[Statement] = ()
    boundary: Sequence[Statement] | None = None
    resource: Sequence[Statement] | None = None
    """None where the resource has no policy."""
    is_key: bool = False
    """A key's policy must allow, or hand on to identity policies; others may also be silent."""


def statements(document: Json, where: str) -> list[Statement]:
    """Return the statements of a policy. Raises PolicyError."""
    given = json.loads(document) if isinstance(document, str) else document
    listed = given["Statement"] if isinstance(given["Statement"], list) else [given["Statement"]]
    return [_statement(each, f"{where}#{number}") for number, each in enumerate(listed, start=1)]


def _statement(given: Mapping[str, Json], where: str) -> Statement:
    if given.get("Effect") not in {"Allow", "Deny"}:
        raise PolicyError(f"{where}: Effect is Allow or Deny, was {given.get('Effect')!r}")
    for operator in given.get("Condition", {}):
        _operator(operator)
    return Statement(
        where=where,
        allows=given["Effect"] == "Allow",
        actions=_many(given.get("Action")),
        not_actions=_many(given.get("NotAction")),
        resources=_many(given.get("Resource")),
        not_resources=_many(given.get("NotResource")),
        principals=given.get("Principal"),
        not_principals=given.get("NotPrincipal"),
        conditions=given.get("Condition", {}),
    )


def decide(call: Call, policies: Policies) -> Decision:
    """Return what the policies say of a call."""
    own = [each for each in policies.identity if call.role and each.covers(call)]
    theirs = [(each, fit) for each in policies.resource or () if (fit := _names(each, call)) and each.covers(call)]
    for statement in [*own, *(each for each, _fit in theirs)]:
        if not statement.allows:
            return Decision(is_allowed=False, by=statement.where)
    bounded = policies.boundary is None or any(each.allows and each.covers(call) for each in policies.boundary)
    if policies.boundary is not None:
        for statement in policies.boundary:
            if not statement.allows and statement.covers(call):
                return Decision(is_allowed=False, by=statement.where)
    by_name = next((each for each, fit in theirs if each.allows and fit is _BY_NAME), None)
    if by_name is not None:
        return Decision(is_allowed=True, by=by_name.where)
    hands_on = not policies.is_key or any(each.allows and fit is _BY_ACCOUNT for each, fit in theirs)
    by_identity = next((each for each in own if each.allows), None)
    if by_identity is not None and bounded and hands_on:
        return Decision(is_allowed=True, by=by_identity.where)
    return Decision(is_allowed=False)


_BY_NAME: Final = "by name"
_BY_ACCOUNT: Final = "by account"


def _names(statement: Statement, call: Call) -> str:
    """Return whether a resource's statement is about the caller: by name, by its account, or not."""
    if statement.not_principals is not None:
        return "" if _fit(statement.not_principals, call) else _BY_NAME
    fit = _fit(statement.principals, call)
    # A Deny that names the account is about everyone in it.
    return _BY_NAME if fit and not statement.allows else fit


def _fit(principals: Json, call: Call) -> str:
    if principals == "*":
        return _BY_NAME
    if not isinstance(principals, dict):
        raise PolicyError(f"a principal is * or an object, was {principals!r}")
    if call.service:
        return _BY_NAME if call.service in _many(principals.get("Service")) else ""
    account = call.role.split(":")[4] if call.role.count(":") >= 5 else ""  # noqa: PLR2004 - an ARN
    fit = ""
    for principal in _many(principals.get("AWS")):
        if principal in {"*", call.role}:
            return _BY_NAME
        if principal in {account, f"arn:aws:iam::{account}:root"}:
            fit = _BY_ACCOUNT
    return fit


def holds(conditions: Mapping[str, Mapping[str, Json]], context: Mapping[str, Sequence[str]]) -> bool:
    """Return whether every condition holds. Raises PolicyError for an operator nobody here knows."""
    return all(
        _operator(operator)(_many(wanted), context.get(key.lower()))
        for operator, pairs in conditions.items()
        for key, wanted in pairs.items()
    )


_Test = Callable[[tuple[str, ...], Sequence[str] | None], bool]


@cache
def _operator(name: str) -> _Test:
    """Return what tests wanted values against those of the context."""
    quantifier, _colon, rest = name.rpartition(":")
    base = rest.removesuffix(_IF_EXISTS)
    if base == "Null":
        return lambda wanted, found: (found is None) == (wanted[0].lower() == "true")
    is_negated = _NEGATED in base
    compare = _COMPARISONS.get(base.replace(_NEGATED, "", 1))
    if compare is None or quantifier not in {"", "ForAllValues", "ForAnyValue"}:
        raise PolicyError(f"no rule for the condition operator {name}")
    is_optional = rest.endswith(_IF_EXISTS)

    def test(wanted: tuple[str, ...], found: Sequence[str] | None) -> bool:
        if found is None:
            return is_optional or is_negated or quantifier == "ForAllValues"
        fits = [any(compare(value, each) for each in wanted) != is_negated for value in found]
        return all(fits) if quantifier == "ForAllValues" or is_negated else any(fits)

    return test


def _like(text: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of `*` and `?`; a bracket means itself."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")), re.DOTALL)


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda found, wanted: compare(float(found), float(wanted))


def _arn_like(found: str, wanted: str) -> bool:
    parts, patterns = found.split(":", 5), wanted.split(":", 5)
    return len(parts) == len(patterns) and all(map(_like, parts, patterns))


_COMPARISONS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
    "IpAddress": lambda found, wanted: ipaddress.ip_address(found) in ipaddress.ip_network(wanted),
    "NumericEquals": _numeric(lambda found, wanted: found == wanted),
    "NumericGreaterThan": _numeric(lambda found, wanted: found > wanted),
    "NumericGreaterThanEquals": _numeric(lambda found, wanted: found >= wanted),
    "NumericLessThan": _numeric(lambda found, wanted: found < wanted),
    "NumericLessThanEquals": _numeric(lambda found, wanted: found <= wanted),
    "StringEquals": lambda found, wanted: found == wanted,
    "StringEqualsIgnoreCase": lambda found, wanted: found.lower() == wanted.lower(),
    "StringLike": _like,
}


def _many(value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(_text(each) for each in value)
    return (_text(value),)


def _text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def without(sources: Iterable[Statement], removed: str) -> Iterator[Statement]:
    """Yield every statement but the one that stands at `removed`."""
    return (each for each in sources if each.where != removed)
