"""The collector of the engine: what is young is looked at once, what is old never again."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from runtime.shared.garbage import look, look_at_the_young
from runtime.shared.tasks import end


class Node:
    """Holds itself."""

    def __init__(self) -> None:
        self.me: Node | None = self


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def test_a_young_cycle_is_freed_and_an_old_object_is_not_looked_at_again() -> None:
    old, young = Node(), Node()
    gone = weakref.ref(young)
    del young
    look()
    assert gone() is None
    assert not any(each is old for each in gc.get_objects())
    forgotten = weakref.ref(old)
    del old
    look()
    assert forgotten() is not None, "a full look costs what there is to be saved"


def test_what_is_no_cycle_is_freed_at_once_even_when_it_is_old() -> None:
    old = Node()
    look()
    gone = weakref.ref(old)
    old.me = None
    del old
    assert gone() is None


def test_nothing_but_the_looks_collects() -> None:
    async def scenario() -> bool:
        looking = asyncio.create_task(look_at_the_young())
        await asyncio.sleep(0)
        is_enabled = gc.isenabled()
        await end(looking)
        return is_enabled

    gc.enable()
    assert not asyncio.run(scenario())
