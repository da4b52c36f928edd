"""An embedded AWS for tests: one server, emptied by whoever asks for a fresh one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.deploy import Deployment
from local.grants.book import written
from local.grants.guard import Guard

REGION = "ap-southeast-3"
ACCOUNT = "123456789012"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An empty cloud that listens."""
    made = Cloud(tmp_path / "cloud", account=ACCOUNT, region=REGION)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for the tests of a module, which keep out of each other's way by names."""
    made = Cloud(tmp_path_factory.mktemp("cloud"), account=ACCOUNT, region=REGION)
    made.start()
    yield made
    made.stop()


def enforce_grants(cloud: Cloud, deployment: Deployment, folder: Path) -> None:
    """Refuse from now on whatever the templates do not grant; each different call is recorded in `folder`."""
    iam = cloud.client("iam")

    def managed(arn: str) -> Any:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

    cloud.guard(Guard(written(deployment, managed), folder / "grants.jsonl", is_enforced=True))
