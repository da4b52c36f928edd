/** The screen: waits for the list of markets, then shows one of them. */

import { createEffect, createMemo, createResource, createSignal, Match, Show, Switch } from "solid-js";

import { backoff } from "./core/backoff.ts";
import { grouped } from "./core/decimal.ts";
import type { MarketRules } from "./core/order.ts";
import { get } from "./exchange/rest.ts";
import { marketRules } from "./exchange/rules.ts";
import type { Link } from "./exchange/socket.ts";
import { MarketStreams } from "./exchange/streams.ts";
import type { ExchangeInfo } from "./exchange/wire.ts";
import { Activity } from "./panels/activity.tsx";
import { BookPanel } from "./panels/book.tsx";
import { ChartPanel } from "./panels/chart.tsx";
import { Header } from "./panels/header.tsx";
import { KeyForm } from "./panels/key_form.tsx";
import { Notices } from "./panels/notices.tsx";
import { TapePanel } from "./panels/tape.tsx";
import { TicketPanel } from "./panels/ticket.tsx";
import { createAccount } from "./state/account.ts";
import { createBook, createCandles, createTape, createTicker } from "./state/market.ts";
import { tell } from "./state/notices.ts";
import { signer } from "./state/session.ts";
import { pause } from "./state/time.ts";
import { createTicket } from "./state/trading.ts";

export function App() {
  const [failure, setFailure] = createSignal("");
  const [markets] = createResource(async () => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { symbols } = await get<ExchangeInfo>("/exchangeInfo");
        if (symbols.length > 0) {
          return new Map(symbols.map((info) => [info.symbol, marketRules(info)]));
        }
        setFailure("The exchange lists no market.");
      } catch (error) {
        setFailure(error instanceof Error ? error.message : String(error));
      }
      await pause(backoff(attempt, Math.random()));
    }
  });
  return (
    <>
      <Show
        when={markets()}
        fallback={
          <main class="waiting">
            <h1>Bursa</h1>
            <p role="status">{failure() ? `${failure()} Trying again…` : "Connecting to the exchange…"}</p>
          </main>
        }
      >
        {(found) => <Screen markets={found()} />}
      </Show>
      <Notices />
    </>
  );
}

function Screen(props: { markets: ReadonlyMap<string, MarketRules> }) {
  const first = [...props.markets.keys()][0]!;
  const asked = new URLSearchParams(location.search).get("symbol") ?? "";
  const [symbol, setSymbol] = createSignal(props.markets.has(asked) ? asked : first);
  const [interval, setInterval] = createSignal("1m");
  const [link, setLink] = createSignal<Link>({ state: "connecting" });
  const [roundTrip, setRoundTrip] = createSignal<{ ms: number; at: number }>();
  const rules = (): MarketRules => props.markets.get(symbol())!;

  const streams = new MarketStreams({
    linkChanged: setLink,
    roundTrip: (ms) => setRoundTrip({ ms, at: Date.now() }),
    refused: (text) => tell("bad", `Market stream refused: ${text}`),
  });
  const book = createBook(streams, symbol);
  const tape = createTape(streams, symbol);
  const ticker = createTicker(streams, symbol);
  const candles = createCandles(streams, symbol, interval);
  const [ticket, setTicket] = createTicket();
  const account = createMemo(() => {
    const key = signer();
    return key && createAccount(key, symbol);
  });

  createEffect(() => {
    const last = ticker()?.last;
    const price = last === undefined ? "" : `${grouped(last, rules().priceDigits)} `;
    document.title = `${price}${symbol()} · Bursa`;
  });
  const choose = (name: string): void => {
    setSymbol(name);
    setTicket({ price: "", quantity: "", amount: "" });
    history.replaceState(null, "", `?symbol=${encodeURIComponent(name)}`);
  };
  return (
    <>
      <Header
        symbols={[...props.markets.keys()]}
        rules={rules()}
        choose={choose}
        ticker={ticker()}
        link={link()}
        roundTrip={roundTrip()}
        book={book().state}
        account={account()}
      />
      <main class="screen">
        <BookPanel
          rules={rules()}
          book={book()}
          last={tape()[0]}
          orders={account()?.orders()}
          pick={(price) => setTicket({ kind: "LIMIT", price })}
        />
        <ChartPanel rules={rules()} candles={candles()} interval={interval()} choose={setInterval} />
        <section class="panel ticket" aria-label="Order ticket">
          <Switch>
            <Match when={account()}>
              {(state) => (
                <TicketPanel
                  rules={rules()}
                  book={book()}
                  account={state()}
                  ticket={ticket}
                  change={setTicket}
                />
              )}
            </Match>
            <Match when={true}>
              <KeyForm />
            </Match>
          </Switch>
        </section>
        <TapePanel rules={rules()} trades={tape()} />
        <Activity account={account()} markets={props.markets} rules={rules()} />
      </main>
    </>
  );
}
