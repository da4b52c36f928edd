"""Where the exchange ends: whose accounts, which edge, what leaves, which partners come in, what is kept as proof."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal

from pydantic import AfterValidator

from config.checks import Checked, between, matching

AUDIT_DAYS_MIN: Final = 1827
"""Five years. Older exchange rules ask for five years of transaction data; we keep its audit records as long."""

AccountId = Annotated[str, matching(r"\d{12}", "an AWS account id of 12 digits")]
DomainName = Annotated[str, matching(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", "a domain name in lower case")]
PartnerName = Annotated[str, matching(r"[A-Z][A-Za-z0-9]{1,31}", "a name in CamelCase of 2 to 32 letters and digits")]
Asn = Annotated[int, between(64_512, 65_534)]
"""A private 16-bit number of an autonomous system."""


def _private_block(text: str) -> str:
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError:
        block = None
    if block is None or not block.is_private or block.prefixlen not in range(16, 29):
        raise ValueError("must be a private IPv4 block of /16 to /28, such as 10.10.0.0/16")
    return text


def _public_address(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        address = None
    if address is None or address.is_multicast:
        raise ValueError("must be one IPv4 address, such as 203.0.113.10")
    return text


def _dmz_block(text: str) -> str:
    if ipaddress.IPv4Network(_private_block(text)).prefixlen > 24:  # noqa: PLR2004 - said in the message
        raise ValueError("must be /16 to /24, since three tiers in three zones need 192 addresses")
    return text


PrivateBlock = Annotated[str, AfterValidator(_private_block)]
AttachmentId = Annotated[str, matching(r"tgw-attach-[0-9a-f]{17}", "the id of a transit gateway attachment")]
PublicAddress = Annotated[str, AfterValidator(_public_address)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts(Checked):
    """Who owns what. Two parts in one account are kept apart by IAM alone: its administrator can reach both."""

    core: AccountId
    """Trading, ledger, customers."""
    wallet: AccountId
    """Keys and the enclaves that use them."""
    nodes: AccountId
    """Nodes of the chains."""
    audit: AccountId
    """Records of who did what, which nobody who acts elsewhere can change."""

    @classmethod
    def single(cls, account: str) -> "Accounts":
        """Return one account for everything: for dev, as no administrator can then be kept from keys and records."""
        return cls(core=account, wallet=account, nodes=account, audit=account)

    def distinct(self) -> dict[str, str]:
        """Return each account once, under the first part that lives in it."""
        found: dict[str, str] = {}
        for field in fields(self):
            account = getattr(self, field.name)
            if account not in found.values():
                found[field.name] = account
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig(Checked):
    """What stands between the internet and the exchange."""

    origin_facing: Annotated[
        str, matching(r"(pl|sg)-[0-9a-f]{8,17}", "the id of a prefix list (pl-...) or of a security group (sg-...)")
    ]
    """Who may reach the REST balancer: the prefix list com.amazonaws.global.cloudfront.origin-facing of the region, or,
    once the first deployment has made it, the group CloudFront-VPCOrigins-Service-SG."""
    denied_countries: tuple[Annotated[str, matching(r"[A-Z]{2}", "a country of two capital letters")], ...]
    requests_per_address: Annotated[int, between(100, 1_000_000)]
    """Requests that one address may send in five minutes before it is refused."""
    sign_in_requests_per_address: Annotated[int, between(10, 100_000)]
    """The same for requests to the user pool: a sign-in takes three, and a page that stays open one in 15 minutes."""
    dnssec: bool
    """Sign the zone. The record that the parent zone needs is then entered at the registrar, by hand."""
    shield_advanced: bool
    """Needs a subscription of the whole organization, three thousand dollars a month."""
    monthly_budget_usd: Annotated[int, between(1, 10_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressConfig(Checked):
    """The one way out: price sources, by name, from fixed addresses."""

    zone_count: Annotated[int, between(1, 3)]
    """Zones with a firewall and a NAT gateway of their own, each with a fixed address."""
    domains: tuple[DomainName, ...]
    """Hosts that the price feed may reach; an address without one of these names is not reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketMaker(Checked):
    """A partner that connects by PrivateLink, from its own account."""

    name: PartnerName
    account: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeeredNetwork(Checked):
    """A partner whose VPC, in the same region, is joined to ours for the lowest latency."""

    name: PartnerName
    account: AccountId
    vpc_id: Annotated[str, matching(r"vpc-[0-9a-f]{8,17}", "the id of a VPC, such as vpc-0123456789abcdef0")]
    cidr: PrivateBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCentre(Checked):
    """A bank or a data centre on a leased line, with a VPN as its spare."""

    name: PartnerName
    vpn_address: PublicAddress
    asn: Asn
    cidr: PrivateBlock
    """Its own addresses, which are the only ones it can reach us from."""
    vpn_attachment: AttachmentId | None = None
    """Known after the first deployment (docs/deploy.md, section 8). Until it is given, the VPN carries nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnersConfig(Checked):
    """Who is connected privately. All is off while a list is empty."""

    market_makers: tuple[MarketMaker, ...]
    peered: tuple[PeeredNetwork, ...]
    data_centres: tuple[DataCentre, ...]
    dmz_cidr: Annotated[str, AfterValidator(_dmz_block)]
    """The network between data centres and ours, where their traffic is inspected."""
    amazon_asn: Asn
    """Our side of every VPN."""
    line_asn: Asn
    """Our side of every leased line; Direct Connect wants another one than the VPNs have."""
    line_attachment: AttachmentId | None = None
    """Of the leased lines' gateway, known after the first deployment. Until it is given, no line carries anything."""

    def names(self) -> Iterator[str]:
        """Yield the name of each partner."""
        yield from self.maker_names()
        yield from (partner.name for partner in self.data_centres)

    def maker_names(self) -> Iterator[str]:
        """Yield the name of each partner that may make markets."""
        yield from (partner.name for partner in self.market_makers)
        yield from (partner.name for partner in self.peered)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig(Checked):
    """Records of who did what."""

    lock_mode: Literal["COMPLIANCE", "GOVERNANCE"]
    """COMPLIANCE: nobody, not even the root user, deletes a record before its time."""
    retention_days: Annotated[int, between(1, 36_500)]
    standards: tuple[
        Literal["aws-foundational-security-best-practices", "cis-aws-foundations-benchmark", "pci-dss"], ...
    ]
    """Security Hub standards that the accounts are held against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig(Checked):
    """Copies beside the stores' own point-in-time recovery."""

    daily_kept_days: Annotated[int, between(7, 3650)]
    monthly_kept_days: Annotated[int, between(90, 3650)]
    locked: bool
    """After three days of grace nobody can shorten or remove the lock of a vault, AWS included."""
    copy_abroad: bool
    """Copy to the web region. Personal data leaves Indonesia: assess PDP law Art. 56 first."""
    restore_test_days: Literal[7, 30]
    """A restore is rehearsed this often, and what was restored is removed again."""
