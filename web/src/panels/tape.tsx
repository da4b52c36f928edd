/** The latest trades, newest first. */

import { For } from "solid-js";

import { grouped } from "../core/decimal.ts";
import type { MarketRules } from "../core/order.ts";
import type { TapeTrade } from "../state/market.ts";
import { clock } from "../state/time.ts";

export function TapePanel(props: { rules: MarketRules; trades: readonly TapeTrade[] }) {
  return (
    <section class="panel tape" aria-label="Trades">
      <div class="title">
        <h2>Trades</h2>
      </div>
      <div class="row head" aria-hidden="true">
        <span>Price, {props.rules.quote}</span>
        <span>Quantity, {props.rules.base}</span>
        <span class="wide">Time</span>
      </div>
      <ol class="rows">
        <For each={props.trades} fallback={<li class="empty">No trade yet</li>}>
          {(trade) => (
            <li class="row">
              <span class={trade.up ? "price up" : "price down"}>{grouped(trade.price, props.rules.priceDigits)}</span>
              <span>{grouped(trade.quantity, props.rules.quantityDigits)}</span>
              <time class="wide">{clock(trade.time)}</time>
            </li>
          )}
        </For>
      </ol>
    </section>
  );
}
