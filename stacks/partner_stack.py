"""Private ways in for partners."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.partner_access import PeeredPartners
from exchange_constructs.private_network import PrivateNetwork
from stacks.base_stack import ExchangeStack
from stacks.gateway_stack import GatewayStack


class PartnerStack(ExchangeStack):
    """Who comes in is a list in the configuration; an empty list is a closed door."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        network: PrivateNetwork,
        gateway: GatewayStack,
    ) -> None:
        """Create the peerings."""
        super().__init__(scope, construct_id, config=config, description="Peered networks of partners")
        PeeredPartners(self, "Peered", config=config, network=network, front=gateway.partner_front)
