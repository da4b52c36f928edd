"""The host of an enclave as a local run has it, whose parent turns in this process."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from local import enclave, services, stand_ins
from local.callers import Caller
from local.cloud import Cloud
from local.deploy import Deployment
from runtime.wallet_enclave.messages import SignWithdrawal, Withdrawal, decode_reply, encode
from runtime.wallet_parent.forwarder import forward
from runtime.wallet_parent.main import NotReadyError, Parent, ParentSettings
from tests.local.world import REGION

SETTLE_S = 60.0


@dataclass
class Vault:
    """The dev environment with the host of an enclave, whose parent runs in this process."""

    cloud: Cloud
    deployment: Deployment
    state: Path
    declared: list[services.Service]
    parent: services.Service

    @property
    def table(self) -> str:
        return self.parent.environment["SIGNING_TABLE"]

    def prepared(self) -> Any:
        return enclave.prepare(self.deployment, self.cloud, self.declared, self.state, stand_ins.free_port())

    @contextlib.contextmanager
    def running(self, program: Any) -> Iterator[Callable[[], int]]:
        """Start the host and keep the parent turning; yield a function that counts the parent's turns."""
        stopping, turns = threading.Event(), [0]

        async def host(ready: threading.Event) -> None:
            log = self.state / "host.log"
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *program.command, env=dict(program.environment), stdout=output, stderr=output
                )
            session = boto3.Session(
                region_name=REGION,
                aws_access_key_id=self.cloud.key_of(Caller(role=self.parent.role)),
                aws_secret_access_key="unchecked",
            )
            table = session.resource("dynamodb", endpoint_url=self.cloud.url).Table(self.table)
            settings = ParentSettings(
                service="wallet_parent",
                listen_port=1,
                aws_region=REGION,
                enclave=f"unix:{self.state}/enclave",
                kms_forwarder=f"unix:{self.state}/kms_forwarder",
                kms_address=program.address,
                signing_table=self.table,
                wallet="hot-1",
            )
            parent = Parent(settings, table, session.get_credentials())
            port = int(program.address.rpartition(":")[2])
            try:
                async with await forward(settings.kms_forwarder, services.HOST, port):
                    while not stopping.is_set():
                        with contextlib.suppress(OSError):
                            await program.probe()
                            ready.set()
                            with contextlib.suppress(NotReadyError):
                                await parent.turn()
                            turns[0] += 1
                        assert process.returncode is None, log.read_text()
                        await asyncio.sleep(0.05)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(host(ready)))
        thread.start()
        try:
            assert ready.wait(SETTLE_S), "the enclave does not listen"
            yield lambda: turns[0]
        finally:
            stopping.set()
            thread.join()

    def ask(self, withdrawal: Withdrawal) -> Any:
        """Ask the way withdrawals do, and return the answer."""
        dynamodb = self.cloud.client("dynamodb")
        request = encode(SignWithdrawal(withdrawal, ())).decode()
        item = {"id": withdrawal.request_id, "waiting": "withdrawal", "request": request}
        text = {name: {"S": value} for name, value in item.items()}
        dynamodb.put_item(TableName=self.table, Item={**text, "asked_at": {"N": "1"}})
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            found = dynamodb.get_item(TableName=self.table, Key={"id": {"S": withdrawal.request_id}})["Item"]
            if "answer" in found:
                return decode_reply(found["answer"]["S"].encode())
            time.sleep(0.05)
        raise AssertionError("no answer")


def vault_of(cloud: Cloud, deployment: Deployment, state: Path) -> Vault:
    """Return the vault of a deployment."""
    declared = services.declared(deployment)
    (parent,) = (each for each in declared if each.name == enclave.PARENT)
    return Vault(cloud, deployment, state, declared, parent)
