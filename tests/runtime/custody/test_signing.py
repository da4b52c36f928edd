"""From an enclave's start to a signed withdrawal, and every way in which the key stays closed.

Real processes, sockets and TLS; the key policy is the synthesized one. Only the hypervisor and KMS are stand-ins.
"""

import asyncio
import copy
import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from exchange_constructs.wallet_keys import pcr3
from local.hypervisor import pcr_of_role
from local.key_policy import PolicyError, permits
from runtime.shared.ethereum import address_of, keccak256, rlp
from runtime.wallet_enclave.attestation import verified
from runtime.wallet_enclave.kms import Credentials, signed_headers
from runtime.wallet_enclave.messages import (
    MESSAGE_BYTES_MAX,
    CreateWallet,
    Describe,
    Described,
    Done,
    OpenWallet,
    Refused,
    Signed,
    SignWithdrawal,
    WalletOpened,
    WalletSealed,
    encode,
)
from runtime.wallet_enclave.transport import open_connection
from tests.runtime.custody.vault import (
    APPROVERS,
    CREDENTIALS,
    HOST,
    REGION,
    ROLE,
    SIGNERS,
    Vault,
    approval,
    load,
    manifest,
    pcrs,
    running,
    withdrawal,
)

OPENED = (WalletSealed, WalletOpened)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 120))


async def ready(vault: Vault) -> tuple[str, str]:
    """Bring a fresh enclave to where it can sign; return its sealed wallet and address."""
    assert await vault.ask(CREDENTIALS) == Done()
    made = await vault.ask(CreateWallet("hot-1"))
    assert isinstance(made, WalletSealed), made
    assert await vault.ask(OpenWallet("hot-1", made.sealed)) == WalletOpened(made.address)
    assert await vault.ask(load(manifest(made.address), *SIGNERS[:2])) == Done()
    return made.sealed, made.address


def signer_of(raw: bytes) -> tuple[str, list[int]]:
    """Return who signed a type-2 transaction, and its first fields, read back from the raw bytes."""
    from coincurve import PublicKey  # noqa: PLC0415 - only here

    fields = unpacked(raw[1:])
    numbers = [int.from_bytes(each, "big") for each in fields[:7]]
    body = rlp((*numbers[:5], fields[5], numbers[6], b"", ()))
    signature = fields[10].rjust(32, b"\0") + fields[11].rjust(32, b"\0") + bytes([int.from_bytes(fields[9], "big")])
    key = PublicKey.from_signature_and_message(signature, keccak256(b"\x02" + body), hasher=None)
    return address_of(key.format(compressed=False)), numbers


def unpacked(data: bytes) -> list[bytes]:
    """Return the items of one RLP list of short items."""
    assert data[0] > 0xF7
    at = 1 + data[0] - 0xF7
    items = []
    while at < len(data):
        first = data[at]
        size = 0 if first < 0x80 or first == 0xC0 else first - 0x80
        items.append(data[at : at + 1] if first < 0x80 else data[at + 1 : at + 1 + size])
        at += 1 + size
    return items


def test_a_wallet_is_born_inside_and_signs_what_the_manifest_allows(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            _, address = await ready(vault)
            wanted = withdrawal()
            signed = await vault.ask(SignWithdrawal(wanted, ()))
            assert isinstance(signed, Signed), signed
            raw = bytes.fromhex(signed.raw_transaction)
            signer, numbers = signer_of(raw)
            assert signer == address
            assert numbers[:5] == [31_337, 0, 1_000_000_000, 30_000_000_000, 21_000]
            assert numbers[5] == int(wanted.destination, 16)
            assert numbers[6] == 50_000_000 * 10**10  # half an ether in wei
            assert signed.transaction_id == "0x" + keccak256(raw).hex()
            assert await vault.ask(SignWithdrawal(wanted, ())) == signed

            large = withdrawal(request_id="request-0002", nonce=1, amount=2_00000000)
            refused = await vault.ask(SignWithdrawal(large, ()))
            assert refused == Refused("2 approvals are needed, 0 are valid")
            until = int(time.time()) + 600
            approvals = tuple(approval(key, large, until) for key in APPROVERS[1:])
            assert isinstance(await vault.ask(SignWithdrawal(large, approvals)), Signed)

            absent = encode(SignWithdrawal(withdrawal(request_id="request-0003", nonce=2), ()))
            absent = absent.replace(b'"amount":50000000,', b"")
            refused = await vault.ask(absent)
            assert isinstance(refused, Refused)
            assert "amount" in refused.reason

    run(work)


def test_a_manifest_without_its_quorum_or_of_an_older_version_opens_nothing(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            assert await vault.ask(CREDENTIALS) == Done()
            made = await vault.ask(CreateWallet("hot-1"))
            assert isinstance(made, WalletSealed), made
            await vault.ask(OpenWallet("hot-1", made.sealed))
            good = manifest(made.address, version=5)
            for signers in ((), SIGNERS[:1], APPROVERS):
                assert isinstance(await vault.ask(load(good, *signers)), Refused)
                assert await vault.ask(SignWithdrawal(withdrawal(), ())) == Refused("no manifest is in force")
            stranger = manifest("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359")
            assert await vault.ask(load(stranger, *SIGNERS)) == Done()
            refused = await vault.ask(SignWithdrawal(withdrawal(), ()))
            assert refused == Refused("the key makes another address than the manifest names")
            assert await vault.ask(load(good, *SIGNERS[1:])) == Done()
            assert await vault.ask(load(manifest(made.address, version=4), *SIGNERS)) == Refused(
                "version 4 is not above 5, which was in force"
            )
            described = await vault.ask(Describe("ab" * 16))
            assert isinstance(described, Described)
            found = verified(bytes.fromhex(described.attestation), root=vault.root, now=datetime.now(UTC))
            assert found.nonce == bytes.fromhex("ab" * 16)
            assert found.user_data == msgspec_hash(good)
            assert described.manifest_version == 5

    run(work)


def msgspec_hash(wanted: Any) -> bytes:
    import hashlib  # noqa: PLC0415 - only here

    return hashlib.sha256(msgspec.json.encode(wanted)).digest()


def test_a_key_survives_a_restart_and_opens_only_for_its_own_wallet(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        first, second = tmp_path / "1", tmp_path / "2"
        first.mkdir()
        second.mkdir()
        async with running(first, key_policy) as vault:
            sealed, address = await ready(vault)
            other = await vault.ask(CreateWallet("hot-2"))
            assert isinstance(other, WalletSealed)
            assert other.address != address
        async with running(second, key_policy) as vault:
            await vault.ask(CREDENTIALS)
            swapped = await vault.ask(OpenWallet("hot-1", other.sealed))
            assert isinstance(swapped, Refused)
            assert "of wallet hot-2" in swapped.reason
            renamed = bytes.fromhex(other.sealed).replace(b'"hot-2"', b'"hot-1"').hex()
            refused = await vault.ask(OpenWallet("hot-1", renamed))
            assert isinstance(refused, Refused)
            assert "InvalidCiphertextException" in refused.reason  # the encryption context is another
            data = json.loads(bytes.fromhex(sealed))
            data["seed"] = data["seed"][:-2] + f"{int(data['seed'][-2:], 16) ^ 1:02x}"
            changed = msgspec.json.encode(data).hex()
            refused = await vault.ask(OpenWallet("hot-1", changed))
            assert isinstance(refused, Refused)
            assert "was changed" in refused.reason
            assert await vault.ask(OpenWallet("hot-1", sealed)) == WalletOpened(address)

    run(work)


@pytest.mark.parametrize(
    "measured",
    [
        pcrs(pcr0=b"\x33" * 48),
        pcrs(pcr0=bytes(48)),
        pcrs(pcr3=pcr_of_role(ROLE + "-other")),
        pcrs(pcr8=b"\x33" * 48),
        {},
    ],
    ids=["another image", "debug mode", "another host's role", "another certificate", "nothing measured"],
)
def test_kms_gives_the_key_to_an_accepted_enclave_only(
    tmp_path: Path, key_policy: Any, measured: dict[int, bytes]
) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy, measured=measured or {0: bytes(48)}) as vault:
            await vault.ask(CREDENTIALS)
            refused = await vault.ask(CreateWallet("hot-1"))
            assert isinstance(refused, Refused), refused
            assert refused.reason.startswith("AccessDeniedException")

    run(work)


def test_a_host_that_answers_in_the_place_of_kms_is_not_believed(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        mine, theirs = tmp_path / "mine", tmp_path / "theirs"
        mine.mkdir()
        theirs.mkdir()
        async with running(theirs, key_policy) as other:
            roots = other.kms.roots
            async with running(mine, key_policy, roots=roots) as vault:  # it trusts another certificate
                await vault.ask(CREDENTIALS)
                refused = await vault.ask(CreateWallet("hot-1"))
                assert isinstance(refused, Refused)
                assert "CERTIFICATE_VERIFY_FAILED" in refused.reason

    run(work)


def test_credentials_of_somebody_else_open_nothing(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            for wrong in ({"access_key": "AKIAOTHER"}, {"secret_key": "a guess"}):
                await vault.ask(msgspec.structs.replace(CREDENTIALS, **wrong))
                refused = await vault.ask(CreateWallet("hot-1"))
                assert isinstance(refused, Refused)
                assert re.match("UnrecognizedClient|InvalidSignature", refused.reason)

    run(work)


def test_bad_peers_neither_stop_the_enclave_nor_make_it_speak(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            silent = [await open_connection(vault.socket, 5) for _ in range(20)]
            for data in (b"", b"\x00", b"{}", b"\xff" * 100, b"[" * 1000, b'{"type":"sign_hash","hash":"00"}'):
                assert isinstance(await vault.ask(data), Refused)
            reader, writer = await open_connection(vault.socket, 5)
            writer.write((MESSAGE_BYTES_MAX + 1).to_bytes(4, "big") + b"x" * 100)
            assert await asyncio.wait_for(reader.read(), 20) == b""
            assert isinstance(await vault.ask(Describe("00" * 16)), Described)
            for _, each in (*silent, (None, writer)):
                each.close()

    run(work)


def test_nothing_secret_is_logged_or_sent(tmp_path: Path, key_policy: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            await ready(vault)
            await vault.ask(SignWithdrawal(withdrawal(), ()))

    run(work)
    log = (tmp_path / "enclave.log").read_text()
    assert "SignWithdrawal" in log
    for secret in (CREDENTIALS.secret_key, CREDENTIALS.token):
        assert secret not in log
    assert not re.search(r"[0-9a-f]{64}", log)


def test_our_signature_of_requests_is_that_of_the_sdk() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    body = b'{"KeyId":"k"}'
    ours = signed_headers(
        Credentials(access_key="AKIA1", secret_key="s3cret/+", token="tok en"), REGION, HOST, "Decrypt", body, now
    )
    headers = {name: ours[name] for name in ("content-type", "x-amz-target")}
    request = AWSRequest("POST", f"https://{HOST}/", headers={**headers, "host": HOST}, data=body)
    auth = SigV4Auth(BotoCredentials("AKIA1", "s3cret/+", "tok en"), "kms", REGION)
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Security-Token"] = "tok en"
    scope = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, scope), request)
    assert ours["authorization"].endswith(f"Signature={signature}")


# ---- the policy itself, decided as KMS decides


def context(**changes: str | None) -> dict[str, str]:
    """Return what KMS knows of a call from an accepted enclave."""
    known: dict[str, str | None] = {f"kms:RecipientAttestation:PCR{n}": v.hex() for n, v in pcrs().items()}
    known["kms:RecipientAttestation:ImageSha384"] = pcrs()[0].hex()
    known["kms:EncryptionContext:purpose"] = "wallet-seed"
    known |= {name.replace("_", ":"): value for name, value in changes.items()}
    return {name: value for name, value in known.items() if value is not None}


def test_the_policy_lets_the_accepted_enclave_in_and_nobody_else(key_policy: Any) -> None:
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert permits(key_policy, action, ROLE, context())
        for image in ("11" * 48, ("22" * 48).upper()):
            assert permits(key_policy, action, ROLE, context(**{"kms:RecipientAttestation:ImageSha384": image}))
        for name in context():
            if re.search(r"ImageSha384|PCR[38]$|purpose", name):
                assert not permits(key_policy, action, ROLE, context(**{name: None})), name
                assert not permits(key_policy, action, ROLE, context(**{name: "00" * 48})), name
        for other in ("WalletAdministrator", "bursa-break-glass", "Admin", "bursa-dev-signer-2"):
            assert not permits(key_policy, action, f"arn:aws:iam::123456789012:role/{other}", context())
        assert not permits(key_policy, action, "arn:aws:iam::123456789012:root", context())


def test_only_break_glass_changes_a_key(key_policy: Any) -> None:
    for action in ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey"):
        assert permits(key_policy, action, "arn:aws:iam::123456789012:role/bursa-break-glass", {})
        for role in ("WalletAdministrator", "bursa-dev-signer", "Admin"):
            assert not permits(key_policy, action, f"arn:aws:iam::123456789012:role/{role}", {})
    for action in ("kms:CreateGrant", "kms:ReEncryptFrom", "kms:Encrypt", "kms:Sign"):
        for role in ("bursa-break-glass", "WalletAdministrator", "bursa-dev-signer"):
            assert not permits(key_policy, action, f"arn:aws:iam::123456789012:role/{role}", context())


def test_a_policy_that_is_not_understood_is_an_error_not_a_yes(key_policy: Any) -> None:
    strange = copy.deepcopy(key_policy)
    strange["Statement"][0]["Condition"] = {"NumericLessThan": {"kms:x": "1"}}
    with pytest.raises(PolicyError, match="NumericLessThan is not known"):
        permits(strange, "kms:Decrypt", ROLE, context())


def test_the_construct_computes_the_register_that_the_hypervisor_measures() -> None:
    assert bytes.fromhex(pcr3(ROLE)) == pcr_of_role(ROLE)
