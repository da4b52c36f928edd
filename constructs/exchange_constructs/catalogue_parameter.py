"""Assets, markets and tiers as every process reads them: one parameter, checked before it is written."""

from typing import Final

from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from runtime.shared.catalogue import Catalogue

STANDARD_BYTES_MAX: Final = 4096


class CatalogueParameter(Construct):
    """The catalogue as JSON. It is public knowledge; processes read it when they start."""

    def __init__(self, scope: Construct, construct_id: str, *, catalogue: Catalogue) -> None:
        """Write `catalogue`, into the advanced tier, which costs money, only where the standard one is too small."""
        super().__init__(scope, construct_id)
        text = catalogue.to_json()
        fits = len(text.encode()) <= STANDARD_BYTES_MAX
        self._parameter = ssm.StringParameter(
            self,
            "Parameter",
            description="Assets, markets and tiers of the exchange",
            string_value=text,
            tier=ssm.ParameterTier.STANDARD if fits else ssm.ParameterTier.ADVANCED,
        )

    @property
    def name(self) -> str:
        """Name of the parameter."""
        return self._parameter.parameter_name

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read the catalogue."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["ssm:GetParameter"], resource_arns=[self._parameter.parameter_arn]
        )

    def grant_write(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` put another catalogue in its place; a deployment that changes it puts its own again."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["ssm:PutParameter"], resource_arns=[self._parameter.parameter_arn]
        )
