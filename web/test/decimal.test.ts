import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ceilTo,
  DecimalError,
  decimalsOf,
  fixed,
  floorTo,
  grouped,
  over,
  parse,
  parseSigned,
  plain,
  times,
} from "../src/core/decimal.ts";

test("what floats get wrong is exact", () => {
  assert.equal(plain(parse("0.1") + parse("0.2")), "0.3");
  assert.equal(plain(times(parse("1000000000.00000001"), parse("9000.00000001"))), "9000000000010.0000900000000001");
});

test("text and amount are the same thing", () => {
  for (const text of ["0", "1", "0.5", "1000", "64000.01", "0.000000000000000001", "12345678901234567890.5"]) {
    assert.equal(plain(parse(text)), text);
  }
  assert.equal(plain(parse(" 1.50 ")), "1.5");
  assert.equal(plain(parse("007.")), "7");
});

test("what is not a plain number is refused by name", () => {
  for (const text of ["", ".", "-1", "1e3", "1,5", "0x1", "NaN", "1.0000000000000000001", "1".repeat(21)]) {
    assert.throws(() => parse(text), DecimalError, text);
  }
  assert.throws(() => parse("1,5"), /"1,5" is not a number; allowed: /);
});

test("a fixed number of decimals, cut and never rounded up", () => {
  assert.equal(fixed(parse("1.999"), 2), "1.99");
  assert.equal(fixed(parse("5"), 0), "5");
  assert.equal(fixed(parseSigned("-0.055"), 2), "-0.05");
  assert.equal(grouped(parse("1234567.5"), 2), "1,234,567.50");
  assert.equal(grouped(parse("1000000000"), 0), "1,000,000,000");
  assert.equal(grouped(parseSigned("-1234.5"), 1), "-1,234.5");
});

test("steps", () => {
  const step = parse("0.05");
  assert.equal(plain(floorTo(parse("0.149"), step)), "0.1");
  assert.equal(plain(ceilTo(parse("0.101"), step)), "0.15");
  assert.equal(plain(ceilTo(parse("0.1"), step)), "0.1");
  assert.equal(decimalsOf(step), 2);
  assert.equal(decimalsOf(parse("1000")), 0);
});

test("products and quotients", () => {
  assert.equal(plain(times(parse("64000.12"), parse("0.00001"))), "0.6400012");
  assert.equal(plain(over(parse("1"), parse("8"))), "0.125");
  assert.equal(over(parse("1"), 0n), 0n);
});
