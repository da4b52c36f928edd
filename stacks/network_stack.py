"""The private network of one environment."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.private_network import PrivateNetwork
from stacks.base_stack import ExchangeStack


class NetworkStack(ExchangeStack):
    """Subnets, endpoints and flow logs."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, keys: EncryptionKeys) -> None:
        """Create the network."""
        super().__init__(scope, construct_id, config=config, description="Private network, endpoints, flow logs")
        self.network = PrivateNetwork(self, "Network", config=config, logs_key=keys.logs)
