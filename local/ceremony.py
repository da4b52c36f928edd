"""What custodians do once by hand: have the enclave make a wallet, and sign the manifest that says what may leave it.

Here the keys of the three signers and of the approvers are derived from this installation's secret, so that a second
run finds its own wallet and manifest again. In AWS they belong to people and never meet.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local.cloud import Cloud
from local.enclave import EnclaveError, manifest_signers, public_hex
from runtime.chain.rpc import Rpc
from runtime.wallet_enclave.manifest import QUORUM
from runtime.wallet_enclave.messages import (
    AssetRule,
    CreateWallet,
    Destination,
    LoadManifest,
    Manifest,
    ManifestSignature,
    WalletSealed,
    decode,
    decode_reply,
    encode,
    manifest_text,
)

CHAIN: Final = "ethereum"
CHAIN_ID: Final = 31_337
"""Of the development node."""
DESTINATIONS: Final = ("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
"""Where alice and bob may withdraw to: the second and third account of the development node."""
APPROVERS: Final = ("citra", "dewi", "eko")
APPROVALS_REQUIRED: Final = 2
WAIT_S: Final = 90.0
COLD: Final = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
"""Cold storage of this machine."""
WORKING_CAPITAL: Final = 100_000 * 10**18
"""Wei in the hot wallet of this machine: more than its customers ever take out."""
_POLL_S: Final = 0.25
_ETHER: Final = 10**8
"""Units of the ledger."""


def approver(cloud: Cloud, name: str) -> Ed25519PrivateKey:
    """Return the key of an approver of this machine."""
    return Ed25519PrivateKey.from_private_bytes(cloud.derive("withdrawal approver", name, 32))


def hold(cloud: Cloud, table: str, wallet: str) -> str:
    """See to it that `wallet` exists and that its manifest is the one of today; return its address.

    Raises EnclaveError when the enclave refuses, or does not answer in time.
    """
    dynamodb = cloud.client("dynamodb")
    kept = _item(dynamodb, table, f"wallet#{wallet}")
    if "sealed" not in kept:
        made = _created(dynamodb, table, wallet)
        kept = {"sealed": made.sealed, "address": made.address}
        _put(dynamodb, table, f"wallet#{wallet}", kept)
    address = kept["address"]
    version = 1
    if stored := _item(dynamodb, table, f"manifest#{wallet}"):
        old = decode(bytes.fromhex(decode(stored["manifest"].encode(), LoadManifest).manifest), Manifest)
        if old == manifest(cloud, wallet, address, old.version):
            return address
        version = old.version + 1
    data = encode(manifest(cloud, wallet, address, version))
    signatures = tuple(
        ManifestSignature(public_hex(key), key.sign(manifest_text(data)).hex())
        for key in manifest_signers(cloud)[:QUORUM]
    )
    _put(dynamodb, table, f"manifest#{wallet}", {"manifest": encode(LoadManifest(data.hex(), signatures)).decode()})
    return address


async def endow(chain: str, hot: str, coins: Mapping[str, int]) -> None:
    """Give the wallets, once, what the accounts of this machine are credited with, on the simulated chain at `chain`.

    `coins` are amounts in the chain's units, by contract; ether has none. Most of it is in cold storage, for which
    nobody has a key here. So ledger and chain match from the beginning. Raises NodeError.
    """
    rpc = Rpc(chain)
    if int(await rpc.call("eth_getBalance", COLD, "latest"), 16):
        return
    for contract, amount in coins.items():
        if contract:
            await rpc.call("sim_pay_token", contract, COLD, str(amount))
        else:
            await rpc.call("sim_pay", hot, str(WORKING_CAPITAL))
            await rpc.call("sim_pay", COLD, str(amount - WORKING_CAPITAL))
    await rpc.call("sim_mine", 1)


def manifest(cloud: Cloud, wallet: str, address: str, version: int) -> Manifest:
    """Return what may leave a wallet of this machine: ether, to the demo accounts' addresses."""
    ether = AssetRule(
        chain=CHAIN,
        chain_id=CHAIN_ID,
        asset="ETH",
        chain_units=10**10,
        transaction_max=20 * _ETHER,
        boot_max=500 * _ETHER,
        fee_max=_ETHER // 100,
        approval_above=_ETHER,
    )
    return Manifest(
        version=version,
        wallet=wallet,
        address=address,
        halted=False,
        assets=(ether,),
        destinations=tuple(Destination(CHAIN, each) for each in DESTINATIONS),
        approvers=tuple(public_hex(approver(cloud, name)) for name in APPROVERS),
        approvals_required=APPROVALS_REQUIRED,
    )


def _created(dynamodb: Any, table: str, wallet: str) -> WalletSealed:  # noqa: ANN401 - boto3's
    name = f"ceremony-{uuid.uuid4().hex}"
    request = {"waiting": {"S": "ceremony"}, "asked_at": {"N": str(int(time.time()))}}
    asked = {"id": {"S": name}, "request": {"S": encode(CreateWallet(wallet)).decode()}, **request}
    dynamodb.put_item(TableName=table, Item=asked)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if answer := _item(dynamodb, table, name).get("answer"):
            reply = decode_reply(answer.encode())
            if not isinstance(reply, WalletSealed):
                raise EnclaveError(f"wallet {wallet} was not made: {json.dumps(msgspec.to_builtins(reply))}")
            return reply
        time.sleep(_POLL_S)
    raise EnclaveError(f"wallet {wallet} was not made within {WAIT_S:g} s; see the logs of the enclave and its host")


def _item(dynamodb: Any, table: str, name: str) -> dict[str, str]:  # noqa: ANN401 - boto3's
    found = dynamodb.get_item(TableName=table, Key={"id": {"S": name}}, ConsistentRead=True).get("Item", {})
    return {key: value["S"] for key, value in found.items() if "S" in value}


def _put(dynamodb: Any, table: str, name: str, values: dict[str, str]) -> None:  # noqa: ANN401 - boto3's
    item = {"id": {"S": name}, **{key: {"S": value} for key, value in values.items()}}
    dynamodb.put_item(TableName=table, Item=item)
