"""One holder at a time, whatever the clocks say and whichever answers are lost."""

from __future__ import annotations

import random
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from runtime.engine.lease import (
    EXPIRY_S,
    KEY,
    DynamoLeaseStore,
    Held,
    Lease,
    LeaseLostError,
    LeaseStore,
    LeaseStoreError,
    MemoryLeaseStore,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Iterator[LeaseStore]:
    if request.param == "memory":
        yield MemoryLeaseStore()
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="ap-southeast-3")
        client.create_table(
            TableName="leases",
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoLeaseStore("leases", "main", client)


def test_the_first_takes_it_and_the_second_waits_until_the_counter_stands_still(store: LeaseStore) -> None:
    clock = Clock()
    first, second = Lease(store, "first", clock=clock), Lease(store, "second", clock=clock)
    assert first.try_acquire()
    assert first.epoch == 1
    assert not second.try_acquire()
    for _ in range(10):
        clock.now += EXPIRY_S * 0.9
        first.renew()
        assert first.is_valid
        assert not second.try_acquire()
    clock.now += EXPIRY_S * 0.9
    assert not second.try_acquire()
    clock.now += EXPIRY_S * 0.2
    assert not first.is_valid
    assert second.try_acquire()
    assert (second.epoch, second.is_valid) == (2, True)
    with pytest.raises(LeaseLostError, match="second"):
        first.renew()
    assert not first.is_valid


def test_a_released_lease_is_free_at_once_and_the_epoch_goes_on(store: LeaseStore) -> None:
    clock = Clock()
    first, second = Lease(store, "first", clock=clock), Lease(store, "second", clock=clock)
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert not first.is_valid
    assert second.try_acquire()
    assert second.epoch == 2
    first.release()  # of no effect any more
    second.renew()
    assert store.read() == Held("second", 2, 1)


def test_a_lease_that_stood_still_and_was_not_taken_can_be_renewed(store: LeaseStore) -> None:
    clock = Clock()
    lease = Lease(store, "first", clock=clock)
    assert lease.try_acquire()
    clock.now += 10 * EXPIRY_S
    assert not lease.is_valid
    lease.renew()
    assert lease.is_valid


class Forgetful(MemoryLeaseStore):
    """Loses answers: the write takes effect and the caller is told that nothing is known."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw = random.Random(seed)

    def swap(self, expected: Held | None, new: Held) -> bool:
        lost = self.draw.random()
        if lost < 0.2:
            raise LeaseStoreError("the request was lost")
        done = super().swap(expected, new)
        if lost < 0.4:
            raise LeaseStoreError("the answer was lost")
        return done


@pytest.mark.parametrize("seed", range(200))
def test_never_two_valid_holders_with_clocks_that_jump_into_view_and_lost_answers(seed: int) -> None:
    draw = random.Random(seed)
    store = Forgetful(seed)
    start = [draw.uniform(0, 10**6) for _ in range(3)]
    now = 0.0
    leases = [
        Lease(store, f"m{n}", clock=lambda n=n: start[n] + now)  # type: ignore[misc]
        for n in range(3)
    ]
    held_by: list[int] = []
    for _ in range(400):
        now += draw.choice((0.01, 0.2, 0.5, EXPIRY_S / 2, EXPIRY_S * 1.2))
        n = draw.randrange(3)
        lease = leases[n]
        try:
            if lease.epoch and draw.random() < 0.05:
                lease.release()
            elif lease.epoch:
                lease.renew()
            elif lease.try_acquire():
                held_by.append(n)
        except LeaseStoreError:
            pass
        except LeaseLostError:
            leases[n] = Lease(store, f"{lease.owner}'", clock=lease._clock)
        assert sum(each.is_valid for each in leases) <= 1
    assert len(set(held_by)) > 1
