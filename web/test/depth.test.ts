import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, plain } from "../src/core/decimal.ts";
import { DepthBook, type DepthDifference, ladder, type Level, WAITING_MAX, type WireLevel } from "../src/core/depth.ts";

const snapshot = {
  lastUpdateId: 100,
  bids: [
    ["10.00", "1"],
    ["9.99", "2"],
  ],
  asks: [
    ["10.01", "3"],
    ["10.03", "4"],
  ],
} as const;

function difference(U: number, u: number, b: WireLevel[] = [], a: WireLevel[] = []): DepthDifference {
  return { U, u, b, a };
}

function shown(levels: readonly Level[]): string[] {
  return levels.map(({ price, quantity }) => `${plain(quantity)}@${plain(price)}`);
}

function loaded(): DepthBook {
  const book = new DepthBook();
  assert.ok(book.load(snapshot));
  return book;
}

test("levels are put in order, changed and removed", () => {
  const book = loaded();
  const changes: [WireLevel[], WireLevel[]] = [
    [
      ["9.995", "7"],
      ["10", "0"],
    ],
    [
      ["10.01", "5.5"],
      ["10.02", "1"],
      ["12", "0"],
    ],
  ];
  assert.equal(book.apply(difference(101, 105, ...changes)), "applied");
  assert.deepEqual(shown(book.bids), ["7@9.995", "2@9.99"]);
  assert.deepEqual(shown(book.asks), ["5.5@10.01", "1@10.02", "4@10.03"]);
  assert.equal(book.lastUpdateId, 105);
});

test("what the snapshot already holds is dropped, what straddles it is used", () => {
  const book = new DepthBook();
  assert.equal(book.apply(difference(90, 100, [["1", "1"]])), "waiting");
  assert.equal(book.apply(difference(99, 103, [["10", "9"]])), "waiting");
  assert.ok(book.load(snapshot));
  assert.deepEqual(shown(book.bids), ["9@10", "2@9.99"]);
  assert.equal(book.lastUpdateId, 103);
  assert.equal(book.apply(difference(100, 103, [["10", "1"]])), "old");
  assert.deepEqual(shown(book.bids), ["9@10", "2@9.99"]);
});

test("the first difference must cover the id after the snapshot's", () => {
  for (const [U, outcome] of [
    [100, "applied"],
    [101, "applied"],
    [102, "gap"],
  ] as const) {
    assert.equal(loaded().apply(difference(U, 110)), outcome, `U=${U}`);
  }
});

test("a later difference must start where the one before it ended", () => {
  for (const [U, outcome] of [
    [105, "gap"],
    [106, "applied"],
    [107, "gap"],
  ] as const) {
    const book = loaded();
    book.apply(difference(101, 105));
    assert.equal(book.apply(difference(U, 120)), outcome, `U=${U}`);
  }
});

test("after a gap the book is empty until a snapshot comes that what followed joins", () => {
  const book = loaded();
  assert.equal(book.apply(difference(103, 104, [["10", "8"]])), "gap");
  assert.ok(!book.synchronised);
  assert.deepEqual(shown(book.bids), []);
  assert.equal(book.apply(difference(105, 105, [["9.99", "0"]])), "waiting");
  assert.ok(!book.load(snapshot), "a snapshot from before the gap cannot be joined");
  assert.ok(!book.synchronised);
  assert.ok(book.load({ ...snapshot, lastUpdateId: 102 }));
  assert.deepEqual(shown(book.bids), ["8@10"]);
  assert.equal(book.lastUpdateId, 105);
});

test("what waits for a snapshot is bounded", () => {
  const book = new DepthBook();
  for (let id = 1; id <= WAITING_MAX + 1; id += 1) {
    assert.equal(book.apply(difference(id, id)), "waiting");
  }
  assert.ok(!book.load({ ...snapshot, lastUpdateId: 1 }), "the differences from 2 on were let go");
  assert.ok(book.load({ ...snapshot, lastUpdateId: WAITING_MAX }));
  assert.equal(book.lastUpdateId, WAITING_MAX + 1);
});

test("a book rebuilt from differences equals the one they were made from", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const truth = new Map<string, string>();
  const book = new DepthBook();
  book.load({ lastUpdateId: 0, bids: [], asks: [] });
  for (let id = 1; id <= 2_000; id += 1) {
    const change: WireLevel = [(random(50) + 1).toString(), random(4).toString()];
    if (change[1] === "0") {
      truth.delete(change[0]);
    } else {
      truth.set(change[0], change[1]);
    }
    assert.equal(book.apply(difference(id, id, [change], [change])), "applied");
  }
  const sorted = [...truth].sort(([a], [b]) => Number(a) - Number(b)).map(([price, quantity]) => `${quantity}@${price}`);
  assert.ok(sorted.length > 10);
  assert.deepEqual(shown(book.asks), sorted);
  assert.deepEqual(shown(book.bids), sorted.reverse());
});

test("ladder rows carry exact sums and merge away from the middle", () => {
  const book = loaded();
  book.apply(difference(101, 101, [["9.91", "0.1"], ["9.89", "0.2"]], [["10.10", "1"]]));
  const rows = (side: "bids" | "asks", step: string, count: number): string[] =>
    ladder(side, book[side], parse(step), count).map(
      ({ price, quantity, total }) => `${plain(quantity)}@${plain(price)} Σ${plain(total)}`,
    );
  assert.deepEqual(rows("bids", "0.01", 9), ["1@10 Σ1", "2@9.99 Σ3", "0.1@9.91 Σ3.1", "0.2@9.89 Σ3.3"]);
  assert.deepEqual(rows("bids", "0.1", 2), ["1@10 Σ1", "2.1@9.9 Σ3.1"]);
  assert.deepEqual(rows("asks", "0.1", 9), ["8@10.1 Σ8"]);
});
