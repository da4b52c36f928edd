"""The container image of all services: the only module that knows where `runtime/` lies."""

from datetime import date
from pathlib import Path
from typing import Final

from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole

ROOT: Final = Path(__file__).resolve().parent.parent.parent


class RuntimeImage(ecr_assets.DockerImageAsset):
    """One image, many commands. Built when a deployment publishes it, never at synth; `.dockerignore` bounds it."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        """Describe the image, for Graviton."""
        super().__init__(
            scope,
            construct_id,
            directory=str(ROOT),
            file="runtime/Dockerfile",
            platform=ecr_assets.Platform.LINUX_ARM64,
            asset_name="bursa-runtime",
        )

    def grant_pull(self, role: ServiceRole) -> None:
        """Let `role` pull this image."""
        self.repository.grant_pull(role)
        accept(
            role.policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="ecr:GetAuthorizationToken knows no resources; what may be pulled is bounded to one repository",
            expires=date(2027, 11, 30),
        )
