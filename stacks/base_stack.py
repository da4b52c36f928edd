"""What every stack of the exchange is."""

from typing import Final

from aws_cdk import DefaultStackSynthesizer, Stack
from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment

ZONES: Final = "abc"


class ExchangeStack(Stack):
    """A stack that knows the zones of its region, so that synth asks nobody, and that guards what is retained."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        description: str,
        env: Target | None = None,
        deployed_by: str | None = None,
    ) -> None:
        """Create an empty stack in `env`, or in the environment's own account and region, taken from the Stage.

        CloudFormation acts as the role with the ARN `deployed_by`, or as the one that bootstrapping made.
        """
        super().__init__(
            scope,
            construct_id,
            description=description,
            termination_protection=config.retained,
            env=env,
            synthesizer=DefaultStackSynthesizer(cloud_formation_execution_role=str(deployed_by))
            if deployed_by
            else None,
        )

    @property
    def availability_zones(self) -> list[str]:
        """Zones of the region, without a look-up."""
        return [f"{self.region}{zone}" for zone in ZONES]
