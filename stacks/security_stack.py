"""The security baseline of one account."""

from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import BaselineKeys
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.security_baseline import SecurityBaseline
from stacks.audit_stack import AuditStack
from stacks.base_stack import ExchangeStack


class SecurityStack(ExchangeStack):
    """One for each account that an environment uses."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        account: str,
        audit: AuditStack,
        operators: OperatorTopics | None,
    ) -> None:
        """Create the baseline in `account`; its records go to `audit`, which is known by name, as it may be foreign.

        It tells `operators`, who must be of that account, or a pair of topics of its own.
        """
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Trail, detectors, recorder, findings",
            env=Target(account=account, region=config.region),
        )
        keys = BaselineKeys(self, "Keys", config=config)
        self.topics = operators or OperatorTopics(self, "Operators", config=config)
        self.baseline = SecurityBaseline(
            self, "Baseline", config=config, key=keys.security, operators=self.topics.pager
        )
        self.add_dependency(audit, "records go to its bucket")
