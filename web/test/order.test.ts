import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../src/core/backoff.ts";
import { parse } from "../src/core/decimal.ts";
import { type MarketRules, orderParameters, type Ticket, TicketError } from "../src/core/order.ts";
import { describeOutcome, shareOf } from "../src/core/outcome.ts";

const rules: MarketRules = {
  symbol: "BTCUSDT",
  base: "BTC",
  quote: "USDT",
  status: "TRADING",
  price: { min: parse("0.01"), max: parse("1000000"), step: parse("0.01") },
  quantity: { min: parse("0.00001"), max: parse("9000"), step: parse("0.00001") },
  marketQuantity: { min: parse("0.00001"), max: parse("150"), step: parse("0.00001") },
  minNotional: parse("5"),
  priceDigits: 2,
  quantityDigits: 5,
  quoteDigits: 8,
};
const limit: Ticket = {
  side: "BUY",
  kind: "LIMIT",
  timeInForce: "IOC",
  postOnly: false,
  price: "64000.10",
  quantity: "0.5",
  measure: "base",
  amount: "",
};
const market: Ticket = { ...limit, kind: "MARKET", price: "" };

test("each kind of order sends its own parameters", () => {
  const common = { symbol: "BTCUSDT", side: "BUY" };
  const both = { price: "64000.1", quantity: "0.5" };
  assert.deepEqual(orderParameters(limit, rules), { ...common, type: "LIMIT", timeInForce: "IOC", ...both });
  assert.deepEqual(orderParameters({ ...limit, postOnly: true }, rules), { ...common, type: "LIMIT_MAKER", ...both });
  assert.deepEqual(orderParameters(market, rules), { ...common, type: "MARKET", quantity: "0.5" });
  const spend: Ticket = { ...market, measure: "quote", amount: "250.00" };
  assert.deepEqual(orderParameters(spend, rules), { ...common, type: "MARKET", quoteOrderQty: "250" });
});

test("a field that cannot be sent says what was wrong, the value and what is allowed", () => {
  const cases: [Ticket, string, RegExp][] = [
    [{ ...limit, price: "" }, "price", /^Price: enter a number$/],
    [{ ...limit, price: "64,000" }, "price", /^Price: "64,000" is not a number; allowed: /],
    [{ ...limit, price: "0.005" }, "price", /^Price: 0.005 is not a multiple of 0.01 USDT$/],
    [{ ...limit, price: "1000000.01" }, "price", /^Price: 1000000.01 is above the most, 1,000,000 USDT$/],
    [{ ...limit, quantity: "0" }, "quantity", /^Quantity: must be more than zero$/],
    [{ ...market, quantity: "151" }, "quantity", /^Quantity: 151 is above the most, 150 BTC$/],
    [{ ...market, measure: "quote", amount: "4.99" }, "amount", /^Amount: 4.99 is below the least, 5 USDT$/],
  ];
  for (const [ticket, field, message] of cases) {
    assert.throws(
      () => orderParameters(ticket, rules),
      (error) => error instanceof TicketError && error.field === field && message.test(error.message),
      String(message),
    );
  }
});

test("the outcome is told in a sentence", () => {
  const order = {
    side: "BUY",
    status: "NEW",
    price: "64000.10000000",
    origQty: "0.50000000",
    executedQty: "0.00000000",
    cummulativeQuoteQty: "0.00000000",
  } as const;
  const half = { ...order, executedQty: "0.25", cummulativeQuoteQty: "16000.025" };
  const cases: [Parameters<typeof describeOutcome>[0], string][] = [
    [order, "Buy order for 0.5 BTC at 64,000.10 USDT is on the book"],
    [
      { ...half, status: "PARTIALLY_FILLED" },
      "Bought 0.25 of 0.5 BTC for 16,000.02 USDT, 64,000.10 on average; the rest is on the book",
    ],
    [
      { ...half, side: "SELL", status: "FILLED", origQty: "0.25" },
      "Sold 0.25 BTC for 16,000.02 USDT, 64,000.10 on average",
    ],
    [
      { ...half, status: "EXPIRED", expiryReason: "INSUFFICIENT_LIQUIDITY" },
      "Bought 0.25 of 0.5 BTC for 16,000.02 USDT, 64,000.10 on average; the rest is gone (the book holds no more)",
    ],
    [{ ...order, status: "EXPIRED_IN_MATCH" }, "Nothing bought: expired in match"],
  ];
  for (const [reply, sentence] of cases) {
    assert.equal(describeOutcome(reply, rules), sentence);
  }
});

test("a share of what is free is a whole number of steps", () => {
  assert.equal(shareOf(parse("1"), 25, parse("0.1")), "0.2");
  assert.equal(shareOf(parse("0.00001999"), 100, parse("0.00001")), "0.00001");
});

test("tries grow apart up to half a minute, and never less than half of that", () => {
  assert.equal(backoff(1, 0), 500);
  assert.equal(backoff(3, 0), 2_000);
  assert.equal(backoff(3, 0.999), 2_000 * (1 - 0.999 / 2));
  assert.equal(backoff(100, 0), 30_000);
});
