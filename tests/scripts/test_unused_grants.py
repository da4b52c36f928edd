"""Unused statements: those, and only those, without which every recorded call would still be allowed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from local.grants.book import IDENTITY, RESOURCE, Book, Entry
from scripts.unused_grants import REASONS, calls_of, main, report, unused

ROLE = "arn:aws:iam::123456789012:role/Engine"
QUEUE = "arn:aws:sqs:r:123456789012:q"


def allow(action: str, resource: str = QUEUE, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def book(*statements: dict[str, Any], queue: tuple[dict[str, Any], ...] = ()) -> Book:
    entries = [Entry(IDENTITY, ROLE, "S/Grants", {"Statement": list(statements)})]
    if queue:
        entries.append(Entry(RESOURCE, QUEUE, "S/QueuePolicy", {"Statement": list(queue)}))
    return Book(entries)


def line(action: str, *, allowed: bool = True) -> str:
    told = {"caller": ROLE, "is_role": True, "action": action, "resource": QUEUE, "context": {}, "allowed": allowed}
    return json.dumps(told)


def places(it: Book, *lines: str) -> list[str]:
    return [statement.where for _holder, statement in unused(it, calls_of(lines))]


def test_a_statement_that_a_call_needs_is_used_and_any_other_is_not() -> None:
    it = book(allow("sqs:SendMessage"), allow("sqs:ReceiveMessage"))
    assert places(it, line("sqs:SendMessage")) == ["S/Grants#2"]
    assert places(it, line("sqs:SendMessage"), line("sqs:ReceiveMessage")) == []
    assert places(it, line("sqs:SendMessage", allowed=False)) == ["S/Grants#1", "S/Grants#2"]


def test_two_that_allow_the_same_are_each_unused() -> None:
    assert places(book(allow("sqs:*"), allow("sqs:SendMessage")), line("sqs:SendMessage")) == [
        "S/Grants#1",
        "S/Grants#2",
    ]
    by_queue = allow("sqs:SendMessage", Principal={"AWS": ROLE})
    assert places(book(allow("sqs:SendMessage"), queue=(by_queue,)), line("sqs:SendMessage")) == ["S/Grants#1"]


def test_a_deny_and_what_goes_elsewhere_are_left_out() -> None:
    it = book({**allow("sqs:SendMessage"), "Effect": "Deny"}, allow("kafka-cluster:Connect", "*"))
    assert places(it) == []


def test_a_policy_that_roles_share_is_used_when_one_of_them_needs_it() -> None:
    other = ROLE + "2"
    document = {"Statement": [allow("sqs:SendMessage")]}
    it = Book([Entry(IDENTITY, role, "S/Shared", document) for role in (ROLE, other)])
    assert places(it, line("sqs:SendMessage")) == []
    assert places(it) == ["S/Shared#1"]


def test_each_reason_fits_something_or_is_told() -> None:
    found = list(unused(book(allow("sqs:SendMessage"), allow("sqs:ReceiveMessage")), []))
    listed, idle = report(found, {"S/* sqs:Send* *:q": "only in failure", "T/*": "gone"})
    assert [each["reason"] for each in listed] == ["only in failure", ""]
    assert idle == ["T/*"]


def test_the_exit_code_tells_whether_all_have_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policies.json").write_text(book(allow("sqs:SendMessage")).dump())
    (tmp_path / "grants.jsonl").write_text("")
    monkeypatch.setattr(sys, "argv", ["unused_grants", "--folder", str(tmp_path)])
    assert main() == 1
    assert "no reason: S/Grants#1" in capsys.readouterr().err
    reasons = tmp_path / "reasons.json"
    reasons.write_text('{"S/Grants* sqs:SendMessage *": "only in failure"}')
    monkeypatch.setattr("scripts.unused_grants.REASONS", reasons)
    assert main() == 0
    assert json.loads(REASONS.read_text())


def test_what_the_recorded_run_did_not_need_is_explained() -> None:
    """The committed record: made by hand after a full run, as `docs/local-run.md` says, and read by `make reports`."""
    told = json.loads((REASONS.parent.parent / "docs/reports/unused-grants.json").read_text())
    assert told["calls"] > 1000
    assert told["reasons that fit nothing"] == []
    assert [each["statement"] for each in told["unused"] if not each["reason"]] == []
    reasons = set(json.loads(REASONS.read_text()).values())
    assert {part for each in told["unused"] for part in each["reason"].split("; ")} <= {
        part for reason in reasons for part in reason.split("; ")
    }
