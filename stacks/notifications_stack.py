"""How customers hear of what happened to their account."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.private_topic import PrivateTopic
from runtime.notifications.notices import TOLD
from stacks.base_stack import ExchangeStack


class NotificationsStack(ExchangeStack):
    """A topic of notices, and the function that writes one for each event that concerns a customer."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        business_events: BusinessEvents,
    ) -> None:
        """Create topic and function."""
        super().__init__(scope, construct_id, config=config, description="Notices to customers")
        keys = platform.keys
        self.notices = PrivateTopic(self, "Notices", key=keys.messages)
        self.notifier = EventFunction(
            self,
            "Notifier",
            config=config,
            platform=platform,
            service="notifications",
            description="Writes a notice for each event that concerns a customer",
            environment={"NOTICE_TOPIC_ARN": self.notices.topic_arn},
            idempotent=True,
        )
        self.notices.grant_send(self.notifier.role)
        self.notifier.on_event("Told", bus=business_events.bus, pattern=BusinessEvents.pattern(*TOLD))
