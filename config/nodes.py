"""The chains that the exchange follows: their nodes, on two architectures, and what counts as a deposit on each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from config.checks import Checked, between, matching
from config.custody import ARM, X86, Architecture, MachineImage, Problem
from config.perimeter import DomainName, PrivateBlock

Digest = Annotated[str, matching(r"[0-9a-f]{64}", "a SHA-256 as 64 hexadecimal digits in lower case")]
PROGRAMS: Final = {"ethereum": ("geth", "lighthouse"), "bitcoin": ("bitcoind",)}
"""What a node of each chain runs."""
NETWORKS: Final = {"ethereum": "a chain id", "bitcoin": "main, test, testnet4, signet or regtest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBuild(Checked):
    """A node on one architecture. A fault of one build is not a fault of the other, so one is no witness alone."""

    architecture: Architecture
    instance_type: Annotated[
        str,
        matching(
            r"(m7i|r7i|m7g|r7g|r8g)\.([248]|12|16)?xlarge",
            "a type for nodes that Jakarta has, .xlarge or more: m7i, r7i, m7g, r7g, r8g",
        ),
    ]
    machine_image: MachineImage
    """Has the programs, the sidecar and their units in it, built by the image pipeline for the architecture."""
    digests: tuple[Digest, ...]
    """Of the programs, in the order of PROGRAMS: the host starts no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositAsset(Checked):
    """An asset that customers can send to us on the chain."""

    name: Annotated[str, matching(r"[A-Z0-9]{1,20}", "the name of an asset in the catalogue")]
    decimals: Annotated[int, between(0, 36)]
    """On the chain."""
    confirmations: Annotated[int, between(2, 500)]
    """Blocks until it is credited, its own counted. Two at least, so that the block of a credit is stored before it.

    A withdrawal is final at the same depth."""
    contract: Annotated[str, matching(r"(0x[0-9a-fA-F]{40})?", "a token's checksummed address, or nothing")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig(Checked):
    """One chain: which network of it, its nodes, its assets."""

    name: Literal["ethereum", "bitcoin"]
    network: Annotated[str, matching(r"[0-9]{1,10}|main|test|testnet4|signet|regtest", "a chain id or Bitcoin network")]
    genesis: Annotated[str, matching(r"(0x)?[0-9a-f]{64}", "the hash of block 0")]
    data_gib: Annotated[int, between(20, 16_384)]
    iops: Annotated[int, between(3000, 16_000)]
    throughput_mib: Annotated[int, between(125, 1000)]
    builds: tuple[NodeBuild, ...]
    assets: tuple[DepositAsset, ...]
    seeds: tuple[DomainName, ...] = ()
    """Names that lead a node to its first peers, as its program has them built in; none where it has addresses."""
    extended_public_key: Annotated[str, matching(r"[xt]pub[1-9A-HJ-NP-Za-km-z]{107}", "an xpub or tpub of a wallet")]
    """Deposit addresses are its children. The private half never leaves the enclave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesConfig(Checked):
    """The nodes account and its network."""

    cidr: PrivateBlock
    """Of the nodes' network, which is joined to no other."""
    nat_zone_count: Annotated[int, between(1, 3)]
    """Zones with a way out to peers."""
    service_name: Annotated[
        str,
        matching(
            r"com\.amazonaws\.vpce\.[a-z0-9-]+\.vpce-svc-[0-9a-f]{8,17}",
            "the name of an endpoint service, such as com.amazonaws.vpce.ap-southeast-3.vpce-svc-0123456789abcdef0",
        ),
    ]
    """The nodes stack shows it once it is deployed; the account of the exchange cannot ask for it."""
    snapshots_kept_days: Annotated[int, between(1, 90)]
    """Days that the daily copies of each node's disk are kept; another node starts from one."""
    chains: tuple[ChainConfig, ...]

    @property
    def peer_names(self) -> tuple[str, ...]:
        """Names that nodes ask for. Bitcoin Core asks a seed for peers with whole blocks and witnesses first: x9."""
        seeds = [seed for chain in self.chains for seed in chain.seeds]
        return (*seeds, *(f"x9.{seed}" for seed in seeds))

    def confirmations(self, chain: str) -> dict[str, int]:
        """Return, by asset of a chain, the blocks until what it carries is final; empty for another chain."""
        return {asset.name: asset.confirmations for each in self.chains if each.name == chain for asset in each.assets}

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        names = [chain.name for chain in self.chains]
        if not names or len(set(names)) != len(names):
            yield "nodes.chains", "must be one or more different chains", len(names)
        for chain in self.chains:
            path = f"nodes.chains.{chain.name}"
            if sorted(build.architecture for build in chain.builds) != sorted((X86, ARM)):
                yield f"{path}.builds", "must be one for x86_64 and one for arm64", len(chain.builds)
            for build in chain.builds:
                graviton = build.instance_type.split(".")[0].endswith("g")
                if graviton != (build.architecture == ARM):
                    yield f"{path}.builds.instance_type", f"must be of {build.architecture}", build.instance_type
                if len(build.digests) != len(PROGRAMS[chain.name]):
                    yield f"{path}.builds.digests", f"must be of {', '.join(PROGRAMS[chain.name])}", len(build.digests)
            if chain.network.isdigit() == (chain.name == "bitcoin"):
                yield f"{path}.network", f"must be that of {chain.name}: {NETWORKS[chain.name]}", chain.network
            if chain.name == "bitcoin" and len(chain.assets) != 1:
                yield f"{path}.assets", "must be one: the chain has no other", len(chain.assets)
