/** The ladder: asks above, bids below, each with the sum from the best price on; a click takes a price. */

import { createMemo, createSignal, For, Index, Show } from "solid-js";

import { type Amount, approximate, ceilTo, decimalsOf, floorTo, grouped, plain } from "../core/decimal.ts";
import { ladder, type LadderRow } from "../core/depth.ts";
import type { MarketRules } from "../core/order.ts";
import type { OpenOrder } from "../state/account.ts";
import type { BookView, TapeTrade } from "../state/market.ts";

const ROWS = 16;
const STEPS = [1n, 10n, 100n, 1_000n, 10_000n];

interface Props {
  readonly rules: MarketRules;
  readonly book: BookView;
  readonly last: TapeTrade | undefined;
  readonly orders: ReadonlyMap<number, OpenOrder> | undefined;
  readonly pick: (price: string) => void;
}

export function BookPanel(props: Props) {
  const [factor, setFactor] = createSignal(0);
  const step = (): Amount => props.rules.price.step * STEPS[factor()]!;
  const bids = createMemo(() => ladder("bids", props.book.bids, step(), ROWS));
  const asks = createMemo(() => ladder("asks", props.book.asks, step(), ROWS));
  const deepest = (): Amount => {
    const [bid, ask] = [bids().at(-1)?.total ?? 0n, asks().at(-1)?.total ?? 0n];
    return bid > ask ? bid : ask;
  };
  const mine = createMemo(() => {
    const open = [...(props.orders?.values() ?? [])].filter(({ symbol }) => symbol === props.rules.symbol);
    return new Set(open.map(({ side, price }) => (side === "BUY" ? floorTo : ceilTo)(price, step())));
  });
  const spread = (): string => {
    const [bid, ask] = [props.book.bids[0], props.book.asks[0]];
    return bid && ask ? grouped(ask.price - bid.price, props.rules.priceDigits) : "–";
  };
  const shared = (): Omit<RowsProps, "side" | "rows"> => ({
    rules: props.rules,
    priceDigits: decimalsOf(step()),
    deepest: deepest(),
    mine: mine(),
    pick: props.pick,
  });
  return (
    <section class="panel book" classList={{ unsure: props.book.state !== "live" }} aria-label="Order book">
      <div class="title">
        <h2>Book</h2>
        <Show when={props.book.state === "gap"}>
          <span class="badge warn">Gap: resynchronising</span>
        </Show>
        <select
          aria-label="Price step of the book"
          value={factor()}
          onChange={(event) => setFactor(Number(event.currentTarget.value))}
        >
          <For each={STEPS}>{(times, index) => <option value={index()}>{label(props.rules, times)}</option>}</For>
        </select>
      </div>
      <div class="row head" aria-hidden="true">
        <span>Price, {props.rules.quote}</span>
        <span>Quantity, {props.rules.base}</span>
        <span class="wide">Sum</span>
      </div>
      <Rows side="asks" rows={asks()} {...shared()} />
      <div class="middle">
        <strong class={props.last ? (props.last.up ? "up" : "down") : ""}>
          {props.last ? grouped(props.last.price, props.rules.priceDigits) : "–"}
        </strong>
        <span class="muted">Spread {spread()}</span>
      </div>
      <Rows side="bids" rows={bids()} {...shared()} />
    </section>
  );
}

function label(rules: MarketRules, times: bigint): string {
  const step = rules.price.step * times;
  return grouped(step, decimalsOf(step));
}

interface RowsProps {
  readonly side: "bids" | "asks";
  readonly rows: readonly LadderRow[];
  readonly rules: MarketRules;
  readonly priceDigits: number;
  /** The largest sum of either side: a full bar. */
  readonly deepest: Amount;
  readonly mine: ReadonlySet<Amount>;
  readonly pick: (price: string) => void;
}

/** Best price first. Its row can be reached with Tab, the others from it with the arrow keys. */
function Rows(props: RowsProps) {
  const name = (): string => (props.side === "bids" ? "Bid" : "Ask");
  const move = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const down = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const step = props.side === "bids" ? down : -down;
    const rows = [...event.currentTarget.querySelectorAll("button")];
    const at = rows.indexOf(document.activeElement as HTMLButtonElement);
    const next = rows[at + step];
    if (step !== 0 && next && next.offsetLeft === rows[at]?.offsetLeft) {
      event.preventDefault();
      next.focus();
    }
  };
  return (
    <div class={`rows ${props.side}`} role="group" aria-label={`${name()}s`} onKeyDown={move}>
      <Index each={props.rows}>
        {(row, index) => {
          const price = (): string => grouped(row().price, props.priceDigits);
          const quantity = (): string => grouped(row().quantity, props.rules.quantityDigits);
          const share = (): number => approximate((row().total * 10n ** 18n) / (props.deepest || 1n));
          return (
            <button
              type="button"
              class="row"
              classList={{ mine: props.mine.has(row().price) }}
              tabindex={index === 0 ? 0 : -1}
              aria-label={`${name()} ${price()}, quantity ${quantity()}: use this price`}
              onClick={() => props.pick(plain(row().price))}
            >
              <span class="bar" style={{ transform: `scaleX(${share()})` }} />
              <span class="price">{price()}</span>
              <span>{quantity()}</span>
              <span class="wide">{grouped(row().total, props.rules.quantityDigits)}</span>
            </button>
          );
        }}
      </Index>
    </div>
  );
}
