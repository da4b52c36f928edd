"""An enclave and all that AWS would bring: a hypervisor that measures it, a KMS that attests it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.attested_kms import AttestedKey, AttestedKms, AttestedKmsServer, Caller
from local.hypervisor import Authority, Hypervisor, pcr_of_role
from runtime.shared.frames import frame, read_frame
from runtime.wallet_enclave.main import EnclaveConfig
from runtime.wallet_enclave.messages import (
    MESSAGE_BYTES_MAX,
    Approval,
    AssetRule,
    Destination,
    LoadManifest,
    Manifest,
    ManifestSignature,
    Message,
    Reply,
    UseCredentials,
    Withdrawal,
    approval_text,
    decode_reply,
    encode,
    manifest_text,
)
from runtime.wallet_enclave.policy import digest
from runtime.wallet_enclave.transport import open_connection
from runtime.wallet_parent.forwarder import forward

REGION = "ap-southeast-3"
HOST = f"kms.{REGION}.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/bursa-dev-signer"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/11111111-2222-3333-4444-555555555555"
IMAGE = bytes.fromhex("22" * 48)
CERTIFICATE = bytes.fromhex("88" * 48)
CREDENTIALS = UseCredentials("AKIALOCALSIGNER", "a secret of the host", "a session token")
DESTINATION = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
SIGNERS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3)]
APPROVERS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (11, 12, 13)]


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def rule(**changes: Any) -> AssetRule:
    return msgspec.structs.replace(
        AssetRule(
            chain="ethereum",
            chain_id=31_337,
            asset="ETH",
            chain_units=10**10,
            transaction_max=5_00000000,
            boot_max=20_00000000,
            fee_max=1_000_000,
            approval_above=1_00000000,
        ),
        **changes,
    )


def manifest(address: str, **changes: Any) -> Manifest:
    return msgspec.structs.replace(
        Manifest(
            version=1,
            wallet="hot-1",
            address=address,
            halted=False,
            assets=(rule(),),
            destinations=(Destination("ethereum", DESTINATION),),
            approvers=tuple(public(key) for key in APPROVERS),
            approvals_required=2,
        ),
        **changes,
    )


def withdrawal(**changes: Any) -> Withdrawal:
    return msgspec.structs.replace(
        Withdrawal(
            request_id="request-0001",
            wallet="hot-1",
            chain="ethereum",
            asset="ETH",
            destination=DESTINATION,
            amount=50_000_000,
            nonce=0,
            fee_per_gas_max=30_000_000_000,
            priority_fee_per_gas_max=1_000_000_000,
        ),
        **changes,
    )


def approval(approver: Ed25519PrivateKey, wanted: Withdrawal, expires_at: int) -> Approval:
    text = approval_text(digest(wanted), expires_at)
    return Approval(public(approver), expires_at, approver.sign(text).hex())


def load(wanted: Manifest | bytes, *signers: Ed25519PrivateKey) -> LoadManifest:
    data = wanted if isinstance(wanted, bytes) else encode(wanted)
    signatures = tuple(ManifestSignature(public(key), key.sign(manifest_text(data)).hex()) for key in signers)
    return LoadManifest(data.hex(), signatures)


@dataclass
class Vault:
    """A running enclave, and how to speak to it."""

    folder: Path
    socket: str
    process: Any
    kms: AttestedKmsServer
    root: bytes

    async def ask(self, message: Message | bytes) -> Reply:
        reader, writer = await open_connection(self.socket, 5)
        with contextlib.closing(writer):
            writer.write(frame(message if isinstance(message, bytes) else encode(message)))
            return decode_reply(await asyncio.wait_for(read_frame(reader, MESSAGE_BYTES_MAX), 30))


def pcrs(**changes: bytes) -> dict[int, bytes]:
    """Return what an accepted enclave measures; `pcr0=…` changes one."""
    measured = {0: IMAGE, 1: b"\1" * 48, 2: b"\2" * 48, 3: pcr_of_role(ROLE), 8: CERTIFICATE}
    return measured | {int(name.removeprefix("pcr")): value for name, value in changes.items()}


@contextlib.asynccontextmanager
async def running(
    folder: Path, policy: dict[str, Any], *, measured: dict[int, bytes] | None = None, roots: Path | None = None
) -> AsyncIterator[Vault]:
    """Start an enclave of this measurement; the material of its key is the same in every run."""
    authority = Authority.create(datetime.now(UTC))
    key = AttestedKey(arn=KEY, policy=policy, material=b"m" * 32)
    callers = {CREDENTIALS.access_key: Caller(role_arn=ROLE, secret_key=CREDENTIALS.secret_key)}
    kms = AttestedKms(keys=[key], callers=callers, root=authority.der, region=REGION, host=HOST)
    server = AttestedKmsServer(kms, host=HOST, folder=folder)
    server.start()
    hypervisor = Hypervisor(authority, measured or pcrs(), datetime.now(UTC))
    config = EnclaveConfig(
        listen=f"unix:{folder}/enclave",
        kms_forwarder=f"unix:{folder}/forwarder",
        kms_host=HOST,
        kms_roots=str(roots or server.roots),
        nsm=f"unix:{folder}/nsm",
        region=REGION,
        key_arn=KEY,
        signers=tuple(public(each) for each in SIGNERS),
        manifest_version_min=1,
    )
    (folder / "enclave.json").write_bytes(msgspec.json.encode(config))
    log = folder / "enclave.log"
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        await stack.enter_async_context(await hypervisor.serve(config.nsm))
        await stack.enter_async_context(await forward(config.kms_forwarder, "127.0.0.1", server.server_port))
        output = stack.enter_context(log.open("wb"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runtime.wallet_enclave.main", str(folder / "enclave.json")),
            env={"PATH": os.environ["PATH"], "NSM": "unix:/nowhere", "KMS_HOST": "evil.example"},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            for _ in range(1200):
                if b"ready" in log.read_bytes():
                    break
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
            yield Vault(folder, config.listen, process, server, authority.der)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
