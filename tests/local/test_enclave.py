"""The enclave of a local run: measured from its image, given the key by the synthesized policy, or refused."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local import ceremony, enclave
from local.assembly import read_assembly
from local.cloud import Cloud
from local.deploy import deploy
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, Withdrawal, encode
from tests.local.vault import SETTLE_S, Vault, vault_of
from tests.local.world import ACCOUNT, REGION


@pytest.fixture(scope="module")
def vault(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    state = tmp_path_factory.mktemp("vault")
    cloud = Cloud(state / "cloud", account=ACCOUNT, region=REGION)
    cloud.start()
    deployment = deploy(read_assembly(exchanges["dev"].folder.parent, "dev"), cloud)
    yield vault_of(cloud, deployment, state)
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
