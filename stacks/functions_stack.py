"""What the Lambda functions of all other stacks stand on."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.private_network import PrivateNetwork
from stacks.base_stack import ExchangeStack


class FunctionsStack(ExchangeStack):
    """Deployed before every stack that has a function."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        business_events: BusinessEvents,
    ) -> None:
        """Create the platform."""
        super().__init__(scope, construct_id, config=config, description="Libraries, network access of functions")
        self.platform = FunctionPlatform(
            self, "Platform", config=config, keys=keys, network=network, last_letters=business_events.last_letters
        )
