/** The messages of the exchange that the page reads: names as on the wire, numbers as decimal strings. */

import type { DepthDifference } from "../core/depth.ts";
import type { Side, TimeInForce } from "../core/order.ts";

export interface ExchangeInfo {
  readonly symbols: readonly SymbolInfo[];
}

export interface SymbolInfo {
  readonly symbol: string;
  readonly status: string;
  readonly baseAsset: string;
  readonly quoteAsset: string;
  readonly quoteAssetPrecision: number;
  readonly filters: readonly Filter[];
}

export interface Filter {
  readonly filterType: string;
  readonly [name: string]: string | number | boolean;
}

/** `GET /ticker/24hr`; the stream's `24hrTicker` carries the same under letters. */
export interface Ticker {
  readonly lastPrice: string;
  readonly priceChange: string;
  readonly priceChangePercent: string;
  readonly highPrice: string;
  readonly lowPrice: string;
  readonly volume: string;
  readonly quoteVolume: string;
}

export interface RestTrade {
  readonly id: number;
  readonly price: string;
  readonly qty: string;
  readonly time: number;
  readonly isBuyerMaker: boolean;
}

/** [open time ms, open, high, low, close, volume, …]. */
export type RestKline = readonly [number, string, string, string, string, string, ...unknown[]];

export interface DepthEvent extends DepthDifference {
  readonly e: "depthUpdate";
  readonly s: string;
}

export interface TradeEvent {
  readonly e: "trade";
  readonly s: string;
  readonly t: number;
  readonly p: string;
  readonly q: string;
  readonly T: number;
  readonly m: boolean;
}

export interface TickerEvent {
  readonly e: "24hrTicker";
  readonly s: string;
  readonly c: string;
  readonly p: string;
  readonly P: string;
  readonly h: string;
  readonly l: string;
  readonly v: string;
  readonly q: string;
}

export interface KlineEvent {
  readonly e: "kline";
  readonly s: string;
  readonly k: {
    readonly t: number;
    readonly i: string;
    readonly o: string;
    readonly h: string;
    readonly l: string;
    readonly c: string;
    readonly v: string;
  };
}

export type MarketEvent = DepthEvent | TradeEvent | TickerEvent | KlineEvent;

export interface Account {
  readonly balances: readonly WireBalance[];
}

export interface WireBalance {
  readonly asset: string;
  readonly free: string;
  readonly locked: string;
}

export interface RestOrder {
  readonly symbol: string;
  readonly orderId: number;
  readonly clientOrderId: string;
  readonly price: string;
  readonly origQty: string;
  readonly executedQty: string;
  readonly cummulativeQuoteQty: string;
  readonly status: string;
  readonly timeInForce: TimeInForce;
  readonly type: string;
  readonly side: Side;
  /** Absent from the reply to a new order, which has `transactTime`. */
  readonly time?: number;
  readonly transactTime?: number;
  /** Why an order that did not rest was not filled. */
  readonly expiryReason?: string;
}

export interface RestFill {
  readonly symbol: string;
  readonly id: number;
  readonly orderId: number;
  readonly price: string;
  readonly qty: string;
  readonly commission: string;
  readonly commissionAsset: string;
  readonly time: number;
  readonly isBuyer: boolean;
  readonly isMaker: boolean;
}

export interface ExecutionReport {
  readonly e: "executionReport";
  readonly s: string;
  readonly c: string;
  readonly S: Side;
  readonly o: string;
  readonly f: TimeInForce;
  readonly q: string;
  readonly p: string;
  readonly x: string;
  readonly X: string;
  readonly i: number;
  readonly l: string;
  readonly z: string;
  readonly L: string;
  readonly n: string | null;
  readonly N: string | null;
  readonly T: number;
  readonly t: number;
  readonly m: boolean;
  /** Time the order was accepted. */
  readonly O: number;
  readonly Z: string;
}

export interface AccountPosition {
  readonly e: "outboundAccountPosition";
  readonly B: readonly { readonly a: string; readonly f: string; readonly l: string }[];
}

export type UserEvent = ExecutionReport | AccountPosition | { readonly e: "eventStreamTerminated" };
