/** What the page knows of the user's account: balances, open orders and fills, read once and then followed. */

import { type Accessor, createEffect, createSignal, on, onCleanup } from "solid-js";

import { backoff } from "../core/backoff.ts";
import { type Amount, parse } from "../core/decimal.ts";
import type { Side } from "../core/order.ts";
import { Refused, type Signer } from "../exchange/rest.ts";
import type { Link } from "../exchange/socket.ts";
import { UserData } from "../exchange/user_data.ts";
import type { Account, ExecutionReport, RestFill, RestOrder, UserEvent } from "../exchange/wire.ts";
import { pause } from "./time.ts";

const FILLS_MAX = 100;
const WAITING_MAX = 10_000;
const OPEN = ["NEW", "PARTIALLY_FILLED", "PENDING_NEW"];

export interface Balance {
  readonly free: Amount;
  readonly locked: Amount;
}

export interface OpenOrder {
  readonly id: number;
  readonly symbol: string;
  readonly side: Side;
  readonly type: string;
  readonly price: Amount;
  readonly quantity: Amount;
  readonly filled: Amount;
  readonly time: number;
}

export interface Fill {
  /** A trade with oneself has two fills under one trade id. */
  readonly key: string;
  readonly symbol: string;
  readonly side: Side;
  readonly price: Amount;
  readonly quantity: Amount;
  readonly fee: Amount;
  readonly feeAsset: string;
  readonly maker: boolean;
  readonly time: number;
}

export interface AccountState {
  readonly signer: Signer;
  readonly balances: Accessor<ReadonlyMap<string, Balance>>;
  readonly orders: Accessor<ReadonlyMap<number, OpenOrder>>;
  /** Of the market in sight, newest first. */
  readonly fills: Accessor<readonly Fill[]>;
  readonly link: Accessor<Link>;
  /** Whether balances and orders are complete. */
  readonly loaded: Accessor<boolean>;
  /** Why the key is not accepted. */
  readonly refusal: Accessor<string | undefined>;
}

export function createAccount(signer: Signer, symbol: Accessor<string>): AccountState {
  const [balances, setBalances] = createSignal(new Map<string, Balance>(), { equals: false });
  const [orders, setOrders] = createSignal(new Map<number, OpenOrder>(), { equals: false });
  const [fills, setFills] = createSignal<readonly Fill[]>([]);
  const [link, setLink] = createSignal<Link>({ state: "connecting" });
  const [loaded, setLoaded] = createSignal(false);
  const [refusal, setRefusal] = createSignal<string>();
  let alive = true;
  let load = 0;
  /** Events that came while the account was being read; undefined when it is not. */
  let waiting: UserEvent[] | undefined;

  const addFills = (more: readonly Fill[]): void => {
    setFills((shown) => {
      const known = new Set(shown.map(({ key }) => key));
      const all = [...more.filter(({ key }) => !known.has(key)), ...shown];
      return all.sort((a, b) => b.time - a.time).slice(0, FILLS_MAX);
    });
  };
  const happened = (event: UserEvent): void => {
    if (event.e === "outboundAccountPosition") {
      setBalances((map) => {
        event.B.forEach(({ a, f, l }) => map.set(a, { free: parse(f), locked: parse(l) }));
        return map;
      });
    } else if (event.e === "executionReport") {
      setOrders((map) => {
        if (OPEN.includes(event.X)) {
          map.set(event.i, fromReport(event));
        } else {
          map.delete(event.i);
        }
        return map;
      });
      if (event.x === "TRADE" && event.s === symbol()) {
        addFills([fromTrade(event)]);
      }
    }
  };

  /**
   * Reads the account. Events in the meantime wait and come after what was read: one that is older than it shows an
   * order in an earlier state for a moment, but each later change of that order has its own event behind it.
   */
  const read = async (): Promise<void> => {
    const mine = ++load;
    const current = (): boolean => alive && mine === load;
    waiting = [];
    for (let attempt = 1; current(); attempt += 1) {
      try {
        const [account, open] = await Promise.all([
          signer.call<Account>("GET", "/account"),
          signer.call<RestOrder[]>("GET", "/openOrders"),
        ]);
        if (!current()) {
          return;
        }
        setBalances(new Map(account.balances.map(({ asset, free, locked }) => [asset, amounts(free, locked)])));
        setOrders(new Map(open.map((order) => [order.orderId, fromRestOrder(order)])));
        setLoaded(true);
        const missed = waiting ?? [];
        waiting = undefined;
        missed.forEach(happened);
        return;
      } catch (error) {
        if (current() && error instanceof Refused) {
          setRefusal(error.message);
        }
        await pause(backoff(attempt, Math.random()));
      }
    }
  };
  const readFills = async (wanted: string): Promise<void> => {
    const parameters = { symbol: wanted, limit: String(FILLS_MAX) };
    for (let attempt = 1; alive && symbol() === wanted; attempt += 1) {
      try {
        const reply = await signer.call<RestFill[]>("GET", "/myTrades", parameters);
        if (symbol() === wanted) {
          addFills(reply.map(fromRestFill).reverse());
        }
        return;
      } catch {
        await pause(backoff(attempt, Math.random()));
      }
    }
  };

  const userData = new UserData(signer, {
    linkChanged: setLink,
    refused: setRefusal,
    subscribed: () => {
      setRefusal(undefined);
      void read();
      void readFills(symbol());
    },
    event: (event) => {
      if (!waiting) {
        happened(event);
      } else if (waiting.push(event) > WAITING_MAX) {
        void read();
      }
    },
  });
  createEffect(
    on(
      symbol,
      (wanted) => {
        setFills([]);
        void readFills(wanted);
      },
      { defer: true },
    ),
  );
  onCleanup(() => {
    alive = false;
    userData.close();
  });
  return { signer, balances, orders, fills, link, loaded, refusal };
}

function amounts(free: string, locked: string): Balance {
  return { free: parse(free), locked: parse(locked) };
}

function fromRestOrder(order: RestOrder): OpenOrder {
  return {
    id: order.orderId,
    symbol: order.symbol,
    side: order.side,
    type: order.type,
    price: parse(order.price),
    quantity: parse(order.origQty),
    filled: parse(order.executedQty),
    time: order.time ?? order.transactTime ?? 0,
  };
}

function fromReport(report: ExecutionReport): OpenOrder {
  return {
    id: report.i,
    symbol: report.s,
    side: report.S,
    type: report.o,
    price: parse(report.p),
    quantity: parse(report.q),
    filled: parse(report.z),
    time: report.O,
  };
}

function fromRestFill(fill: RestFill): Fill {
  return {
    key: `${fill.id}/${fill.orderId}`,
    symbol: fill.symbol,
    side: fill.isBuyer ? "BUY" : "SELL",
    price: parse(fill.price),
    quantity: parse(fill.qty),
    fee: parse(fill.commission),
    feeAsset: fill.commissionAsset,
    maker: fill.isMaker,
    time: fill.time,
  };
}

function fromTrade(report: ExecutionReport): Fill {
  return {
    key: `${report.t}/${report.i}`,
    symbol: report.s,
    side: report.S,
    price: parse(report.L),
    quantity: parse(report.l),
    fee: parse(report.n ?? "0"),
    feeAsset: report.N ?? "",
    maker: report.m,
    time: report.T,
  };
}
