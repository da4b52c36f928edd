"""Lambda: `bring_forward` applies the migrations that the database lacks. Nobody else opens it as its owner."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from psycopg import AsyncConnection

from runtime.ledger.migrate import migrate, read_migrations
from runtime.shared.functions import logger, tracer
from runtime.shared.settings import owner_conninfo


@tracer.capture_lambda_handler(capture_response=False)
def bring_forward(_event: Mapping[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Return the version reached. Raises MigrationError when files and database do not agree on history."""
    version = asyncio.run(_migrate())
    logger.info("migrated", version=version)
    return {"version": version}


async def _migrate() -> int:
    # Read each time: its password may have been rotated.
    owner = owner_conninfo(os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_SECRET_ARN"])
    async with await AsyncConnection.connect(owner, autocommit=True) as connection:
        return await migrate(connection, read_migrations())
