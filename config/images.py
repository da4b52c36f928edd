"""What the images of services are built on: the values themselves are in `environments.py`."""

from dataclasses import dataclass
from typing import Annotated

from config.checks import Checked, matching

ImageByDigest = Annotated[
    str,
    matching(
        r"[a-z0-9.-]+(/[a-z0-9._-]+)+(:[\w.-]+)?@sha256:[0-9a-f]{64}",
        "an image by digest, such as registry.example/library/python:3.13-slim@sha256:<64 hexadecimal digits>",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesConfig(Checked):
    """A tag moves, a digest does not: what was tested is what is built upon."""

    base: ImageByDigest
    """Python 3.13 on Debian for linux/arm64. Services run on it, and the engine's core is compiled on it."""
    collector: ImageByDigest
    """The AWS distribution of the OpenTelemetry collector for linux/arm64; runs only where telemetry is collected."""
