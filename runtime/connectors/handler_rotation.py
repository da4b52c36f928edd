"""Lambda: Secrets Manager changes the secret that a partner signs its webhooks with.

The new one is current at once, and the one before stays accepted until the next change, so a partner has the whole
time between two changes to take it over. The partner's own API key, which only the partner can change, is kept.
"""

import json
import secrets
from typing import Any, Final

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.shared.functions import logger, tracer

SECRET_BYTES: Final = 32


@tracer.capture_lambda_handler(capture_response=False)
def rotate(request: dict[str, str], _context: LambdaContext) -> None:
    """Carry out one of the four steps of a rotation; each may be repeated."""
    store: Any = boto3.client("secretsmanager")
    secret, version = request["SecretId"], request["ClientRequestToken"]
    match request["Step"]:
        case "createSecret":
            current = json.loads(store.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"])
            try:
                store.get_secret_value(SecretId=secret, VersionId=version)
            except store.exceptions.ResourceNotFoundException:
                store.put_secret_value(
                    SecretId=secret,
                    ClientRequestToken=version,
                    SecretString=json.dumps(current | {"webhook_secret": secrets.token_hex(SECRET_BYTES)}),
                    VersionStages=["AWSPENDING"],
                )
        case "setSecret" | "testSecret":
            pass  # the partner comes and takes it
        case "finishSecret":
            stages = store.describe_secret(SecretId=secret)["VersionIdsToStages"]
            (current_version,) = [one for one, names in stages.items() if "AWSCURRENT" in names]
            if current_version != version:
                store.update_secret_version_stage(
                    SecretId=secret,
                    VersionStage="AWSCURRENT",
                    MoveToVersionId=version,
                    RemoveFromVersionId=current_version,
                )
        case step:
            raise ValueError(f"a rotation has no step {step!r}")
    logger.info("rotation", step=request["Step"])
