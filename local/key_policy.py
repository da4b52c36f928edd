"""Whether a key policy, as synthesized and resolved, lets a principal do something with the key. Pure.

An operator or a form that is not known here is an error, never a guess: a policy must not seem to hold.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Context = Mapping[str, str]
"""Condition keys that the request has, lower case, each with its value; `aws:principalarn` among them."""


class PolicyError(ValueError):
    """The policy uses something that this evaluation does not know."""


def permits(policy: Mapping[str, Any], action: str, principal_arn: str, context: Context) -> bool:
    """Tell whether the policy allows `action`, such as kms:Decrypt, and nothing in it denies it."""
    known = {name.lower(): value for name, value in context.items()} | {"aws:principalarn": principal_arn}
    matching = [
        statement["Effect"]
        for statement in policy["Statement"]
        if _principal_matches(statement["Principal"], principal_arn)
        and any(_like(action.lower(), pattern.lower()) for pattern in _action_patterns(statement))
        and _holds(statement.get("Condition", {}), known)
    ]
    return "Allow" in matching and "Deny" not in matching


def _action_patterns(statement: Mapping[str, Any]) -> list[str]:
    if "Action" not in statement or not {"NotAction", "NotPrincipal", "NotResource"}.isdisjoint(statement):
        raise PolicyError(f"only Action and Principal are known, the statement has {sorted(statement)}")
    return _listed(statement["Action"])


def _principal_matches(principal: Any, arn: str) -> bool:  # noqa: ANN401 - "*" or a mapping
    if principal == "*":
        return True
    if not isinstance(principal, Mapping) or not {"AWS", "Service"} >= set(principal):
        raise PolicyError(f"a principal is *, AWS or Service, was {principal}")
    account = arn.split(":")[4]
    names = {"*", arn, account, f"arn:aws:iam::{account}:root"}
    return any(name in names for name in _listed(principal.get("AWS", [])))


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    return all(
        _one_holds(operator, context.get(key.lower()), _listed(wanted))
        for operator, tests in conditions.items()
        for key, wanted in tests.items()
    )


def _one_holds(operator: str, given: str | None, wanted: Sequence[str]) -> bool:
    if operator == "Null":
        return (given is None) == (wanted[0].lower() == "true")
    if operator not in _OPERATORS:
        raise PolicyError(f"condition operator {operator} is not known; known are Null, {', '.join(_OPERATORS)}")
    if given is None:
        return operator in _NEGATED
    matched = any(_OPERATORS[operator](given, each) for each in wanted)
    return matched != (operator in _NEGATED)


def _like(given: str, pattern: str) -> bool:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), given, re.DOTALL) is not None


def _listed(value: Any) -> list[str]:  # noqa: ANN401 - one or many
    return [str(value)] if isinstance(value, str | bool) else [str(each) for each in value]


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda given, wanted: given == wanted,
    "StringNotEquals": lambda given, wanted: given == wanted,
    "StringEqualsIgnoreCase": lambda given, wanted: given.lower() == wanted.lower(),
    "StringNotEqualsIgnoreCase": lambda given, wanted: given.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "ArnNotEquals": _like,
    "ArnNotLike": _like,
    "Bool": lambda given, wanted: given.lower() == wanted.lower(),
}
_NEGATED: Final = {"StringNotEquals", "StringNotEqualsIgnoreCase", "ArnNotEquals", "ArnNotLike"}
