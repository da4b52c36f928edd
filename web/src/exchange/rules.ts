/** The rules of a market, read from `GET /exchangeInfo`. */

import { type Amount, decimalsOf, parse } from "../core/decimal.ts";
import type { MarketRules, Range } from "../core/order.ts";
import type { Filter, SymbolInfo } from "./wire.ts";

const PLACES_MAX = 8;

export function marketRules(info: SymbolInfo): MarketRules {
  const filter = (name: string): Filter | undefined => info.filters.find(({ filterType }) => filterType === name);
  const amount = (name: string, key: string): Amount => {
    const value = filter(name)?.[key];
    return typeof value === "string" ? parse(value) : 0n;
  };
  const range = (name: string, noun: string, step: string): Range => ({
    min: amount(name, `min${noun}`),
    max: amount(name, `max${noun}`),
    step: amount(name, step),
  });
  const price = range("PRICE_FILTER", "Price", "tickSize");
  const quantity = range("LOT_SIZE", "Qty", "stepSize");
  const marketQuantity = filter("MARKET_LOT_SIZE") ? range("MARKET_LOT_SIZE", "Qty", "stepSize") : quantity;
  const digits = (step: Amount): number => (step > 0n ? decimalsOf(step) : PLACES_MAX);
  return {
    symbol: info.symbol,
    base: info.baseAsset,
    quote: info.quoteAsset,
    status: info.status,
    price,
    quantity,
    // A step of 0 sets no rule of its own: the one of limit orders holds.
    marketQuantity: marketQuantity.step > 0n ? marketQuantity : { ...marketQuantity, step: quantity.step },
    minNotional: amount(filter("NOTIONAL") ? "NOTIONAL" : "MIN_NOTIONAL", "minNotional"),
    priceDigits: digits(price.step),
    quantityDigits: digits(quantity.step),
    quoteDigits: info.quoteAssetPrecision,
  };
}
