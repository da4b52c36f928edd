/** What the ticket says, checked against the market's rules and turned into the parameters of an order. */

import { type Amount, decimalsOf, DecimalError, grouped, parse, plain } from "./decimal.ts";

export type Side = "BUY" | "SELL";
export type TimeInForce = "GTC" | "IOC" | "FOK";

export const SIDES: readonly Side[] = ["BUY", "SELL"];
export const TIMES_IN_FORCE: Readonly<Record<TimeInForce, string>> = {
  GTC: "Good till cancelled",
  IOC: "Immediate or cancel",
  FOK: "Fill or kill",
};

/** What an entry of a filter allows: multiples of `step` from `min` to `max`; 0 disables a bound. */
export interface Range {
  readonly min: Amount;
  readonly max: Amount;
  readonly step: Amount;
}

export interface MarketRules {
  readonly symbol: string;
  readonly base: string;
  readonly quote: string;
  readonly status: string;
  readonly price: Range;
  readonly quantity: Range;
  readonly marketQuantity: Range;
  readonly minNotional: Amount;
  /** Decimals shown. */
  readonly priceDigits: number;
  readonly quantityDigits: number;
  readonly quoteDigits: number;
}

export interface Ticket {
  readonly side: Side;
  readonly kind: "LIMIT" | "MARKET";
  readonly timeInForce: TimeInForce;
  readonly postOnly: boolean;
  readonly price: string;
  readonly quantity: string;
  /** A market order says how much of the base asset, or how much of the quote asset. */
  readonly measure: "base" | "quote";
  readonly amount: string;
}

export type Field = "price" | "quantity" | "amount";

/** A field that cannot be sent, and why. */
export class TicketError extends Error {
  constructor(
    readonly field: Field,
    message: string,
  ) {
    super(message);
  }
}

/** The parameters of `POST /api/v3/order` but its client id. Throws TicketError for a field that cannot be sent. */
export function orderParameters(ticket: Ticket, rules: MarketRules): Record<string, string> {
  const order = { symbol: rules.symbol, side: ticket.side };
  if (ticket.kind === "LIMIT") {
    const price = checked("price", "Price", ticket.price, rules.price, rules.quote);
    const quantity = checked("quantity", "Quantity", ticket.quantity, rules.quantity, rules.base);
    return ticket.postOnly
      ? { ...order, type: "LIMIT_MAKER", price, quantity }
      : { ...order, type: "LIMIT", timeInForce: ticket.timeInForce, price, quantity };
  }
  if (ticket.measure === "quote") {
    const unit = 10n ** BigInt(18 - rules.quoteDigits);
    const range = { min: rules.minNotional, max: 0n, step: unit };
    return { ...order, type: "MARKET", quoteOrderQty: checked("amount", "Amount", ticket.amount, range, rules.quote) };
  }
  const quantity = checked("quantity", "Quantity", ticket.quantity, rules.marketQuantity, rules.base);
  return { ...order, type: "MARKET", quantity };
}

function checked(field: Field, name: string, text: string, range: Range, asset: string): string {
  if (text.trim() === "") {
    throw new TicketError(field, `${name}: enter a number`);
  }
  let value: Amount;
  try {
    value = parse(text);
  } catch (error) {
    throw error instanceof DecimalError ? new TicketError(field, `${name}: ${error.message}`) : error;
  }
  const show = (limit: Amount): string => `${grouped(limit, decimalsOf(limit))} ${asset}`;
  if (value === 0n) {
    throw new TicketError(field, `${name}: must be more than zero`);
  }
  if (range.step > 0n && value % range.step !== 0n) {
    throw new TicketError(field, `${name}: ${plain(value)} is not a multiple of ${show(range.step)}`);
  }
  if (value < range.min) {
    throw new TicketError(field, `${name}: ${plain(value)} is below the least, ${show(range.min)}`);
  }
  if (range.max > 0n && value > range.max) {
    throw new TicketError(field, `${name}: ${plain(value)} is above the most, ${show(range.max)}`);
  }
  return plain(value);
}
