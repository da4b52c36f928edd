"""The dev environment, delivered into a cloud of its own, with those of its processes that a test needs."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from local import services, stand_ins
from local.assembly import read_assembly
from local.cloud import Cloud, StandIns
from local.delivery.dispatcher import Dispatcher
from local.deploy import Deployment, deploy
from local.grants.book import written
from local.grants.guard import Guard
from local.supervisor import Supervisor
from runtime.shared.engine_link import EngineLink, linked

REGION = "ap-southeast-3"
ACCOUNT = "123456789012"
START_WAIT_S = 120.0
LINK_WAIT_S = 20.0
LEDGER = "ledger"


@dataclass
class World:
    """A cloud with everything in it; its functions run, and what the templates do not grant is refused."""

    cloud: Cloud
    deployment: Deployment
    folder: Path
    engine: str
    """Where the engine listens, if it runs."""

    def placed(self, path: str, type_name: str) -> Any:
        """Return where the one resource of this type is whose path, without the environment, begins with `path`."""
        (found,) = [
            each.placed
            for each_path, each in self.deployment.resources.items()
            if each_path.startswith(f"Dev-{path}") and each.wanted.type == type_name
        ]
        return found

    def ref(self, path: str, type_name: str) -> str:
        """Return what `Ref` gives for a resource, found as by `placed`."""
        return str(self.placed(path, type_name).ref)

    def call(self, function: str, payload: dict[str, Any]) -> Any:
        """Invoke the function at a path; return its answer, or its error under `errorMessage`."""
        name = self.ref(f"{function}Function", "AWS::Lambda::Function")
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        return json.load(answer["Payload"])

    def with_engine(self, work: Callable[[EngineLink], Awaitable[Any]]) -> Any:
        """Return what `work` returns when it is given a link to the engine."""

        async def done() -> Any:
            async with linked(self.engine, LINK_WAIT_S) as link:
                return await work(link)

        return asyncio.run(done())


Kind = TypeVar("Kind", bound=World)


@contextlib.contextmanager
def delivered(
    kind: type[Kind],
    assembly: Path,
    folder: Path,
    *,
    running: Collection[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Kind]:
    """Deliver dev, and keep the processes named by `running` alive until the end, with a database if the ledger runs.

    `variables` replace those of functions that have them.
    """
    folder.chmod(0o711)  # the database's own user has to come through
    port = stand_ins.free_port()
    ends = StandIns((stand_ins.HOST, port), (stand_ins.HOST, stand_ins.free_port()))
    cloud = Cloud(folder / "cloud", account=ACCOUNT, region=REGION, stand_ins=ends)
    cloud.start()
    deployment = deploy(read_assembly(assembly, "dev"), cloud)
    declared = services.declared(deployment)
    ports = {each.name: [stand_ins.free_port() for _ in range(each.count)] for each in declared}
    injected = services.Injected(cloud=cloud, state=folder, ports=ports)
    addresses = services.addresses_of(declared, injected)
    (folder / "logs").mkdir()

    def inject(function: Any) -> dict[str, str]:
        own = services.function_variables(function, addresses, injected)
        return own | {name: value for name, value in (variables or {}).items() if name in own}

    async def start(supervisor: Supervisor) -> None:
        if LEDGER in running:
            await supervisor.start(stand_ins.postgres(folder, "secret", port))
            users = services.database_users(deployment, cloud)
            stand_ins.ensure_databases(stand_ins.conninfo("secret", port), cloud.databases, cloud.logins, users)
            stand_ins.write_passwords(folder / services.PASSWORDS, port, users)
        for step in services.programs([each for each in declared if each.name in running], injected):
            await supervisor.start(*step)

    dispatcher = Dispatcher(deployment, cloud, logs=folder / "logs", inline=folder / "inline", inject=inject)
    with contextlib.ExitStack() as stack:
        stack.callback(cloud.stop)
        stack.enter_context(_supervised(folder / "logs", start))
        stack.callback(dispatcher.stop)
        dispatcher.start()
        enforce_grants(cloud, deployment, folder)
        yield kind(cloud, deployment, folder, f"{stand_ins.HOST}:{ports['engine'][0]}")


@contextlib.contextmanager
def _supervised(logs: Path, start: Callable[[Supervisor], Awaitable[None]]) -> Iterator[None]:
    """Keep what `start` starts alive, in a thread of its own."""
    started, stopping = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    async def processes() -> None:
        supervisor = Supervisor(logs, lambda: None)
        try:
            await start(supervisor)
            started.set()
            await asyncio.to_thread(stopping.wait)
        except BaseException as error:
            problems.append(error)
            raise
        finally:
            await supervisor.stop()
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(processes()))
    thread.start()
    try:
        assert started.wait(START_WAIT_S), "the processes do not start"
        assert not problems, problems
        yield
    finally:
        stopping.set()
        thread.join()


def enforce_grants(cloud: Cloud, deployment: Deployment, folder: Path) -> None:
    """Refuse from now on whatever the templates do not grant; each different call is recorded in `folder`."""
    iam = cloud.client("iam")

    def managed(arn: str) -> Any:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

    cloud.guard(Guard(written(deployment, managed), folder / "grants.jsonl", is_enforced=True))
