"""What the exchange holds for customers: the keys, and who may use them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from config.checks import Checked, between, matching
from config.perimeter import PrivateBlock

IMAGES_MAX: Final = 4
"""Old and new, on both architectures: more would be accepted without need."""
PCR_DIGITS: Final = 96
ZERO_PCR: Final = "0" * PCR_DIGITS
"""What an enclave in debug mode shows: its memory can be read from outside."""
BREAK_GLASS: Final = "bursa-break-glass"
"""Name of the role for bad days, in every account that has one: the organization's policies know it by this."""
X86: Final = "x86_64"
ARM: Final = "arm64"
Architecture = Literal["x86_64", "arm64"]


def _pcr(text: str) -> str:
    if len(text) != PCR_DIGITS or set(text) - set("0123456789abcdef"):
        raise ValueError(f"must be {PCR_DIGITS} hexadecimal digits in lower case, as SHA-384 has (given: {len(text)})")
    if text == ZERO_PCR:
        raise ValueError("must not be all zero, which is an enclave in debug mode")
    return text


Pcr = Annotated[str, AfterValidator(_pcr)]
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""
RoleArn = Annotated[
    str,
    matching(
        r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]{1,128}", "the ARN of a role, such as arn:aws:iam::123456789012:role/Name"
    ),
]
MachineImage = Annotated[
    str, matching(r"ami-[0-9a-f]{8,17}", "the id of a machine image, such as ami-0123456789abcdef0")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveImage(Checked):
    """One accepted build of the signer. Two are accepted while a new one is rolled out."""

    architecture: Architecture
    pcr0: Pcr
    """Measured by the build pipeline, never read from the host that is to be distrusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyConfig(Checked):
    """Keys of the wallets and the fleet of enclaves that use them."""

    cidr: PrivateBlock
    """Of the wallet network, which is joined to no other."""
    instance_type: Annotated[
        str,
        matching(
            r"(m6i|m7i|m7g|m8g|c7i|c7g|r7i|r7g)\.([248]|12|16)?xlarge",
            "a type for enclaves that Jakarta has, .xlarge or more: m6i, m7i, m7g, m8g, c7i, c7g, r7i, r7g",
        ),
    ]
    machine_image: MachineImage
    """Host with the parent and the enclave image in it, built by the image pipeline for the type's architecture."""
    instance_count_min: Annotated[int, between(1, 10)]
    instance_count_max: Annotated[int, between(1, 10)]
    images: tuple[EnclaveImage, ...]
    """Builds that KMS gives the key to."""
    signing_certificate_pcr8: Pcr
    """Certificate that every build is signed with."""
    administrator_role: RoleArn
    """Looks after the keys' names, tags and rotation; uses none."""
    break_glass_role: RoleArn
    """Changes policies and deploys the custody stack; two people take it together, and every use raises an alarm."""

    @property
    def architecture(self) -> Architecture:
        """What the hosts are."""
        return ARM if self.instance_type.split(".")[0].endswith("g") else X86

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        measured = [image.pcr0 for image in self.images]
        if not 1 <= len(measured) <= IMAGES_MAX or len(set(measured)) != len(measured):
            yield "custody.images", f"must be 1 to {IMAGES_MAX} different builds", len(measured)
        if measured and self.architecture not in {image.architecture for image in self.images}:
            yield "custody.images", f"must have one for {self.architecture}, which the hosts are", self.instance_type
        if self.instance_count_min > self.instance_count_max:
            allowed = f"must be at most instance_count_max {self.instance_count_max}"
            yield "custody.instance_count_min", allowed, self.instance_count_min
        if not self.break_glass_role.endswith(f":role/{BREAK_GLASS}"):
            allowed = f"must be called {BREAK_GLASS}: policies of the organization and the watch know it by this name"
            yield "custody.break_glass_role", allowed, self.break_glass_role
        if self.administrator_role == self.break_glass_role:
            allowed = "must be another role than administrator_role"
            yield "custody.break_glass_role", allowed, self.break_glass_role
