"""What AWS Config writes down about our resources, on its way into the locked archive."""

from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import AuditArchive, let_service_add
from exchange_constructs.log_copies import LogCopies
from exchange_constructs.private_bucket import PrivateBucket


def configuration_bucket_name(config: Environment) -> str:
    """Return the name by which recorders of other accounts and regions know the bucket."""
    return f"bursa-{config.name}-configuration-{config.accounts.audit}"


class ConfigurationHistory(Construct):
    """A bucket for the recorders of every account and region, beside the archive that S3 copies it into.

    AWS Config delivers to no bucket that locks by default, as the archive does; so it does not deliver there itself.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, archive: AuditArchive
    ) -> None:
        """Create the bucket under `key`, which must let AWS Config use it, and let our recorders alone add to it."""
        super().__init__(scope, construct_id)
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=key,
            access_logs=None,
            name=configuration_bucket_name(config),
            kept_days=config.log_retention_days,
            why_single=None,
        )
        let_service_add(self.bucket, "config.amazonaws.com", config=config, folder="Config/")
        self.bucket.node.add_dependency(archive.bucket)  # which the copies name
        LogCopies(self, "Copies", config=config, part="configuration", bucket=self.bucket, key=key)
