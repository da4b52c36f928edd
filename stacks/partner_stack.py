"""Private ways in for partners."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.data_centre_links import DataCentreLinks
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.partner_access import PeeredPartners
from exchange_constructs.partner_dmz import PartnerDmz
from exchange_constructs.private_network import PrivateNetwork
from stacks.base_stack import ExchangeStack
from stacks.gateway_stack import GatewayStack


class PartnerStack(ExchangeStack):
    """Who comes in is a list in the configuration. An empty list is a closed door: no peering, DMZ, line or VPN.

    The door itself is there in any case, and costs: the partners' balancer with its certificate and endpoint service,
    and the FIX service unless it is turned off, all in the stack Gateway.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        gateway: GatewayStack,
    ) -> None:
        """Create the peerings; then, for data centres, the DMZ and what joins them to it."""
        super().__init__(scope, construct_id, config=config, description="Partners: peerings, DMZ, lines and VPNs")
        PeeredPartners(self, "Peered", config=config, network=network, front=gateway.partner_front)
        if config.partners.data_centres:
            dmz = PartnerDmz(self, "Dmz", config=config, front=gateway.partner_front, logs_key=keys.logs)
            DataCentreLinks(self, "Links", config=config, dmz=dmz, logs_key=keys.logs)
