"""What the exchange holds for customers: keys and who may use them, nodes of the chains, rules for what leaves."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from config.checks import Checked, between, matching
from config.perimeter import PrivateBlock
from runtime.shared.catalogue import DecimalText

IMAGES_MAX: Final = 4
"""Old and new, on both architectures: more would be accepted without need."""
PCR_DIGITS: Final = 96
ZERO_PCR: Final = "0" * PCR_DIGITS
"""What an enclave in debug mode shows: its memory can be read from outside."""
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
Digest = Annotated[str, matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits in lower case")]


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
        if self.architecture not in {image.architecture for image in self.images}:
            yield "custody.images", f"must have one for {self.architecture}, which the hosts are", self.instance_type
        if self.instance_count_min > self.instance_count_max:
            allowed = f"must be at most instance_count_max {self.instance_count_max}"
            yield "custody.instance_count_min", allowed, self.instance_count_min
        if self.administrator_role == self.break_glass_role:
            allowed = "must be another role than administrator_role"
            yield "custody.break_glass_role", allowed, self.break_glass_role


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig(Checked):
    """One node of a chain. A node has one volume, which outlives every instance."""

    instance_type: Annotated[
        str,
        matching(
            r"(m7i|r7i|i7i|i7ie|m7g|r7g|r8g|i8g)\.\d*x?large",
            "a type offered in Jakarta: x86 m7i, r7i, i7i, i7ie; Graviton m7g, r7g, r8g, i8g",
        ),
    ]
    machine_image: MachineImage
    running: bool
    volume_gib: Annotated[int, between(10, 16_384)]
    volume_iops: Annotated[int, between(3000, 16_000)]
    volume_mib_per_s: Annotated[int, between(125, 1000)]

    @property
    def architecture(self) -> Architecture:
        """What the instance is."""
        return ARM if self.instance_type.split(".")[0] in {"m7g", "r7g", "r8g", "i8g"} else X86


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationTier(Checked):
    """From this amount on, a deposit waits for so many blocks."""

    from_amount: DecimalText
    blocks: Annotated[int, between(1, 200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig(Checked):
    """One chain: which network of it, its two nodes, and how long a deposit waits."""

    network: Literal["mainnet", "sepolia", "testnet4"]
    chain_id: Annotated[int, between(0, 2**53)]
    """As Ethereum counts networks; 0 for Bitcoin, which names them."""
    genesis: Digest
    """Hash of the first block: a node of another network is never believed."""
    x86: NodeConfig
    graviton: NodeConfig
    software_sha256: tuple[Digest, Digest]
    """Of the node software for x86 and Graviton, taken from a list whose signatures were checked when it was pinned."""
    confirmations: tuple[ConfirmationTier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsConfig(Checked):
    """The nodes' network, and the chains."""

    cidr: PrivateBlock
    gateway_count: Annotated[int, between(1, 2)]
    """Zones with a way out to other nodes."""
    bitcoin: ChainConfig
    ethereum: ChainConfig

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        for name in ("bitcoin", "ethereum"):
            chain: ChainConfig = getattr(self, name)
            for variant, wanted in (("x86", X86), ("graviton", ARM)):
                node: NodeConfig = getattr(chain, variant)
                if node.architecture != wanted:
                    yield f"chains.{name}.{variant}.instance_type", f"must be of {wanted}", node.instance_type
            amounts = [Decimal(tier.from_amount) for tier in chain.confirmations]
            if not amounts or amounts[0] != 0 or amounts != sorted(set(amounts)):
                allowed = "must start at from_amount 0 and rise"
                yield f"chains.{name}.confirmations", allowed, ", ".join(map(str, amounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRule(Checked):
    """What may leave of one asset on one chain; amounts as decimals of the asset."""

    asset: Annotated[str, matching(r"[A-Z0-9]{2,10}", "the name of an asset, such as ETH")]
    chain: Literal["bitcoin", "ethereum"]
    minimum: DecimalText
    transaction_max: DecimalText
    day_max: DecimalText
    """Of one customer, in any 24 hours."""
    approval_above: DecimalText
    """Larger amounts need two people."""
    travel_rule_from: DecimalText
    """From this amount on, the receiver's full data; below it, names and wallets."""
    hot_wallet_max: DecimalText
    """Above it the hot wallet is swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalsConfig(Checked):
    """Rules for what leaves."""

    rules: tuple[WithdrawalRule, ...]
    approvals: Annotated[int, between(2, 5)]
    approval_hours_max: Annotated[int, between(1, 72)]
    """After this the request is refused for want of approvals."""
    address_cooldown_hours: Annotated[int, between(0, 168)]
    """A new address waits this long."""
    hot_share_max_ppm: Annotated[int, between(1, 499_999)]
    """Of all coins, in millionths: the majority is cold."""
    hot_share_target_ppm: Annotated[int, between(1, 499_999)]

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        names = [(rule.asset, rule.chain) for rule in self.rules]
        if len(set(names)) != len(names):
            yield "withdrawals.rules", "must have one rule for an asset on a chain", len(names)
        for rule in self.rules:
            rising = [rule.minimum, rule.approval_above, rule.transaction_max, rule.day_max]
            if sorted(rising, key=Decimal) != rising:
                allowed = "must rise: minimum, approval_above, transaction_max, day_max"
                yield f"withdrawals.rules.{rule.asset}", allowed, ", ".join(rising)
        if self.hot_share_target_ppm > self.hot_share_max_ppm:
            allowed = f"must be at most hot_share_max_ppm {self.hot_share_max_ppm}"
            yield "withdrawals.hot_share_target_ppm", allowed, self.hot_share_target_ppm
