"""Which statements a whole run never needed: each is removed in turn, and the recorded calls are judged again.

    .venv/bin/python -m scripts.unused_grants [--folder .local] [--also FILE ...] [--out FILE]

Reads what `make up` has written: the policies of the run, resolved, and each different call. `--also` adds records of
tests that enforce grants, such as `tests/local/test_withdrawals.py`: ids are the same in every run. A statement that
changes no decision is unused; it is listed with the reason in `unused_grants.json`, or with none. That file lists
patterns of "place action resource"; a pattern that fits no unused statement is told as well.
Statements for calls that go elsewhere than to the embedded AWS (databases, brokers, images) are left out: they are held
by assertions on the templates. Exits with 1 if a statement has no reason.
"""

import argparse
import fnmatch
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from local.grants.book import IDENTITY, Book
from local.grants.policy import Call, Statement

REASONS: Final = Path(__file__).with_name("unused_grants.json")
ELSEWHERE: Final = (
    "ecr:",
    "kafka-cluster:",
    "kafka:",
    "rds-db:",
    "elasticache:",
    "ec2:",
    "ssmmessages:",
    "ec2messages:",
)
"""Actions that no process here makes a call for."""


def calls_of(lines: Iterable[str]) -> list[Call]:
    """Return the recorded calls that were allowed."""
    told = [json.loads(line) for line in lines]
    return [
        Call(
            role=each["caller"] if each["is_role"] else "",
            service="" if each["is_role"] else each["caller"],
            action=each["action"],
            resource=each["resource"],
            context=tuple((key, tuple(values)) for key, values in each["context"].items()),
        )
        for each in told
        if each["allowed"]
    ]


def unused(book: Book, calls: Iterable[Call]) -> Iterator[tuple[str, Statement]]:
    """Yield holder and statement of each Allow in an identity policy without which every call is still allowed."""
    of_role: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        of_role[call.role].append(call)
    shared: dict[str, list[tuple[str, Statement]]] = defaultdict(list)
    for kind, holder, statement in book.statements():
        if kind == IDENTITY and statement.allows and not _is_elsewhere(statement):
            shared[statement.where].append((holder, statement))
    for where, held in shared.items():
        if all(_is_spare(book, where, of_role[holder]) for holder, _statement in held):
            yield ", ".join(sorted({holder.rpartition("/")[2] for holder, _statement in held})), held[0][1]


def _is_spare(book: Book, where: str, calls: Iterable[Call]) -> bool:
    return all(book.decide(call, without=where).is_allowed for call in calls)


def _is_elsewhere(statement: Statement) -> bool:
    return bool(statement.actions) and all(action.startswith(ELSEWHERE) for action in statement.actions)


def report(
    found: Iterable[tuple[str, Statement]], reasons: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what to list, by place, and the patterns that fit nothing."""
    used_patterns: set[str] = set()
    listed = []
    for holder, statement in sorted(found, key=lambda each: each[1].where):
        said = {f"{statement.where} {action} {on}" for action in statement.actions for on in statement.resources}
        fitting = [each for each in reasons if any(fnmatch.fnmatchcase(one, each) for one in said)]
        used_patterns.update(fitting)
        listed.append(
            {
                "statement": statement.where,
                "roles": holder,
                "actions": list(statement.actions),
                "resources": list(statement.resources),
                "reason": "; ".join(dict.fromkeys(reasons[each] for each in fitting)),
            }
        )
    return listed, sorted(set(reasons) - used_patterns)


def main() -> int:
    """List the unused statements of the last run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path(".local"), help="where the run wrote (default: %(default)s)"
    )
    parser.add_argument("--also", type=Path, action="append", default=[], help="a record of more calls")
    parser.add_argument("--out", type=Path, help="write JSON there instead of standard output")
    options = parser.parse_args()
    policies, record = options.folder / "policies.json", options.folder / "grants.jsonl"
    if not policies.exists() or not record.exists():
        sys.exit(f"{options.folder} holds no run; `make up` writes {policies.name} and {record.name}")
    lines = [line for each in (record, *options.also) for line in each.read_text().splitlines()]
    calls = calls_of(dict.fromkeys(lines))
    listed, idle = report(unused(Book.load(policies.read_text()), calls), json.loads(REASONS.read_text()))
    text = json.dumps({"calls": len(calls), "unused": listed, "reasons that fit nothing": idle}, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        sys.stdout.write(text)
    without_reason = [each["statement"] for each in listed if not each["reason"]]
    for where in without_reason:
        sys.stderr.write(f"no reason: {where}\n")
    for pattern in idle:
        sys.stderr.write(f"a reason that fits nothing: {pattern}\n")
    return 1 if without_reason else 0


if __name__ == "__main__":
    sys.exit(main())
