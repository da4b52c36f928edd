"""The security baseline of a region beside the home one, to which it reports."""

from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment
from exchange_constructs.detectors import Detectors
from exchange_constructs.forwarded_events import ForwardedEvents
from stacks.audit_stack import AuditStack
from stacks.base_stack import ExchangeStack
from stacks.edge_stack import EdgeStack
from stacks.web_stack import WebStack


class LinkedRegionStack(ExchangeStack):
    """One for each region where site and edge have resources of ours; no host, image or function is among them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        audit: AuditStack,
        beside: WebStack | EdgeStack,
    ) -> None:
        """Create the detectors of the account and region of `beside`, and send home what they find."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Detectors and recorder of a region beside the home one",
            env=Target(account=beside.account, region=beside.region),
        )
        Detectors(self, "Detectors", config=config)
        ForwardedEvents(self, "Forwarded", config=config, undelivered=beside.topics.undelivered)
        self.add_dependency(audit, "what the recorder writes goes to its bucket")
