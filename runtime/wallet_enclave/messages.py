"""What the enclave is told and what it answers: JSON in one canonical form, so that a text has exactly one reading.

Anything else is refused before it is looked at: a field too many or missing, a name given twice, a float, a negative
number, spaces. Amounts are in the smallest unit that the ledger knows; fees are in the chain's own.
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Largest frame that enters or leaves the enclave."""
AMOUNT_MAX: Final = 2**62 - 1

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Of a wallet or a chain, such as hot-1 or ethereum."""
Ticker = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,10}$")]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Count = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$", max_length=MESSAGE_BYTES_MAX)]
PublicKey = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
"""Ed25519, 32 bytes."""
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$")]
"""Ed25519, 64 bytes."""
Address = Annotated[str, Meta(min_length=1, max_length=128)]


class MessageError(ValueError):
    """The text is not a message, or not in its canonical form."""


class Message(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all: immutable, and nothing in it that its reader does not know."""


class Withdrawal(Message, tag="withdrawal"):
    """What is to leave a wallet. No field has a default: what is absent is refused, never guessed."""

    request_id: Id
    wallet: Name
    chain: Name
    asset: Ticker
    destination: Address
    amount: Amount
    nonce: Count
    """Of the transaction, counted by the chain for the wallet's address."""
    fee_per_gas_max: Amount
    priority_fee_per_gas_max: Count


class Approval(Message, tag="approval"):
    """One approver's word for one withdrawal, until `expires_at` (seconds since 1970)."""

    approver: PublicKey
    expires_at: Count
    signature: Signature
    """Of `approval_text`."""


class AssetRule(Message, tag="asset"):
    """What may be done with one asset on one chain. Amounts in units of the ledger."""

    chain: Name
    chain_id: Amount
    asset: Ticker
    chain_units: Amount
    """Smallest units of the chain in one unit of the ledger."""
    transaction_max: Amount
    boot_max: Amount
    """What one start of the enclave may sign in all: holds even if every counter outside were turned back."""
    fee_max: Amount
    """Highest fee of one transaction, in units of the ledger."""
    approval_above: Count
    """Larger amounts need approvals."""


class Destination(Message, tag="destination"):
    """An address that withdrawals may go to."""

    chain: Name
    address: Address


class Manifest(Message, tag="manifest"):
    """The policy of one wallet. It counts only with signatures of two of the three keys built into the image."""

    version: Amount
    wallet: Name
    address: Address
    """Of the wallet itself: a key that makes another address is not its key."""
    halted: bool
    assets: tuple[AssetRule, ...]
    destinations: tuple[Destination, ...]
    approvers: tuple[PublicKey, ...]
    approvals_required: Amount


class ManifestSignature(Message, tag="manifest_signature"):
    """One signer's signature of a manifest's bytes."""

    signer: PublicKey
    signature: Signature


# ---- asked of the enclave


class Describe(Message, tag="describe"):
    """Show what you are: an attestation document with this nonce (16 to 64 bytes)."""

    nonce: Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){16,64}$")]


class UseCredentials(Message, tag="use_credentials"):
    """The parent's credentials for KMS. They open nothing without an attestation document."""

    access_key: Annotated[str, Meta(min_length=1, max_length=128)]
    secret_key: Annotated[str, Meta(min_length=1, max_length=256)]
    token: Annotated[str, Meta(max_length=8192)]


class CreateWallet(Message, tag="create_wallet"):
    """Make a key that never leaves, and return it sealed."""

    wallet: Name


class OpenWallet(Message, tag="open_wallet"):
    """Take a sealed key back after a restart."""

    wallet: Name
    sealed: Hex


class LoadManifest(Message, tag="load_manifest"):
    """Take a manifest: its canonical JSON, in hex, and who signed it."""

    manifest: Hex
    signatures: tuple[ManifestSignature, ...]


class SignWithdrawal(Message, tag="sign_withdrawal"):
    """Sign a withdrawal if the manifest and the approvals allow it."""

    withdrawal: Withdrawal
    approvals: tuple[Approval, ...]


# ---- answered


class Described(Message, tag="described"):
    """The attestation document; its user data is the SHA-256 of the manifest in force, or empty."""

    attestation: Hex
    manifest_version: Count


class Done(Message, tag="done"):
    """It has taken effect."""


class WalletSealed(Message, tag="wallet_sealed"):
    """A new wallet: its key, which only an enclave of an accepted image opens, and its address."""

    sealed: Hex
    address: Address


class WalletOpened(Message, tag="wallet_opened"):
    """The wallet can sign."""

    address: Address


class Signed(Message, tag="signed"):
    """A transaction ready for broadcast."""

    request_id: Id
    raw_transaction: Hex
    transaction_id: Address


class Refused(Message, tag="refused"):
    """Nothing was done, and why."""

    reason: str


Request = Describe | UseCredentials | CreateWallet | OpenWallet | LoadManifest | SignWithdrawal
Reply = Described | Done | WalletSealed | WalletOpened | Signed | Refused
Kind = TypeVar("Kind", bound=Message)


def encode(message: Message) -> bytes:
    """Return the canonical form."""
    return msgspec.json.encode(message)


def decode(data: bytes, kind: type[Kind]) -> Kind:
    """Return the one message that `data` is. Raises MessageError, which quotes nothing of what was given."""
    return _canonical(data, msgspec.json.Decoder(kind))


_REQUESTS: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
_REPLIES: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)


def decode_request(data: bytes) -> Request:
    """Return the request that `data` is. Raises MessageError."""
    return _canonical(data, _REQUESTS)


def decode_reply(data: bytes) -> Reply:
    """Return the reply that `data` is. Raises MessageError."""
    return _canonical(data, _REPLIES)


Decoded = TypeVar("Decoded")


def _canonical(data: bytes, decoder: "msgspec.json.Decoder[Decoded]") -> Decoded:
    if len(data) > MESSAGE_BYTES_MAX:
        raise MessageError(f"a message has at most {MESSAGE_BYTES_MAX} bytes, this one {len(data)}")
    try:
        message = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError(str(error)) from None
    if msgspec.json.encode(message) != data:
        raise MessageError("not in canonical form: fields in order, each once, no spaces, no escapes")
    return message


def approval_text(withdrawal_digest: bytes, expires_at: int) -> bytes:
    """Return what an approver signs: this withdrawal, whole, until then."""
    return b"bursa approval 1\n" + withdrawal_digest + expires_at.to_bytes(8, "big")


def manifest_text(manifest: bytes) -> bytes:
    """Return what a manifest's signer signs."""
    return b"bursa manifest 1\n" + manifest
