"""The wallet enclave of this machine: its image is built and measured here, then started by `python -m local.enclave`.

That process is what AWS brings to a host: the hypervisor, which measures the image it starts and signs what it is, and
KMS as enclaves see it, with the key policies of the templates. What only a build can know, the measurement of an image
and of its signing certificate, is taken from the build of this machine; everything else of a policy is as synthesized.
"""

import asyncio
import contextlib
import copy
import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from local.attested_kms import AttestedKey, AttestedKms, AttestedKmsServer, Caller, kept_certificate
from local.callers import Caller as Role
from local.cloud import Cloud
from local.deploy import Deployment
from local.hypervisor import PCR_BYTES, Authority, Hypervisor, pcr_of_role
from local.paths import PRIVATE_FOLDER, PROJECT, write_private
from local.services import HOST, Service, base_variables
from local.supervisor import Program
from runtime.shared import log
from runtime.wallet_enclave.main import EnclaveConfig
from runtime.wallet_enclave.transport import connected

PARENT: Final = "wallet_parent"
"""Service whose host an enclave belongs to."""
SECRET_KEY: Final = "unchecked"  # noqa: S105 - what every process of this machine signs with
SIGNERS: Final = 3
_IMAGE: Final = "kms:RecipientAttestation:ImageSha384"
_CERTIFICATE: Final = "kms:RecipientAttestation:PCR8"
_PACKAGES: Final = ("runtime/wallet_enclave",)
_MODULES: Final = (
    *("runtime/__init__.py", "runtime/shared/__init__.py", "runtime/shared/ethereum.py"),
    *("runtime/shared/frames.py", "runtime/shared/log.py"),
)
"""What the image holds besides its packages: all that they import of ours."""
_CONFIG: Final = "enclave.json"
_ROOTS: Final = "kms-root.pem"
_LEASH: Final = Path(__file__).with_name("leash.py")
_CONNECT_S: Final = 2.0

logger = logging.getLogger(__name__)


class EnclaveError(RuntimeError):
    """The templates declare a signer that cannot be started here. The message says what is missing."""


class SealedKey(Struct, frozen=True):
    """A wallet key as the KMS of enclaves is told of it."""

    arn: str
    policy: dict[str, Any]
    material: bytes


class HostConfig(Struct, frozen=True, kw_only=True):
    """What the process of this module is told, in a file that only its owner reads."""

    image: str
    """Folder of the image."""
    authority: str
    """Key and certificate that sign for this machine's enclaves and builds, PEM."""
    role_arn: str
    nsm: str
    region: str
    kms_host: str
    kms_port: int
    keys: tuple[SealedKey, ...]
    roles: dict[str, str]
    """ARN of the role by access key."""


def measured(image: Path) -> bytes:
    """Return PCR0 of the image in a folder: its files, with their names, in order."""
    digest = hashlib.sha384()
    for path in sorted(each for each in image.rglob("*") if each.is_file()):
        for part in (str(path.relative_to(image)).encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return hashlib.sha384(bytes(PCR_BYTES) + digest.digest()).digest()


def signed_by(authority: Authority) -> bytes:
    """Return PCR8 of an image that this machine's builder signed."""
    return hashlib.sha384(bytes(PCR_BYTES) + hashlib.sha384(authority.der).digest()).digest()


def build(image: Path, config: EnclaveConfig, roots: Path) -> None:
    """Make the image: the sources of the signer, its configuration, and whom it believes to be KMS."""
    shutil.rmtree(image, ignore_errors=True)
    image.mkdir(mode=PRIVATE_FOLDER, parents=True)
    sources = [path for package in _PACKAGES for path in (PROJECT / package).glob("*.py")]
    for source in (*sources, *(PROJECT / module for module in _MODULES)):
        target = image / source.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(roots, image / _ROOTS)
    (image / _CONFIG).write_bytes(msgspec.json.encode(config))


def accepting(policy: Mapping[str, Any], *, image: bytes, certificate: bytes) -> dict[str, Any]:
    """Return the key policy with this machine's build in the place of the builds it names. Raises EnclaveError.

    Only the two measurements in what it allows are replaced: a policy that does not ask for them opens to nobody here.
    """
    filled: dict[str, Any] = copy.deepcopy(dict(policy))
    wanted = {_IMAGE: image.hex(), _CERTIFICATE: certificate.hex()}
    found = 0
    for statement in filled["Statement"]:
        tests = statement.get("Condition", {}).get("StringEqualsIgnoreCase", {})
        if statement["Effect"] == "Allow" and wanted.keys() <= tests.keys():
            tests.update(wanted)
            found += 1
    if not found:
        raise EnclaveError(f"the key policy allows nothing on condition of {' and '.join(wanted)}")
    return filled


def manifest_signers(cloud: Cloud) -> list[Ed25519PrivateKey]:
    """Return the keys of the three who sign manifests on this machine, the same in every run."""
    return [
        Ed25519PrivateKey.from_private_bytes(cloud.derive("manifest signer", str(number), 32))
        for number in range(SIGNERS)
    ]


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return the public half as messages of the enclave have it."""
    return key.public_key().public_bytes_raw().hex()


def prepare(deployment: Deployment, cloud: Cloud, declared: Iterable[Service], state: Path, port: int) -> Program:
    """Build the image for the deployed keys, and return the process that starts it; KMS will listen on loopback `port`.

    From here on the cloud knows that `port` stands for the KMS of the signer's host. Raises EnclaveError.
    """
    by_name = {service.name: service for service in declared}
    parent = by_name.get(PARENT)
    if parent is None:
        raise EnclaveError(f"no template starts {PARENT}")
    folder = state / "custody"
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    authority = _authority(folder / "authority.pem")
    kms_address = parent.environment["KMS_ADDRESS"]
    kms_host = kms_address.partition(":")[0]
    roots = kept_certificate(folder, kms_host)
    keys = {each.wanted.path: each for each in deployment.of_type("AWS::KMS::Key") if "/WalletKeys" in each.wanted.path}
    tier = parent.environment["WALLET"].partition("-")[0].title()
    arns = [str(key.placed.attributes["Arn"]) for path, key in keys.items() if f"/WalletKeys{tier}" in path]
    if len(arns) != 1:
        raise EnclaveError(f"wallet {parent.environment['WALLET']} needs one {tier} key, there are {len(arns)}")
    config = EnclaveConfig(
        listen=f"unix:{state}/enclave",
        kms_forwarder=f"unix:{state}/kms_forwarder",
        kms_host=kms_host,
        kms_roots=_ROOTS,
        nsm=f"unix:{folder}/nsm",
        region=parent.region,
        key_arn=arns[0],
        signers=tuple(public_hex(key) for key in manifest_signers(cloud)),
        manifest_version_min=1,
    )
    image = folder / "image"
    build(image, config, roots)
    measures = {"image": measured(image), "certificate": signed_by(authority)}
    host = HostConfig(
        image=str(image),
        authority=authority.to_pem().decode(),
        role_arn=parent.role,
        nsm=config.nsm,
        region=parent.region,
        kms_host=kms_host,
        kms_port=port,
        keys=tuple(
            SealedKey(
                str(key.placed.attributes["Arn"]),
                accepting(key.wanted.properties["KeyPolicy"], **measures),
                cloud.derive("wallet key", path, 32),
            )
            for path, key in keys.items()
        ),
        roles={cloud.key_of(Role(role=each.role)): each.role for each in by_name.values() if each.role},
    )
    settings = folder / "host.json"
    write_private(settings, msgspec.json.encode(host))
    cloud.addresses[kms_address] = f"{HOST}:{port}"
    return Program(
        name="wallet_enclave",
        command=(sys.executable, "-m", "local.enclave", str(settings)),
        environment=base_variables(),
        probe=_answers(config.listen),
        address=f"{HOST}:{port}",
    )


def _authority(path: Path) -> Authority:
    if not path.exists():
        write_private(path, Authority.create(datetime.now(UTC)).to_pem())
    return Authority.from_pem(path.read_bytes())


def _answers(address: str) -> Any:  # noqa: ANN401 - a probe
    async def probe() -> None:
        (await asyncio.to_thread(connected, address, _CONNECT_S)).close()

    return probe


# ---- the process


async def serve(config: HostConfig) -> int:
    """Measure the image, start it, and be its hypervisor and its KMS until it ends; return how it ended."""
    image = Path(config.image)
    authority = Authority.from_pem(config.authority.encode())
    pcrs = {0: measured(image), 3: pcr_of_role(config.role_arn), 8: signed_by(authority)}
    hypervisor = Hypervisor(authority, pcrs, datetime.now(UTC))
    kms = AttestedKms(
        keys=[AttestedKey(arn=key.arn, policy=key.policy, material=key.material) for key in config.keys],
        callers={key: Caller(role_arn=role, secret_key=SECRET_KEY) for key, role in config.roles.items()},
        root=authority.der,
        region=config.region,
        host=config.kms_host,
    )
    server = AttestedKmsServer(kms, host=config.kms_host, folder=image.parent, port=config.kms_port)
    server.start()
    async with await hypervisor.serve(config.nsm):
        # The image's own sources, and nothing of this environment: what was measured is what runs.
        enclave = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), "9", "-", "-"),
            *(sys.executable, "-B", "-m", "runtime.wallet_enclave.main", _CONFIG),
            cwd=image,
            env={"PATH": os.defpath, "PYTHONUNBUFFERED": "1"},
        )
        logger.info("started an enclave", extra={"pcr0": pcrs[0].hex()})
        try:
            return await enclave.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                enclave.kill()
            server.shutdown()
            server.server_close()


def main(arguments: list[str]) -> int:
    """Run the host that a file describes."""
    log.configure("wallet_enclave")
    config = msgspec.json.decode(Path(arguments[1]).read_bytes(), type=HostConfig)
    return abs(asyncio.run(serve(config))) or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
