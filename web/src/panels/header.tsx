/** The top line: market, 24 hours, connection, key. */

import { For, type JSX, Show } from "solid-js";

import { approximate, fixed, grouped, ONE } from "../core/decimal.ts";
import type { MarketRules } from "../core/order.ts";
import type { Link } from "../exchange/socket.ts";
import type { AccountState } from "../state/account.ts";
import type { BookView, TickerView } from "../state/market.ts";
import { forgetKey } from "../state/session.ts";
import { now } from "../state/time.ts";

/** A ping goes out every 5 s: an answer older than this is overdue. */
const STALE_MS = 8_000;

interface Props {
  readonly symbols: readonly string[];
  readonly rules: MarketRules;
  readonly choose: (symbol: string) => void;
  readonly ticker: TickerView | undefined;
  readonly link: Link;
  readonly roundTrip: { readonly ms: number; readonly at: number } | undefined;
  readonly book: BookView["state"];
  readonly account: AccountState | undefined;
}

export function Header(props: Props) {
  return (
    <header class="header">
      <h1 class="brand">Bursa</h1>
      <select
        class="market"
        aria-label="Market"
        value={props.rules.symbol}
        onChange={(event) => props.choose(event.currentTarget.value)}
      >
        <For each={props.symbols}>{(symbol) => <option value={symbol}>{symbol}</option>}</For>
      </select>
      <Show when={props.rules.status !== "TRADING"}>
        <span class="badge bad">{props.rules.status.replaceAll("_", " ").toLowerCase()}</span>
      </Show>
      <Show when={props.ticker} fallback={<div class="day" />}>
        {(ticker) => <Day ticker={ticker()} rules={props.rules} />}
      </Show>
      <Connection link={props.link} roundTrip={props.roundTrip} book={props.book} />
      <Show when={props.account}>{(account) => <Key account={account()} />}</Show>
    </header>
  );
}

function Day(props: { ticker: TickerView; rules: MarketRules }) {
  const price = (amount: bigint): string => grouped(amount, props.rules.priceDigits);
  const volume = (amount: bigint): string => grouped(amount, amount < 10n * ONE ? props.rules.quantityDigits : 2);
  const sign = (amount: bigint): string => (amount > 0n ? "+" : "");
  const tone = (): string => (props.ticker.change < 0n ? "down" : props.ticker.change > 0n ? "up" : "");
  return (
    <dl class="day">
      <Figure name="Last">
        <strong class={tone()}>{price(props.ticker.last)}</strong>
      </Figure>
      <Figure name="24 h change">
        <span class={tone()}>
          {sign(props.ticker.change)}
          {price(props.ticker.change)} ({sign(props.ticker.changePercent)}
          {fixed(props.ticker.changePercent, 2)} %)
        </span>
      </Figure>
      <Figure name="24 h high">{price(props.ticker.high)}</Figure>
      <Figure name="24 h low">{price(props.ticker.low)}</Figure>
      <Figure name={`24 h volume, ${props.rules.base}`}>{volume(props.ticker.volume)}</Figure>
      <Figure name={`24 h volume, ${props.rules.quote}`}>{short(props.ticker.quoteVolume)}</Figure>
    </dl>
  );
}

function Figure(props: { name: string; children: JSX.Element }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

function short(amount: bigint): string {
  return compact.format(approximate(amount));
}

function Connection(props: Pick<Props, "link" | "roundTrip" | "book">) {
  const age = (): number => now() - (props.roundTrip?.at ?? now());
  const view = (): { tone: string; text: string } => {
    const link = props.link;
    if (link.state === "waiting") {
      const seconds = Math.max(0, Math.ceil((link.until - now()) / 1_000));
      return { tone: "bad", text: `Offline, next try in ${seconds} s` };
    }
    if (link.state === "connecting") {
      return { tone: "warn", text: "Connecting" };
    }
    if (age() > STALE_MS) {
      return { tone: "bad", text: `Stale for ${Math.round(age() / 1_000)} s` };
    }
    if (props.book === "gap") {
      return { tone: "warn", text: "Gap: resynchronising" };
    }
    if (props.book === "synchronising") {
      return { tone: "warn", text: "Synchronising" };
    }
    const ms = props.roundTrip?.ms;
    return { tone: "good", text: ms === undefined ? "Live" : `Live ${ms < 1 ? "<1" : Math.round(ms)} ms` };
  };
  return (
    <output
      class={`badge connection ${view().tone}`}
      aria-label="Connection"
      title="Market data: time from a request on the stream to its answer"
    >
      {view().text}
    </output>
  );
}

function Key(props: { account: AccountState }) {
  const text = (): string => {
    if (props.account.refusal() !== undefined) {
      return "Key refused";
    }
    if (props.account.link().state !== "open") {
      return "Account offline";
    }
    return props.account.loaded() ? `Key ${props.account.signer.apiKey.slice(0, 6)}…` : "Reading account";
  };
  const tone = (): string => {
    if (props.account.refusal() !== undefined || props.account.link().state === "waiting") {
      return "bad";
    }
    return props.account.loaded() && props.account.link().state === "open" ? "good" : "warn";
  };
  return (
    <div class="key">
      <output class={`badge ${tone()}`} aria-label="Account" title={props.account.refusal() ?? ""}>
        {text()}
      </output>
      <button type="button" class="plain" onClick={forgetKey}>
        Forget key
      </button>
    </div>
  );
}
