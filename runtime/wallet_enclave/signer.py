"""What the enclave does with each request. It answers every one, and says why when it refuses."""

import hashlib
import logging
from collections.abc import Callable, Sequence

from coincurve import PrivateKey

from runtime.wallet_enclave.ethereum import address, derived, signed_transfer
from runtime.wallet_enclave.kms import Credentials, Kms, KmsError
from runtime.wallet_enclave.manifest import ManifestError, verified
from runtime.wallet_enclave.messages import (
    CreateWallet,
    Describe,
    Described,
    Done,
    LoadManifest,
    Manifest,
    MessageError,
    OpenWallet,
    Refused,
    Reply,
    Request,
    Signed,
    SignWithdrawal,
    UseCredentials,
    WalletOpened,
    WalletSealed,
    decode_request,
)
from runtime.wallet_enclave.nsm import Nsm, NsmError
from runtime.wallet_enclave.policy import RefusedError, Spent, allowed
from runtime.wallet_enclave.sealing import SealError, new_seed, opened_seed

logger = logging.getLogger(__name__)


class Signer:
    """One wallet's key, the manifest in force, and what was signed since the start."""

    def __init__(
        self, *, kms: Kms, nsm: Nsm, signers: Sequence[str], manifest_version_min: int, clock: Callable[[], float]
    ) -> None:
        """Start with no key and no manifest: nothing can be signed."""
        self._kms = kms
        self._nsm = nsm
        self._signers = signers
        self._version_min = manifest_version_min
        self._clock = clock
        self._wallet = ""
        self._key: PrivateKey | None = None
        self._manifest: Manifest | None = None
        self._manifest_hash = b""
        self._spent = Spent()

    def answer(self, data: bytes) -> Reply:
        """Return what comes of the request in `data`."""
        try:
            request = decode_request(data)
            reply = self._done(request)
        except (MessageError, RefusedError, ManifestError, SealError, KmsError, NsmError) as error:
            logger.warning("refused: %s", error)
            return Refused(str(error))
        logger.info("done: %s", type(request).__name__)
        return reply

    def _done(self, request: Request) -> Reply:
        match request:
            case Describe():
                nonce = bytes.fromhex(request.nonce)
                document = self._nsm.attest(nonce=nonce, user_data=self._manifest_hash)
                return Described(document.hex(), self._version)
            case UseCredentials():
                self._kms.credentials = Credentials(
                    access_key=request.access_key, secret_key=request.secret_key, token=request.token
                )
                return Done()
            case CreateWallet():
                return self._created(request)
            case OpenWallet():
                return self._opened(request)
            case LoadManifest():
                return self._loaded(request)
            case SignWithdrawal():
                return self._signed(request)

    @property
    def _version(self) -> int:
        return 0 if self._manifest is None else self._manifest.version

    def _created(self, request: CreateWallet) -> Reply:
        """Make a key without taking it into use: it can sign only once a manifest names its address."""
        seed, blob = new_seed(request.wallet, self._kms, self._nsm)
        return WalletSealed(blob.hex(), address(derived(seed)))

    def _opened(self, request: OpenWallet) -> Reply:
        if self._key is not None:
            raise RefusedError(f"wallet {self._wallet} is open; one start serves one wallet")
        key = derived(opened_seed(request.wallet, bytes.fromhex(request.sealed), self._kms))
        self._wallet, self._key = request.wallet, key
        return WalletOpened(address(key))

    def _loaded(self, request: LoadManifest) -> Reply:
        data = bytes.fromhex(request.manifest)
        newer_than = max(self._version, self._version_min - 1)
        manifest = verified(data, request.signatures, self._signers, newer_than=newer_than)
        self._manifest, self._manifest_hash = manifest, hashlib.sha256(data).digest()
        return Done()

    def _signed(self, request: SignWithdrawal) -> Reply:
        withdrawal = request.withdrawal
        rule = allowed(self._manifest, withdrawal, request.approvals, self._spent, int(self._clock()))
        if self._key is None or self._wallet != withdrawal.wallet:
            raise RefusedError(f"wallet {withdrawal.wallet} is not open")
        if self._manifest is None or address(self._key) != self._manifest.address:
            raise RefusedError("the key makes another address than the manifest names")
        self._spent.add(withdrawal)  # before the signature exists: counted once too often rather than once too few
        raw, transaction_id = signed_transfer(self._key, withdrawal, rule)
        return Signed(withdrawal.request_id, raw.hex(), transaction_id)
