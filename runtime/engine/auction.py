"""The price at which a call auction matches, from the two sides of a crossed book. Pure.

In this order: the price at which most lots match; of several, the one that leaves the smallest surplus; of several,
the highest if every one of them leaves a surplus of bids, the lowest if every one leaves a surplus of asks; else the
one nearest to the reference price, and of two as near the lower. Only prices that an order names are considered.
"""

from bisect import bisect_left, bisect_right
from itertools import accumulate


def equilibrium(bids: list[tuple[int, int]], asks: list[tuple[int, int]], reference: int) -> tuple[int, int]:
    """Return (price, lots that match there), (0, 0) when the book does not cross.

    Both sides are (price, lots), best first. `reference` is 0 when there is none; the lowest price wins then.
    """
    if not bids or not asks or bids[0][0] < asks[0][0]:
        return 0, 0
    high, low = bids[0][0], asks[0][0]
    bid_keys = [-price for price, _ in bids]
    ask_keys = [price for price, _ in asks]
    bid_sums = [0, *accumulate(lots for _, lots in bids)]
    ask_sums = [0, *accumulate(lots for _, lots in asks)]
    prices = sorted({price for price, _ in (*bids, *asks) if low <= price <= high})
    most = 0
    best: list[tuple[int, int]] = []  # (price, bids less asks) of those that match most with the least surplus
    for price in prices:
        demand = bid_sums[bisect_right(bid_keys, -price)]
        supply = ask_sums[bisect_right(ask_keys, price)]
        matched, surplus = min(demand, supply), demand - supply
        if matched > most or (matched == most and abs(surplus) < abs(best[0][1])):
            most, best = matched, [(price, surplus)]
        elif matched == most and abs(surplus) == abs(best[0][1]):
            best.append((price, surplus))
    if all(surplus > 0 for _, surplus in best):
        return best[-1][0], most
    if all(surplus < 0 for _, surplus in best):
        return best[0][0], most
    candidates = [price for price, _ in best]
    after = bisect_left(candidates, reference)
    near = candidates[max(0, after - 1) : after + 1]
    return min(near, key=lambda price: (abs(price - reference), price)), most
