"""Lambda: the dry run of an import."""

import os
import time
from functools import cache
from typing import Annotated, Any, Final

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field

from runtime.migration.register import Runs
from runtime.shared.catalogue import Catalogue
from runtime.shared.functions import logger, tracer
from runtime.shared.hand_over import reconcile
from runtime.shared.settings import read_catalogue_parameter

FILE_BYTES_MAX: Final = 256 * 1024 * 1024
"""What one function reads; a larger file is refused before it is read."""
_NONE: Final = frozenset({"NoSuchKey", "404", "AccessDenied"})


class FileTooLargeError(ValueError):
    """A file of the folder is larger than a run reads."""


class RunAsked(BaseModel):
    """A folder of the landing bucket to be checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]
    folder: Annotated[str, Field(pattern=r"^incoming/[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$")]


@tracer.capture_lambda_handler(capture_response=False)
def dry_run(asked: dict[str, Any], _context: LambdaContext) -> dict[str, str]:
    """Check a folder, write the report of differences beside it; post nothing."""
    run = RunAsked.model_validate(asked)
    _runs().begin(run.run_id, run.folder, int(time.time()))
    bucket = boto3.resource("s3").Bucket(os.environ["LANDING_BUCKET"])
    found = reconcile(lambda name: _read(bucket, f"{run.folder}/{name}"), _catalogue())
    key = f"reports/{run.run_id}.json"
    bucket.put_object(Key=key, Body=found.to_json(), ContentType="application/json", ChecksumAlgorithm="SHA256")
    _runs().end(run.run_id, found, key)
    logger.info("checked", run_id=run.run_id, is_zero=found.is_zero, differences=len(found.differences))
    return {"outcome": "zero" if found.is_zero else "differs", "report": key}


def _read(bucket: Any, key: str) -> bytes | None:  # noqa: ANN401 - boto3's
    try:
        answer = bucket.Object(key).get()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NONE:
            raise
        return None
    if answer["ContentLength"] > FILE_BYTES_MAX:
        raise FileTooLargeError(f"{key} has {answer['ContentLength']} bytes, at most {FILE_BYTES_MAX} are read")
    content: bytes = answer["Body"].read()
    return content


@cache
def _catalogue() -> Catalogue:
    return read_catalogue_parameter(os.environ["CATALOGUE_PARAMETER"])


@cache
def _runs() -> Runs:
    return Runs(os.environ["RUN_TABLE"])
