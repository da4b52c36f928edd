"""A public name during a cut-over: it leads here, to the predecessor, or by weight to both."""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_route53 as route53
from constructs import Construct

from config.migration import WEIGHT_WHOLE, CutOverConfig
from exchange_constructs.switch import Switch

TTL: Final = Duration.seconds(60)
"""As of the alias records beside it: so long a way back takes."""
NOBODY: Final = "192.0.2.1"
"""Of the block that RFC 5737 keeps for documents: stands in the template while there is no predecessor."""


class CutOverName(Construct):
    """Weighted records of one name, from the first deployment on: Route 53 does not mix them with plain ones.

    While a predecessor has a part of the answers there is no IPv6 record: a single weighted record is always the
    answer, whatever its weight, and clients prefer IPv6.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cut_over: CutOverConfig,
        zone: route53.IHostedZone,
        name: str,
        target: route53.RecordTarget,
        has_ipv6: bool,
    ) -> None:
        """Create the records of `name`."""
        super().__init__(scope, construct_id)
        route53.ARecord(
            self,
            "Ours",
            zone=zone,
            record_name=name,
            target=target,
            weight=cut_over.weight,
            set_identifier="bursa",
        )
        theirs = route53.ARecord(
            self,
            "Theirs",
            zone=zone,
            record_name=name,
            target=route53.RecordTarget.from_ip_addresses(*(cut_over.predecessor or (NOBODY,))),
            weight=WEIGHT_WHOLE - cut_over.weight,
            set_identifier="predecessor",
            ttl=TTL,
        )
        Switch(self, "HasPredecessor", on=bool(cut_over.predecessor)).governs(theirs)
        if has_ipv6:
            newer = route53.AaaaRecord(self, "OursV6", zone=zone, record_name=name, target=target)
            Switch(self, "IsAlone", on=not cut_over.predecessor).governs(newer)
