"""A deployment is refused while a sample stands or an acceptance has expired."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from config.analytics import JOB_CONNECTORS, AnalyticsConfig, StreamJobConfig
from config.environments import DEV
from scripts import preflight

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    accepted = {
        "ruleName": "AwsSolutions-S1",
        "acknowledgedAt": "Dev/Data/Bucket",
        "violatingResources": [{"reason": "it is the log bucket itself [owner: platform; expires: 2027-06-30]"}],
    }
    path = tmp_path / "validation-report.json"
    path.write_text(json.dumps({"pluginReports": [{"suppressedViolations": [accepted]}]}))
    return path


def test_samples_are_refused_by_name(report: Path) -> None:
    found = preflight.problems("dev", report, date(2026, 12, 1))
    assert any("dev.accounts.core is still the sample '123456789012'" in problem for problem in found)
    assert not any("expired" in problem for problem in found)


def test_an_expired_acceptance_is_refused(report: Path) -> None:
    assert preflight.expired(report, date(2027, 6, 30)) == []
    assert preflight.expired(report, date(2027, 7, 1)) == ["AwsSolutions-S1 on Dev/Data/Bucket, until 2027-06-30"]


def test_a_function_without_its_libraries_is_refused(report: Path) -> None:
    folder = report.parent / "assembly-Dev"
    folder.mkdir()
    functions = {
        "Bare": {"Type": "AWS::Lambda::Function", "Properties": {}},
        "Whole": {"Type": "AWS::Lambda::Function", "Properties": {"Layers": [{"Ref": "Libraries"}]}},
    }
    (folder / "DevEvents.template.json").write_text(json.dumps({"Resources": functions}))
    found = preflight.problems("dev", report, date(2026, 12, 1))
    assert [problem for problem in found if "libraries" in problem] == [
        "function DevEvents/Bare has no libraries: `make deps`, then synthesize again"
    ]


def test_a_flink_job_without_its_connectors_is_refused(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = replace(DEV, analytics=AnalyticsConfig(stream_job=StreamJobConfig(on=True)))
    monkeypatch.setattr(preflight, "load_environments", lambda _name: (on,))
    monkeypatch.setattr(preflight, "ROOT", tmp_path)
    missing = "dev.analytics.stream_job is on but .build/flink/connectors.jar is missing: see docs/deploy.md, switches"
    assert missing in preflight.problems("dev", report, date(2026, 12, 1))
    (tmp_path / JOB_CONNECTORS).parent.mkdir(parents=True)
    (tmp_path / JOB_CONNECTORS).touch()
    assert missing not in preflight.problems("dev", report, date(2026, 12, 1))


def test_an_unknown_environment_and_a_missing_report_are_named(tmp_path: Path) -> None:
    assert preflight.problems("qa", tmp_path / "none", date(2026, 12, 1)) == [
        "ENV: must be one of dev, staging, prod, was 'qa'"
    ]
    assert "is missing: synthesize first" in preflight.problems("dev", tmp_path / "none", date(2026, 12, 1))[-1]


def test_the_command_of_a_deployment_tells_all_of_it_and_deploys_nothing(report: Path) -> None:
    folder = report.parent / "cdk.out"
    folder.mkdir()
    old = report.read_text().replace("2027-06-30", "2020-06-30")
    (folder / report.name).write_text(old)
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.preflight", "dev"],
        cwd=report.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == preflight.EXIT_NOT_READY
    lines = ran.stderr.splitlines()
    assert "an accepted finding expired: AwsSolutions-S1 on Dev/Data/Bucket, until 2020-06-30" in lines
    assert "config/environments.py: dev.domain is still the sample 'dev.bursa.example'; fill in the true value" in lines
    assert "Traceback" not in ran.stderr
    recipe = (ROOT / "Makefile").read_text().split("\ndeploy:")[1].split("\n\n")[0]
    assert recipe.index("-m scripts.preflight") < recipe.index("$(CDK) deploy")


def test_no_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight.main(["preflight"]) == preflight.EXIT_NOT_READY
    assert "which environment" in capsys.readouterr().err
