"""Where customers sign in: a second factor always, long passwords, leaked ones and odd sign-ins refused."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from config.model import Environment
from exchange_constructs.event_function import EventFunction

PASSWORD_LENGTH_MIN: Final = 14
ACCOUNT: Final = "account_id"
"""The customer's account in the engine; customers read it and only we write it."""


class CustomerPool(Construct):
    """A user pool and the one client of the trading page, which keeps no secret and never sends a password."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        sender: cognito.UserPoolEmail | None,
        on_credentials: EventFunction,
    ) -> None:
        """Create pool and client; `on_credentials` is called when a forgotten password was replaced.

        Without a `sender` Cognito mails in its own name, 50 times a day at most.
        """
        super().__init__(scope, construct_id)
        self.pool = cognito.UserPool(
            self,
            "Pool",
            self_sign_up_enabled=True,
            sign_in_aliases=cognito.SignInAliases(email=True),
            sign_in_case_sensitive=False,
            email=sender,
            auto_verify=cognito.AutoVerifiedAttrs(email=True),
            keep_original=cognito.KeepOriginalAttrs(email=True),
            mfa=cognito.Mfa.REQUIRED,
            # An app, not a text message: numbers are taken over too easily.
            mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            password_policy=cognito.PasswordPolicy(
                min_length=PASSWORD_LENGTH_MIN,
                require_digits=True,
                require_lowercase=True,
                require_uppercase=True,
                require_symbols=True,
                temp_password_validity=Duration.days(1),
                password_history_size=10,
            ),
            feature_plan=cognito.FeaturePlan.PLUS,
            standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
            custom_attributes={ACCOUNT: cognito.StringAttribute(mutable=True, min_len=1, max_len=20)},
            lambda_triggers=cognito.UserPoolTriggers(post_confirmation=on_credentials.function),
            deletion_protection=config.retained,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self.client = self.pool.add_client(
            "Page",
            auth_flows=cognito.AuthFlow(user_srp=True),
            generate_secret=False,
            prevent_user_existence_errors=True,
            disable_o_auth=True,
            enable_token_revocation=True,
            access_token_validity=Duration.minutes(15),
            id_token_validity=Duration.minutes(15),
            refresh_token_validity=Duration.hours(12),
            read_attributes=cognito.ClientAttributes()
            .with_standard_attributes(email=True, email_verified=True)
            .with_custom_attributes(ACCOUNT),
            write_attributes=cognito.ClientAttributes().with_standard_attributes(email=True),
        )
