"""The edge: CloudFront with its certificate and firewall, names, and what watches them; all of it global."""

from aws_cdk import Environment as Target
from aws_cdk import aws_route53 as route53
from constructs import Construct

from config.model import Environment
from exchange_constructs.edge_watch import EdgeWatch
from exchange_constructs.encryption_keys import EdgeKeys
from exchange_constructs.front_door import FrontDoor
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.shield import FloodProtection
from exchange_constructs.switch import Switch
from exchange_constructs.web_firewall import WebFirewall
from exchange_constructs.zone_signing import ZoneSigning
from stacks.base_stack import ExchangeStack
from stacks.edge_store_stack import EdgeStoreStack
from stacks.gateway_stack import GatewayStack
from stacks.web_stack import WebStack


class EdgeStack(ExchangeStack):
    """Lives in us-east-1, where CloudFront looks for what belongs to it; holds no customer data."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        web: WebStack,
        store: EdgeStoreStack,
        gateway: GatewayStack,
    ) -> None:
        """Create the front door between clients, the site and the REST gateway."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="CloudFront, web firewall, names, health checks, budget",
            env=Target(account=config.account, region=config.edge_region),
        )
        zone = route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=config.hosted_zone_id, zone_name=config.domain
        )
        keys = EdgeKeys(self, "Keys", config=config)
        firewall = WebFirewall(
            self,
            "Firewall",
            config=config,
            name="Edge",
            requests_per_address=config.edge.requests_per_address,
            logs=store.logs.bucket,
            kind="CLOUDFRONT",
        )
        self.front_door = FrontDoor(
            self,
            "FrontDoor",
            config=config,
            zone=zone,
            firewall=firewall.acl,
            site_host=web.screen.host,
            site_copy=store.site_copy.bucket,
            rest=gateway.rest_front.balancer,
            access_logs=store.logs.bucket,
        )
        self.topics = OperatorTopics(self, "Operators", config=config, key=keys.messages)
        EdgeWatch(self, "Watch", config=config, tickets=self.topics.tickets)
        signing = ZoneSigning(self, "ZoneSigning", config=config, key=keys.zone)
        Switch(self, "SignsTheZone", on=config.edge.dnssec).governs(signing)
        protection = FloodProtection(
            self,
            "FloodProtection",
            distribution=self.front_door.distribution,
            zone=zone,
            addresses=gateway.stream_front.addresses,
            addresses_region=config.region,
        )
        Switch(self, "HasShieldAdvanced", on=config.edge.shield_advanced).governs(protection)
