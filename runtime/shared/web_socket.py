"""Opens WebSockets to others with picows, and tells of each way to fail in one way."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from picows import WSError, WSListener, ws_connect

L = TypeVar("L", bound=WSListener)


async def connect(listener: Callable[[], L], url: str, **options: Any) -> L:  # noqa: ANN401 - as picows has them
    """Return the listener of an open connection to `url`. Raises ConnectionError, which names it and says why not."""
    try:
        _, found = await ws_connect(listener, url, enable_auto_ping=True, **options)
    except (OSError, WSError, TimeoutError) as error:
        raise ConnectionError(f"{url}: {error or type(error).__name__}") from error
    if found is None:  # picows takes an end before any answer for no error
        raise ConnectionError(f"{url}: hung up before it answered")
    return cast(L, found)
