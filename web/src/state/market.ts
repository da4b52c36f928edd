/** What the page knows of one market: its book, trades, ticker and candles, each from a snapshot and a stream. */

import { type Accessor, createEffect, createSignal, onCleanup } from "solid-js";

import { backoff } from "../core/backoff.ts";
import { type Amount, approximate, parse, parseSigned } from "../core/decimal.ts";
import { DepthBook, type DepthSnapshot, type Level } from "../core/depth.ts";
import { get, Refused } from "../exchange/rest.ts";
import type { Follower, MarketStreams } from "../exchange/streams.ts";
import type {
  DepthEvent,
  KlineEvent,
  RestKline,
  RestTrade,
  Ticker,
  TickerEvent,
  TradeEvent,
} from "../exchange/wire.ts";
import { tellFailure } from "./notices.ts";
import { pause } from "./time.ts";

const SNAPSHOT_LEVELS = "1000";
const TRADES_MAX = 60;
const CANDLES = "500";
const CANDLES_MAX = 2_000;

export interface BookView {
  readonly state: "synchronising" | "live" | "gap";
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
}

export interface TapeTrade {
  readonly id: number;
  readonly price: Amount;
  readonly quantity: Amount;
  readonly time: number;
  /** Whether the taker bought. */
  readonly up: boolean;
}

export interface TickerView {
  readonly last: Amount;
  readonly change: Amount;
  readonly changePercent: Amount;
  readonly high: Amount;
  readonly low: Amount;
  readonly volume: Amount;
  readonly quoteVolume: Amount;
}

/** For the chart only: prices as floats. `time` is the open time in seconds since 1970. */
export interface Candle {
  readonly time: number;
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
  readonly volume: number;
}

export interface CandlesView {
  readonly list: readonly Candle[];
  /** Whether all of the list is new, rather than its last candle. */
  readonly whole: boolean;
}

/** Follows a stream for as long as its name stays the same; `begin` says what to do with it. */
function follow(streams: MarketStreams, name: Accessor<string>, begin: (alive: () => boolean) => Follower): void {
  createEffect(() => {
    let alive = true;
    const stop = streams.follow(name(), begin(() => alive));
    onCleanup(() => {
      alive = false;
      stop();
    });
  });
}

/** Repeats a request until it is answered, waiting longer each time; undefined when no longer `wanted`. */
async function insist<Reply>(wanted: () => boolean, ask: () => Promise<Reply>): Promise<Reply | undefined> {
  for (let attempt = 1; wanted(); attempt += 1) {
    try {
      const reply = await ask();
      return wanted() ? reply : undefined;
    } catch (error) {
      if (error instanceof Refused) {
        tellFailure("Market data refused", error);
      }
      await pause(backoff(attempt, Math.random()));
    }
  }
  return undefined;
}

const EMPTY_BOOK: BookView = { state: "synchronising", bids: [], asks: [] };

export function createBook(streams: MarketStreams, symbol: Accessor<string>): Accessor<BookView> {
  const [view, setView] = createSignal(EMPTY_BOOK);
  follow(streams, () => `${symbol().toLowerCase()}@depth@100ms`, (alive) => {
    const book = new DepthBook();
    const wanted = symbol();
    let synchronisation = 0;
    setView(EMPTY_BOOK);

    const show = (): void => void setView({ state: "live", bids: book.bids, asks: book.asks });
    // The last rows stay in sight, marked as what they are, until the book is whole again.
    const synchronise = async (state: "synchronising" | "gap"): Promise<void> => {
      const mine = ++synchronisation;
      const current = (): boolean => alive() && mine === synchronisation;
      setView((shown) => ({ ...shown, state }));
      for (let attempt = 1; current(); attempt += 1) {
        const snapshot = await insist(current, () =>
          get<DepthSnapshot>("/depth", { symbol: wanted, limit: SNAPSHOT_LEVELS }),
        );
        if (snapshot && book.load(snapshot)) {
          show();
          return;
        }
        await pause(backoff(attempt, Math.random()));
      }
    };
    return {
      started: () => {
        book.reset();
        void synchronise("synchronising");
      },
      event: (data) => {
        const outcome = book.apply(data as DepthEvent);
        if (outcome === "applied") {
          show();
        } else if (outcome === "gap") {
          void synchronise("gap");
        }
      },
      lost: () => {
        synchronisation += 1;
        setView((shown) => ({ ...shown, state: "synchronising" }));
      },
    };
  });
  return view;
}

export function createTape(streams: MarketStreams, symbol: Accessor<string>): Accessor<readonly TapeTrade[]> {
  const [trades, setTrades] = createSignal<readonly TapeTrade[]>([]);
  follow(streams, () => `${symbol().toLowerCase()}@trade`, (alive) => {
    const wanted = symbol();
    let fresh: TapeTrade[] = [];
    let frame = 0;
    setTrades([]);

    // Newest first; the stream may bring a trade that the snapshot already had.
    const add = (more: readonly TapeTrade[]): void => {
      setTrades((shown) => {
        const known = new Set(shown.map(({ id }) => id));
        const all = [...more.filter(({ id }) => !known.has(id)), ...shown];
        return all.sort((a, b) => b.id - a.id).slice(0, TRADES_MAX);
      });
    };
    const flush = (): void => {
      frame = 0;
      add(fresh);
      fresh = [];
    };
    onCleanup(() => cancelAnimationFrame(frame));
    return {
      started: () => {
        void insist(alive, () =>
          get<RestTrade[]>("/trades", { symbol: wanted, limit: String(TRADES_MAX) }),
        ).then((reply) => reply && add(reply.map(fromRestTrade)));
      },
      event: (data) => {
        fresh = [fromTradeEvent(data as TradeEvent), ...fresh].slice(0, TRADES_MAX);
        frame ||= requestAnimationFrame(flush);
      },
    };
  });
  return trades;
}

export function createTicker(streams: MarketStreams, symbol: Accessor<string>): Accessor<TickerView | undefined> {
  const [ticker, setTicker] = createSignal<TickerView>();
  follow(streams, () => `${symbol().toLowerCase()}@ticker`, (alive) => {
    const wanted = symbol();
    setTicker(undefined);
    return {
      started: () => {
        void insist(alive, () => get<Ticker>("/ticker/24hr", { symbol: wanted })).then(
          (reply) => reply && setTicker(tickerView(reply)),
        );
      },
      event: (data) => {
        const { c, p, P, h, l, v, q } = data as TickerEvent;
        setTicker(
          tickerView({
            lastPrice: c,
            priceChange: p,
            priceChangePercent: P,
            highPrice: h,
            lowPrice: l,
            volume: v,
            quoteVolume: q,
          }),
        );
      },
    };
  });
  return ticker;
}

export function createCandles(
  streams: MarketStreams,
  symbol: Accessor<string>,
  interval: Accessor<string>,
): Accessor<CandlesView> {
  const [view, setView] = createSignal<CandlesView>({ list: [], whole: true });
  follow(streams, () => `${symbol().toLowerCase()}@kline_${interval()}`, (alive) => {
    const query = { symbol: symbol(), interval: interval(), limit: CANDLES };
    let list: Candle[] = [];
    setView({ list, whole: true });
    return {
      started: () => {
        void insist(alive, () => get<RestKline[]>("/klines", query)).then((reply) => {
          if (reply) {
            const newer = list.filter(({ time }) => time * 1_000 > (reply.at(-1)?.[0] ?? 0));
            list = [...reply.map(fromRestKline), ...newer];
            setView({ list, whole: true });
          }
        });
      },
      event: (data) => {
        const candle = fromKlineEvent(data as KlineEvent);
        const last = list.at(-1);
        if (!last || candle.time > last.time) {
          list = [...list, candle].slice(-CANDLES_MAX);
        } else if (candle.time === last.time) {
          list = [...list.slice(0, -1), candle];
        } else {
          return;
        }
        setView({ list, whole: false });
      },
    };
  });
  return view;
}

function fromRestTrade({ id, price, qty, time, isBuyerMaker }: RestTrade): TapeTrade {
  return { id, price: parse(price), quantity: parse(qty), time, up: !isBuyerMaker };
}

function fromTradeEvent({ t, p, q, T, m }: TradeEvent): TapeTrade {
  return { id: t, price: parse(p), quantity: parse(q), time: T, up: !m };
}

function tickerView(ticker: Ticker): TickerView {
  return {
    last: parse(ticker.lastPrice),
    change: parseSigned(ticker.priceChange),
    changePercent: parseSigned(ticker.priceChangePercent),
    high: parse(ticker.highPrice),
    low: parse(ticker.lowPrice),
    volume: parse(ticker.volume),
    quoteVolume: parse(ticker.quoteVolume),
  };
}

function fromRestKline([time, open, high, low, close, volume]: RestKline): Candle {
  return candle(time, open, high, low, close, volume);
}

function fromKlineEvent({ k }: KlineEvent): Candle {
  return candle(k.t, k.o, k.h, k.l, k.c, k.v);
}

function candle(ms: number, open: string, high: string, low: string, close: string, volume: string): Candle {
  const near = (text: string): number => approximate(parse(text));
  const prices = { open: near(open), high: near(high), low: near(low), close: near(close) };
  return { time: ms / 1_000, ...prices, volume: near(volume) };
}
