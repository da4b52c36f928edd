"""Tasks that run for ever, and how they end."""

import asyncio


async def end(task: "asyncio.Task[object]", *forgiven: type[Exception]) -> None:
    """Cancel `task` and return once it has ended. Raises what it failed of, unless that is `forgiven`.

    A cancellation of the caller stays the caller's: to await `task` itself would take it for the end of `task`.
    """
    task.cancel()
    await asyncio.wait((task,))
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, forgiven):
        raise error
