"""Every statement with a star or a sensitive action, and why it is there."""

import fnmatch
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.evidence.assembly import Assembly, Resource

REASONS: Final = Path(__file__).resolve().parents[2] / "config/iam_reasons.json"
SENSITIVE: Final = re.compile(
    r"iam:PassRole|sts:AssumeRole|kms:(Decrypt|Sign|CreateGrant|PutKeyPolicy|ScheduleKeyDeletion|DisableKey)"
    r"|secretsmanager:GetSecretValue|rds-db:connect|\w+:Delete\w*|\w+:Put\w*Policy|s3:BypassGovernanceRetention"
    r"|cognito-idp:Admin\w+|.*\*"
)
_OWN: Final = ("PolicyDocument", "KeyPolicy", "ResourcePolicy", "AssumeRolePolicyDocument")


@dataclass(frozen=True, slots=True, order=True)
class Statement:
    """One action that a policy allows, where it is sensitive or wide."""

    role: str
    action: str
    resource: str
    condition: str
    why: str


def statements(assembly: Assembly, stage: str, reasons: Path = REASONS) -> list[Statement]:
    """Return the sensitive statements of a stage. Raises ValueError naming each that nobody has explained."""
    rules = json.loads(reasons.read_text())
    found, unexplained = set(), set()
    for resource, statement in _allowing(assembly, stage):
        resources = [assembly.text(resource, each) for each in _listed(statement.get("Resource", "*"))]
        for action in _listed(statement["Action"]):
            starred = [each for each in resources if "*" in each and resource.type.startswith("AWS::IAM")]
            if not SENSITIVE.fullmatch(action) and not starred:
                continue
            role = resource.name.removesuffix("/Grants")
            reasons_of = {each: _reason(rules, role, action, each) for each in sorted(resources)}
            if unknown := [each for each, why in reasons_of.items() if why is None]:
                unexplained.add(f"{role}: {action} on {', '.join(unknown)}")
                continue
            why = "\n".join(dict.fromkeys(filter(None, reasons_of.values())))
            condition = assembly.text(resource, statement["Condition"]) if "Condition" in statement else ""
            found.add(Statement(role, action, "\n".join(reasons_of), condition, why))
    if unexplained:
        raise ValueError(f"say in {reasons.name} why these are granted:\n" + "\n".join(sorted(unexplained)))
    return sorted(found)


def _reason(rules: list[dict[str, str]], role: str, action: str, resource: str) -> str | None:
    """Return why `role` may do `action` on `resource`: what the first rule says that fits all three."""
    told = {"role": role, "action": action, "resource": resource}
    return next(
        (rule["why"] for rule in rules if all(fnmatch.fnmatchcase(told[name], rule.get(name, "*")) for name in told)),
        None,
    )


def _allowing(assembly: Assembly, stage: str) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for resource in assembly.of(stage):
        documents = [resource.properties.get(name) for name in _OWN if name != "AssumeRolePolicyDocument"]
        documents += [
            each.get("PolicyDocument") for each in resource.properties.get("Policies", []) if isinstance(each, dict)
        ]
        for document in documents:
            if isinstance(document, dict):
                for statement in _listed(document.get("Statement", [])):
                    if statement["Effect"] == "Allow" and "Action" in statement:
                        yield resource, statement


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - a template is any JSON
    return value if isinstance(value, list) else [value]
