"""Where the trading screen is served from: Amplify, outside Indonesia, so it holds files that anyone may read."""

from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_amplify as amplify
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.private_bucket import PrivateBucket

BRANCH: Final = "live"
REFUSING: Final = {
    "content-security-policy": "default-src 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What Amplify itself says of each file: a page runs nothing there. CloudFront puts its own in the place of each."""


class TradingScreen(Construct):
    """An Amplify app without a repository: `scripts.publish_site` puts a build into the bucket and starts it there.

    The bucket keeps old builds, so that going back is publishing an earlier version. Amplify's own name is open to the
    world, past the web firewall: files are fetched there, which anyone may have, but no page works there.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the app, its one branch and the bucket that Amplify alone may read."""
        super().__init__(scope, construct_id)
        self.bundles = PrivateBucket(
            self,
            "Bundles",
            config=config,
            key=key,
            access_logs=None,
            why_single="Bundles of the trading screen: a publication makes them again from the repository",
        )
        self.app = amplify.CfnApp(
            self,
            "App",
            name=f"bursa-{config.name}",
            description=f"{config.name}: trading screen, static files only",
            platform="WEB",
            custom_headers=_custom_headers(),
        )
        branch = amplify.CfnBranch(
            self,
            "Branch",
            app_id=self.app.attr_app_id,
            branch_name=BRANCH,
            stage="PRODUCTION",
            enable_auto_build=False,
            enable_pull_request_preview=False,
        )
        self.bundles.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:ListBucket"],
                resources=[self.bundles.bucket_arn, self.bundles.arn_for_objects("*")],
                principals=[iam.ServicePrincipal("amplify.amazonaws.com")],
                conditions={
                    "StringEquals": {
                        "aws:SourceAccount": Stack.of(self).account,
                        "aws:SourceArn": branch.attr_arn,
                    }
                },
            )
        )

    @property
    def host(self) -> str:
        """Name under which Amplify serves the branch."""
        return f"{BRANCH}.{self.app.attr_default_domain}"


def _custom_headers() -> str:
    """Return REFUSING for every path, as Amplify wants it, in YAML."""
    headers = "".join(f'      - key: "{key}"\n        value: "{value}"\n' for key, value in REFUSING.items())
    return f'customHeaders:\n  - pattern: "**/*"\n    headers:\n{headers}'
