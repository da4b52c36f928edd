"""An embedded AWS for tests: one server, emptied by whoever asks for a fresh one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import services
from local.assembly import read_assembly
from local.cloud import Cloud, StandIns
from local.delivery.dispatcher import Dispatcher
from local.deploy import Deployment, deploy
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


def until(holds: Callable[[], Any], wait_s: float = 60.0) -> Any:
    """Return what `holds` returns once it is true; fail after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not (value := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def delivered(
    exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cloud, Deployment]]:
    """The dev environment without processes: its functions run, and every grant is enforced."""
    folder = tmp_path_factory.mktemp("delivered")
    cloud = Cloud(
        folder / "cloud", account=ACCOUNT, region=REGION, stand_ins=StandIns(("127.0.0.1", 1), ("127.0.0.1", 2))
    )
    cloud.start()
    deployment = deploy(read_assembly(exchanges["dev"].folder.parent, "dev"), cloud)
    declared = services.declared(deployment)
    injected = services.Injected(cloud=cloud, state=folder, ports={each.name: [1] * each.count for each in declared})
    addresses = services.addresses_of(declared, injected)
    (folder / "logs").mkdir()
    dispatcher = Dispatcher(
        deployment,
        cloud,
        logs=folder / "logs",
        inline=folder / "inline",
        inject=lambda function: services.function_variables(function, addresses, injected),
    )
    dispatcher.start()
    enforce_grants(cloud, deployment, folder)
    yield cloud, deployment
    dispatcher.stop()
    cloud.stop()
