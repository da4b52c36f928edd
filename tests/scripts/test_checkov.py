"""What checkov says is counted rightly, and an empty folder is not called clean."""

import json
from pathlib import Path

import pytest

from scripts import checkov


def test_skipped_checks_do_not_count_and_each_has_a_reason() -> None:
    failed = [{"check_id": name, "check_name": "x"} for name in ("CKV_1", "CKV_1", "CKV_2")]
    reports = [{"summary": {"passed": 97}, "results": {"failed_checks": failed}}]
    assert checkov.verdict(reports, {"CKV_2": "why"}) == (97, {"CKV_1 x": 2})
    assert all(len(reason) >= 40 for reason in json.loads(checkov.SKIPS.read_text()).values())


def test_no_template_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checkov.main(tmp_path) == checkov.EXIT_NOT_RUN
    assert "holds no template" in capsys.readouterr().err
