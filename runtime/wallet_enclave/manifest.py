"""When a manifest counts: signed by a quorum of the keys in the image, sound in itself, newer than the one before."""

from collections.abc import Iterable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from runtime.wallet_enclave.messages import Manifest, ManifestSignature, MessageError, decode, manifest_text

QUORUM: Final = 2
SIGNERS: Final = 3


class ManifestError(ValueError):
    """The manifest does not count; the message says why."""


def verified(
    data: bytes, signatures: Iterable[ManifestSignature], signers: Sequence[str], *, newer_than: int
) -> Manifest:
    """Return the manifest in `data` if QUORUM of the three `signers` signed it. Raises ManifestError.

    A version that is not above `newer_than` is refused: an old manifest must not come back.
    """
    if len(signers) != SIGNERS or len(set(signers)) != SIGNERS:
        raise ManifestError(f"{SIGNERS} different keys must be built in, there are {len(set(signers))}")
    valid = {each.signer for each in signatures if each.signer in signers and signed(each.signer, data, each.signature)}
    if len(valid) < QUORUM:
        raise ManifestError(f"{QUORUM} of {SIGNERS} signatures are needed, {len(valid)} are valid")
    try:
        manifest = decode(data, Manifest)
    except MessageError as error:
        raise ManifestError(str(error)) from None
    if manifest.version <= newer_than:
        raise ManifestError(f"version {manifest.version} is not above {newer_than}, which was in force")
    _check(manifest)
    return manifest


def signed(signer: str, data: bytes, signature: str) -> bool:
    """Tell whether `signer` signed a manifest's bytes."""
    return verifies(signer, signature, manifest_text(data))


def verifies(public_key: str, signature: str, text: bytes) -> bool:
    """Tell whether `signature` of `text` is by the Ed25519 key; false for what is no key or signature."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check(manifest: Manifest) -> None:
    rules = [(rule.chain, rule.asset) for rule in manifest.assets]
    if len(set(rules)) != len(rules):
        raise ManifestError("an asset of a chain has two rules")
    if len(set(manifest.approvers)) != len(manifest.approvers):
        raise ManifestError("an approver is named twice")
    if manifest.approvals_required > len(manifest.approvers):
        raise ManifestError(f"{manifest.approvals_required} approvals of {len(manifest.approvers)} approvers")
