"""The enclave of a local run: measured from its image, given the key by the synthesized policy, or refused."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import ceremony, enclave, services, stand_ins
from local.assembly import read_assembly
from local.callers import Caller
from local.cloud import Cloud
from local.deploy import Deployment, deploy
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, Withdrawal, decode_reply, encode
from runtime.wallet_parent.forwarder import forward
from runtime.wallet_parent.main import NotReadyError, Parent, ParentSettings
from tests.local.conftest import ACCOUNT, REGION

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


@pytest.fixture(scope="module")
def vault(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    state = tmp_path_factory.mktemp("vault")
    cloud = Cloud(state / "cloud", account=ACCOUNT, region=REGION)
    cloud.start()
    deployment = deploy(read_assembly(exchanges["dev"].folder.parent, "dev"), cloud)
    declared = services.declared(deployment)
    (parent,) = (each for each in declared if each.name == enclave.PARENT)
    yield Vault(cloud, deployment, state, declared, parent)
    cloud.stop()


def withdrawal(number: int, **changes: Any) -> Withdrawal:
    given: dict[str, Any] = {
        "request_id": f"request-{number:04}",
        "wallet": "hot-1",
        "chain": "ethereum",
        "asset": "ETH",
        "destination": ceremony.DESTINATIONS[0],
        "amount": 50_000_000,
        "nonce": number,
        "fee_per_gas_max": 30_000_000_000,
        "priority_fee_per_gas_max": 1_000_000_000,
    }
    return Withdrawal(**given | changes)


def test_the_image_that_was_built_signs_across_restarts_and_one_that_was_changed_gets_no_key(vault: Vault) -> None:
    program = vault.prepared()
    with vault.running(program):
        address = ceremony.hold(vault.cloud, vault.table, "hot-1")
        assert ceremony.hold(vault.cloud, vault.table, "hot-1") == address
        assert isinstance(vault.ask(withdrawal(0)), Signed)
        assert vault.ask(withdrawal(1, amount=2 * 10**8)) == Refused("2 approvals are needed, 0 are valid")
    program = vault.prepared()  # what the next `make up` does
    with vault.running(program):
        assert ceremony.hold(vault.cloud, vault.table, "hot-1") == address
        assert isinstance(vault.ask(withdrawal(2)), Signed)
    changed = vault.state / "custody" / "image" / "runtime" / "wallet_enclave" / "policy.py"
    changed.write_text(changed.read_text().replace("if manifest.halted:", "if False:"))
    with vault.running(program) as turns:
        deadline = time.monotonic() + SETTLE_S
        while turns() < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        dynamodb = vault.cloud.client("dynamodb")
        item = {"id": {"S": "request-0003"}, "waiting": {"S": "withdrawal"}, "asked_at": {"N": "1"}}
        asked = {"request": {"S": encode(SignWithdrawal(withdrawal(3), ())).decode()}}
        dynamodb.put_item(TableName=vault.table, Item=item | asked)
        with pytest.raises(enclave.EnclaveError, match="AccessDeniedException"):
            ceremony.hold(vault.cloud, vault.table, "hot-2")
        found = dynamodb.get_item(TableName=vault.table, Key={"id": {"S": "request-0003"}})["Item"]
        assert "answer" not in found  # the host waits: its enclave cannot open the wallet
    assert "AccessDeniedException" in (vault.state / "host.log").read_text()


def test_only_what_a_build_measures_is_filled_into_the_policy(vault: Vault) -> None:
    vault.prepared()
    written = json.loads((vault.state / "custody" / "host.json").read_text())
    deployed = {
        str(each.placed.attributes["Arn"]): each.wanted.properties["KeyPolicy"]
        for each in vault.deployment.of_type("AWS::KMS::Key")
    }
    assert len(written["keys"]) == 2
    for key in written["keys"]:
        template, used = deployed[key["arn"]]["Statement"], key["policy"]["Statement"]
        different = [name for name, (a, b) in enumerate(zip(template, used, strict=True)) if a != b]
        (number,) = different
        assert template[number]["Sid"] == "SignerInAcceptedEnclave"
        tests = [each["Condition"]["StringEqualsIgnoreCase"] for each in (template[number], used[number])]
        assert {name for name in tests[0] if tests[0][name] != tests[1][name]} == {
            "kms:RecipientAttestation:ImageSha384",
            "kms:RecipientAttestation:PCR8",
        }
    open_to_all = {"Statement": [{"Effect": "Allow", "Action": "kms:Decrypt", "Principal": "*", "Condition": {}}]}
    with pytest.raises(enclave.EnclaveError, match="allows nothing on condition of"):
        enclave.accepting(open_to_all, image=b"i", certificate=b"c")


def test_nobody_else_reads_what_the_host_is_told(vault: Vault) -> None:
    vault.prepared()
    for name in ("host.json", "authority.pem", "kms-server.pem"):
        assert (vault.state / "custody" / name).stat().st_mode & 0o077 == 0, name
