"""The customer keys of one environment, split by who may use them and what a lost key would cost."""

from aws_cdk import RemovalPolicy, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment


class AccountKeys(Construct):
    """The keys of one account, rotated yearly: stored data, logs, and messages between services."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the keys; a key that is ever deleted takes its data with it, so deletion always waits 30 days."""
        super().__init__(scope, construct_id)
        self._config = config
        stack = Stack.of(self)
        self.data = self._key("Data", "database, tables, streams, buckets, disks, journal")
        self.logs = self._key("Logs", "log groups")
        self.messages = self._key("Messages", "event bus, queues, topics")

        logs_arn = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:*"
        self.logs.add_to_resource_policy(
            _use(
                iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
                {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs_arn}},
            )
        )
        services = ("events.amazonaws.com", "cloudwatch.amazonaws.com", "sns.amazonaws.com", "vpce.amazonaws.com")
        for service in services:
            self.messages.add_to_resource_policy(
                _use(iam.ServicePrincipal(service), {"StringEquals": {"aws:SourceAccount": stack.account}})
            )
        # Auto Scaling starts instances with disks under the data key and tells operators by an encrypted topic. Its
        # service-linked role may not exist yet in a new account, and a policy that names a missing role is refused:
        # so the role stands in a condition.
        role = (
            f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role/autoscaling.amazonaws.com/"
            "AWSServiceRoleForAutoScaling"
        )
        as_auto_scaling = {"StringEquals": {"aws:PrincipalArn": role, "kms:CallerAccount": stack.account}}
        for used in (self.data, self.messages):
            used.add_to_resource_policy(_use(iam.AnyPrincipal(), as_auto_scaling))
        self.data.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:CreateGrant"],
                resources=["*"],
                principals=[iam.AnyPrincipal()],
                conditions={**as_auto_scaling, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            )
        )

    def _key(self, name: str, description: str) -> kms.Key:
        return kms.Key(
            self,
            name,
            description=f"{self._config.name}: {description}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if self._config.retained else RemovalPolicy.DESTROY,
        )


class EncryptionKeys(AccountKeys):
    """Those of the core account, with three more: secrets of API keys, records of what was done, their copies."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the keys."""
        super().__init__(scope, construct_id, config=config)
        self.api_secrets = self._key("ApiSecrets", "secrets of customers' API keys")
        self.records = self._key("Records", "trades with their accounts, evidence, reports, copies of the ledger")
        self.copies = self._key("Copies", "copies of records: whoever loses the key of a store still has them")
        stack = Stack.of(self)
        # Fargate keeps the disks of tasks under the data key: it may make keys for them, and read them by a grant.
        for action, bound in (
            ("kms:GenerateDataKeyWithoutPlaintext", {}),
            ("kms:CreateGrant", {"ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}}),
        ):
            self.data.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=[action],
                    resources=["*"],
                    principals=[iam.ServicePrincipal("fargate.amazonaws.com")],
                    conditions={
                        "StringEquals": {"kms:EncryptionContext:aws:ecs:clusterAccount": stack.account},
                        **bound,
                    },
                )
            )
        # EventBridge keeps the keys that partners gave us under a key that bears this tag, and no other.
        Tags.of(self.data).add("EventBridgeApiDestinations", "true")
        # The bus seals what it logs of an event, and log delivery opens it; both name the logs of this account.
        for service in ("events.amazonaws.com", "delivery.logs.amazonaws.com"):
            self.messages.add_to_resource_policy(
                _use(
                    iam.ServicePrincipal(service),
                    {
                        "StringLike": {
                            "kms:EncryptionContext:SourceArn": (
                                f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:*"
                            )
                        }
                    },
                )
            )


class AuditKeys(Construct):
    """The key of the audit records of every account of one environment."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Let the trails, recorders and networks of our accounts write with it; they know it by its alias."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        accounts = list(config.accounts.distinct().values())
        self.audit = kms.Key(
            self,
            "Audit",
            alias=audit_alias(config),
            description=f"{config.name}: records of who did what",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        trails = [f"arn:{stack.partition}:cloudtrail:*:{account}:trail/*" for account in accounts]
        self.audit.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:DescribeKey", "kms:GenerateDataKey*"],
                resources=["*"],
                principals=[iam.ServicePrincipal("cloudtrail.amazonaws.com")],
                conditions={
                    "StringEquals": {"aws:SourceAccount": accounts},
                    "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails},
                },
            )
        )
        self.audit.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                principals=[iam.ServicePrincipal("config.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": accounts}},
            )
        )
        self.audit.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                principals=[iam.ServicePrincipal("delivery.logs.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": accounts}},
            )
        )
        for account, roles in log_copiers(config).items():
            self.audit.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["kms:Encrypt", "kms:GenerateDataKey"],
                    resources=["*"],
                    principals=[iam.AccountPrincipal(account)],
                    conditions={"ArnEquals": {"aws:PrincipalArn": roles}},
                )
            )


def log_copier_name(config: Environment, part: str) -> str:
    """Return the name of the role by which S3 copies logs of `part` of the exchange into the archive."""
    return f"bursa-{config.name}-log-copies-{part}"


def log_copiers(config: Environment) -> dict[str, list[str]]:
    """Return the account → ARNs of the roles that copy logs into the archive: it is made before they are."""
    found: dict[str, list[str]] = {}
    for part, account in (
        ("core", config.account),
        ("edge", config.account),
        ("nodes", config.accounts.nodes),
        ("configuration", config.accounts.audit),
    ):
        found.setdefault(str(account), []).append(f"arn:aws:iam::{account}:role/{log_copier_name(config, part)}")
    return found


def audit_alias(config: Environment) -> str:
    """Return the name by which other accounts know the key of audit records."""
    return f"alias/bursa-{config.name}-audit"


def audit_alias_arn(config: Environment) -> str:
    """Return that name as services want it that write from another account or region."""
    return f"arn:aws:kms:{config.region}:{config.accounts.audit}:{audit_alias(config)}"


class BaselineKeys(Construct):
    """The key of one account's own security records: log of its trail, queue of its findings."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Let logs, rules and alarms of this account use it."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.security = kms.Key(
            self,
            "Security",
            description=f"{config.name}: security records of this account",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self.security.add_to_resource_policy(
            _use(
                iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
                {
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": (
                            f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:*"
                        )
                    }
                },
            )
        )
        for service in ("events.amazonaws.com", "cloudwatch.amazonaws.com"):
            self.security.add_to_resource_policy(
                _use(iam.ServicePrincipal(service), {"StringEquals": {"aws:SourceAccount": stack.account}})
            )


class BackupKeys(Construct):
    """The key of the vault: whoever loses the key of a store still has its copies."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create it; AWS Backup uses it through grants of its own."""
        super().__init__(scope, construct_id)
        self.vault = kms.Key(
            self,
            "Vault",
            description=f"{config.name}: backups",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )


class EdgeStoreKeys(Construct):
    """The key of what the edge keeps in Jakarta: a copy of the site and the logs of clients' requests."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Let CloudFront read the site with it and the log service write logs, both on behalf of this account only."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.edge = kms.Key(
            self,
            "Edge",
            description=f"{config.name}: copy of the site, logs of the edge",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        # The distribution is made later and in another region, so its account stands in the condition.
        distributions = f"arn:{stack.partition}:cloudfront::{stack.account}:distribution/*"
        self.edge.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt"],
                resources=["*"],
                principals=[iam.ServicePrincipal("cloudfront.amazonaws.com")],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": distributions},
                },
            )
        )
        self.edge.add_to_resource_policy(
            _use(
                iam.ServicePrincipal("delivery.logs.amazonaws.com"),
                {"StringEquals": {"aws:SourceAccount": stack.account}},
            )
        )


class WebKeys(Construct):
    """The key of the web region, which holds the built site and nothing else."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Let Amplify read bundles with it, on behalf of this account only."""
        super().__init__(scope, construct_id)
        self.bundle = kms.Key(
            self,
            "Bundle",
            description=f"{config.name}: bundles of the trading screen",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self.bundle.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt"],
                resources=["*"],
                principals=[iam.ServicePrincipal("amplify.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )


class EdgeKeys(Construct):
    """The keys of the edge region: messages to operators, and the key that signs the zone."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create both. Route 53 signs only with a key in us-east-1, on the curve P-256, which cannot be rotated."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        removal_policy = RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY
        self.messages = kms.Key(
            self,
            "Messages",
            description=f"{config.name}: messages of the edge to operators",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        for service in (
            "budgets.amazonaws.com",
            "cloudwatch.amazonaws.com",
            "events.amazonaws.com",
            "sns.amazonaws.com",
        ):
            self.messages.add_to_resource_policy(
                _use(iam.ServicePrincipal(service), {"StringEquals": {"aws:SourceAccount": stack.account}})
            )
        self.zone = kms.Key(
            self,
            "Zone",
            description=f"{config.name}: signs the DNS zone",
            key_spec=kms.KeySpec.ECC_NIST_P256,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=removal_policy,
        )
        signing = iam.ServicePrincipal("dnssec-route53.amazonaws.com")
        self.zone.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"],
                resources=["*"],
                principals=[signing],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:route53:::hostedzone/{config.hosted_zone_id}"},
                },
            )
        )
        self.zone.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:CreateGrant"],
                resources=["*"],
                principals=[signing],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "Bool": {"kms:GrantIsForAWSResource": "true"},
                },
            )
        )


def _use(principal: iam.IPrincipal, conditions: dict[str, dict[str, str]]) -> iam.PolicyStatement:
    """Let `principal` encrypt and decrypt under `conditions`. In a key policy, * is the key itself."""
    return iam.PolicyStatement(
        actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        resources=["*"],
        principals=[principal],
        conditions=conditions,
    )
