"""`python -m runtime.wallet_enclave.main CONFIG`: the only process of the enclave image.

CONFIG is a file of the image, so it is measured; the environment and the arguments of the host reach nobody here.
"""

import asyncio
import contextlib
import logging
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from runtime.shared import log
from runtime.shared.frames import frame, read_frame
from runtime.wallet_enclave.kms import Kms
from runtime.wallet_enclave.messages import MESSAGE_BYTES_MAX, PublicKey, Reply, encode
from runtime.wallet_enclave.nsm import Nsm
from runtime.wallet_enclave.signer import Signer
from runtime.wallet_enclave.transport import CONNECTIONS_MAX, listening

logger = logging.getLogger(__name__)
REQUEST_TIMEOUT_S: Final = 30.0
"""From one request to the whole next one; a slower peer is hung up on."""
_ARGUMENTS: Final = 2


class EnclaveConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is built into the image and thereby measured."""

    listen: str
    """Where requests arrive: vsock:PORT, or unix:/path on one machine."""
    kms_forwarder: str
    """Where the parent moves bytes to KMS: vsock:3:PORT, or unix:/path."""
    kms_host: str
    """Whose certificate KMS must show, such as kms.ap-southeast-3.amazonaws.com."""
    kms_roots: str
    """File of the certificate authorities for KMS; empty for those of the image."""
    nsm: str
    """device:/dev/nsm, or unix:/path of the stand-in."""
    region: str
    key_arn: str
    """Of the wallet key: only what this very key answers is believed."""
    signers: tuple[PublicKey, ...]
    """The three who may sign manifests."""
    manifest_version_min: int
    """Older manifests are refused even after a restart, when nothing else is remembered."""


def read_config(path: Path) -> EnclaveConfig:
    """Return the configuration. Raises OSError and msgspec.MsgspecError."""
    return msgspec.json.decode(path.read_bytes(), type=EnclaveConfig)


def signer(config: EnclaveConfig) -> Signer:
    """Return the signer that `config` describes."""
    nsm = Nsm(config.nsm)
    kms = Kms(
        nsm=nsm,
        key_arn=config.key_arn,
        region=config.region,
        host=config.kms_host,
        forwarder=config.kms_forwarder,
        tls=ssl.create_default_context(cafile=config.kms_roots or None),
    )
    return Signer(
        kms=kms,
        nsm=nsm,
        signers=config.signers,
        manifest_version_min=config.manifest_version_min,
        clock=time.time,
    )


async def serve(config: EnclaveConfig) -> None:
    """Answer requests, one at a time, until cancelled."""
    answering = signer(config)
    one_at_a_time = asyncio.Lock()
    places = asyncio.BoundedSemaphore(CONNECTIONS_MAX)

    async def answered(data: bytes) -> Reply:
        async with one_at_a_time:
            return await asyncio.to_thread(answering.answer, data)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if places.locked():
                return
            async with places:
                with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
                    while True:
                        async with asyncio.timeout(REQUEST_TIMEOUT_S):
                            data = await read_frame(reader, MESSAGE_BYTES_MAX)
                        writer.write(frame(encode(await answered(data)), MESSAGE_BYTES_MAX))
                        await writer.drain()

    server = await asyncio.start_server(connection, sock=listening(config.listen))
    logger.info("ready")
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> int:
    """Serve until killed; return 2 when the configuration cannot be used."""
    log.configure("wallet_enclave")
    if len(arguments) != _ARGUMENTS:
        sys.stderr.write("usage: python -m runtime.wallet_enclave.main CONFIG\n")
        return 2
    try:
        config = read_config(Path(arguments[1]))
    except (OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{arguments[1]}: {error}\n")
        return 2
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
