/** What became of an order, in a sentence. */

import { floorTo, grouped, over, parse, plain } from "./decimal.ts";
import type { MarketRules, Side } from "./order.ts";

/** The part of an order's reply, or of a query for it, that tells. */
export interface OrderReply {
  readonly side: Side;
  readonly status: string;
  readonly price: string;
  readonly origQty: string;
  readonly executedQty: string;
  readonly cummulativeQuoteQty: string;
  readonly expiryReason?: string;
}

const REASONS: Readonly<Record<string, string>> = {
  UNFILLED_IOC_QUANTITY_EXPIRED: "immediate or cancel: nothing more could be filled at once",
  UNFILLED_FOK_ORDER_EXPIRED: "fill or kill: not all of it could be filled at once",
  INSUFFICIENT_LIQUIDITY: "the book holds no more",
};

export function describeOutcome(order: OrderReply, rules: MarketRules): string {
  const buying = order.side === "BUY";
  const wanted = parse(order.origQty);
  const filled = parse(order.executedQty);
  const worth = parse(order.cummulativeQuoteQty);
  const share = filled === wanted || wanted === 0n ? plain(filled) : `${plain(filled)} of ${plain(wanted)}`;
  const average = grouped(over(worth, filled), rules.priceDigits);
  const done =
    `${buying ? "Bought" : "Sold"} ${share} ${rules.base} for ` +
    `${grouped(worth, Math.min(rules.quoteDigits, 2))} ${rules.quote}, ${average} on average`;
  switch (order.status) {
    case "NEW":
      return (
        `${buying ? "Buy" : "Sell"} order for ${plain(wanted)} ${rules.base} at ` +
        `${grouped(parse(order.price), rules.priceDigits)} ${rules.quote} is on the book`
      );
    case "PARTIALLY_FILLED":
      return `${done}; the rest is on the book`;
    case "FILLED":
      return done;
    default: {
      const why = order.expiryReason && order.expiryReason !== "NONE" ? order.expiryReason : order.status;
      const ended = REASONS[why] ?? why.toLowerCase().replaceAll("_", " ");
      return filled > 0n ? `${done}; the rest is gone (${ended})` : `Nothing ${buying ? "bought" : "sold"}: ${ended}`;
    }
  }
}

/** The part of a balance that a ticket offers: `percent` (0 to 100) of what is free, in whole steps. */
export function shareOf(free: bigint, percent: number, step: bigint): string {
  return plain(floorTo((free * BigInt(percent)) / 100n, step));
}

