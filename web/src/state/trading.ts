/** The ticket, and what the user does with it: place, cancel, cancel all. */

import { createStore, type SetStoreFunction } from "solid-js/store";

import { type MarketRules, orderParameters, type Ticket } from "../core/order.ts";
import { describeOutcome } from "../core/outcome.ts";
import { Refused, type Signer, Unanswered } from "../exchange/rest.ts";
import type { RestOrder } from "../exchange/wire.ts";
import { tell, tellFailure } from "./notices.ts";

const ORDER_UNKNOWN = -2013;

export function createTicket(): [Ticket, SetStoreFunction<Ticket>] {
  return createStore<Ticket>({
    side: "BUY",
    kind: "LIMIT",
    timeInForce: "GTC",
    postOnly: false,
    price: "",
    quantity: "",
    measure: "base",
    amount: "",
  });
}

/** Places the order that the ticket describes and tells what became of it. Throws TicketError before sending. */
export async function place(signer: Signer, ticket: Ticket, rules: MarketRules): Promise<void> {
  // An id of our own, so that an order whose reply was lost can be asked for.
  const id = `web-${crypto.randomUUID().replaceAll("-", "")}`;
  const parameters = { ...orderParameters(ticket, rules), newClientOrderId: id, newOrderRespType: "FULL" };
  try {
    report(await signer.call<RestOrder>("POST", "/order", parameters), rules);
  } catch (error) {
    if (error instanceof Unanswered) {
      tell("bad", `${error.message}. The order may or may not have been placed: asking.`);
      await inquire(signer, id, rules);
    } else {
      tellFailure("Order not placed", error);
    }
  }
}

async function inquire(signer: Signer, id: string, rules: MarketRules): Promise<void> {
  try {
    const query = { symbol: rules.symbol, origClientOrderId: id };
    report(await signer.call<RestOrder>("GET", "/order", query), rules);
  } catch (error) {
    const unknown = error instanceof Refused && error.code === ORDER_UNKNOWN;
    const text = unknown ? "The exchange does not know the order" : "The exchange does not answer";
    tell("bad", `${text}. Look at the open orders before you try again.`);
  }
}

function report(order: RestOrder, rules: MarketRules): void {
  const done = ["NEW", "PARTIALLY_FILLED", "FILLED"].includes(order.status);
  tell(done ? "good" : "plain", describeOutcome(order, rules));
}

export async function cancel(signer: Signer, symbol: string, orderId: number): Promise<void> {
  try {
    await signer.call("DELETE", "/order", { symbol, orderId: String(orderId) });
    tell("plain", `Order ${orderId} cancelled`);
  } catch (error) {
    tellFailure(`Order ${orderId} not cancelled`, error);
  }
}

/** Cancels every open order of these markets. */
export async function cancelAll(signer: Signer, symbols: readonly string[]): Promise<void> {
  for (const symbol of symbols) {
    try {
      const cancelled = await signer.call<readonly unknown[]>("DELETE", "/openOrders", { symbol });
      tell("plain", `${symbol}: ${cancelled.length} ${cancelled.length === 1 ? "order" : "orders"} cancelled`);
    } catch (error) {
      tellFailure(`${symbol}: orders not cancelled`, error);
    }
  }
}
