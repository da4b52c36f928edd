/** The order ticket. */

import { createEffect, createMemo, createSignal, For, type JSX, on, Show } from "solid-js";
import type { SetStoreFunction } from "solid-js/store";

import { type Amount, DecimalError, exact, floorTo, over, parse, plain, times } from "../core/decimal.ts";
import {
  type Field,
  type MarketRules,
  SIDES,
  type Side,
  type Ticket,
  TicketError,
  TIMES_IN_FORCE,
  type TimeInForce,
} from "../core/order.ts";
import { shareOf } from "../core/outcome.ts";
import type { AccountState } from "../state/account.ts";
import type { BookView } from "../state/market.ts";
import { place } from "../state/trading.ts";

const SHARES = [25, 50, 75, 100];

interface Props {
  readonly rules: MarketRules;
  readonly book: BookView;
  readonly account: AccountState;
  readonly ticket: Ticket;
  readonly change: SetStoreFunction<Ticket>;
}

export function TicketPanel(props: Props) {
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<TicketError>();
  const buying = (): boolean => props.ticket.side === "BUY";
  const spent = (): string => (buying() ? props.rules.quote : props.rules.base);
  const free = (): Amount => props.account.balances().get(spent())?.free ?? 0n;

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy()) {
      return;
    }
    const { elements } = event.currentTarget as HTMLFormElement; // gone from the event after the first wait
    setBusy(true);
    try {
      await place(props.account.signer, props.ticket, props.rules);
    } catch (error) {
      if (!(error instanceof TicketError)) {
        throw error;
      }
      setProblem(error);
      (elements.namedItem(error.field) as HTMLElement | null)?.focus();
    } finally {
      setBusy(false);
    }
  };
  const edit = (changes: Partial<Ticket>): void => props.change(changes);
  const written = (): unknown[] => [props.rules.symbol, ...Object.values(props.ticket)];
  createEffect(on(written, () => setProblem(undefined), { defer: true }));
  return (
    <form class="form" onSubmit={(event) => void submit(event)} novalidate>
      <div class="choices sides" role="group" aria-label="Side">
        <For each={SIDES}>
          {(side: Side) => (
            <button
              type="button"
              class={side.toLowerCase()}
              aria-pressed={props.ticket.side === side}
              onClick={() => edit({ side })}
            >
              {side === "BUY" ? "Buy" : "Sell"}
            </button>
          )}
        </For>
      </div>
      <div class="choices" role="group" aria-label="Kind of order">
        <button type="button" aria-pressed={props.ticket.kind === "LIMIT"} onClick={() => edit({ kind: "LIMIT" })}>
          Limit
        </button>
        <button type="button" aria-pressed={props.ticket.kind === "MARKET"} onClick={() => edit({ kind: "MARKET" })}>
          Market
        </button>
      </div>
      <Show when={props.ticket.kind === "LIMIT"} fallback={<MarketFields {...props} edit={edit} problem={problem()} />}>
        <LimitFields {...props} edit={edit} problem={problem()} />
      </Show>
      <Shares {...props} edit={edit} free={free()} />
      <p class="line">
        <span class="muted">Available</span>
        <span class="figure">
          {props.account.loaded() ? exact(free(), 2) : "–"} {spent()}
        </span>
      </p>
      <Show when={problem()}>
        {(error) => (
          <p class="problem" id="problem" role="alert">
            {error().message}
          </p>
        )}
      </Show>
      <Show when={props.account.refusal()}>{(text) => <p class="problem">Key refused: {text()}</p>}</Show>
      {/* Not disabled, which would take the focus away from it. */}
      <button type="submit" class={`send ${props.ticket.side.toLowerCase()}`} aria-disabled={busy()}>
        {busy() ? "Sending…" : `${buying() ? "Buy" : "Sell"} ${props.rules.base}`}
      </button>
    </form>
  );
}

interface FieldsProps extends Props {
  readonly edit: (changes: Partial<Ticket>) => void;
  readonly problem: TicketError | undefined;
}

function LimitFields(props: FieldsProps) {
  const total = (): string => {
    const [price, quantity] = [read(props.ticket.price), read(props.ticket.quantity)];
    return price && quantity ? exact(times(price, quantity), 2) : "–";
  };
  return (
    <>
      <NumberField
        field="price"
        label="Price"
        unit={props.rules.quote}
        step={props.rules.price.step}
        value={props.ticket.price}
        problem={props.problem}
        input={(price) => props.edit({ price })}
      />
      <NumberField
        field="quantity"
        label="Quantity"
        unit={props.rules.base}
        step={props.rules.quantity.step}
        value={props.ticket.quantity}
        problem={props.problem}
        input={(quantity) => props.edit({ quantity })}
      />
      <p class="line">
        <span class="muted">Total</span>
        <span class="figure">
          {total()} {props.rules.quote}
        </span>
      </p>
      <div class="line">
        <label class="check">
          <input
            type="checkbox"
            checked={props.ticket.postOnly}
            onChange={(event) => props.edit({ postOnly: event.currentTarget.checked })}
          />
          <span>Post only</span>
        </label>
        <select
          aria-label="Time in force"
          disabled={props.ticket.postOnly}
          value={props.ticket.timeInForce}
          onChange={(event) => props.edit({ timeInForce: event.currentTarget.value as TimeInForce })}
        >
          <For each={Object.entries(TIMES_IN_FORCE)}>{([value, text]) => <option value={value}>{text}</option>}</For>
        </select>
      </div>
    </>
  );
}

function MarketFields(props: FieldsProps) {
  const inBase = (): boolean => props.ticket.measure === "base";
  return (
    <>
      <div class="choices" role="group" aria-label="Measure of the order">
        <button type="button" aria-pressed={inBase()} onClick={() => props.edit({ measure: "base" })}>
          Quantity, {props.rules.base}
        </button>
        <button type="button" aria-pressed={!inBase()} onClick={() => props.edit({ measure: "quote" })}>
          Amount, {props.rules.quote}
        </button>
      </div>
      <Show
        when={inBase()}
        fallback={
          <NumberField
            field="amount"
            label={props.ticket.side === "BUY" ? "Amount to spend" : "Amount to receive"}
            unit={props.rules.quote}
            step={props.rules.price.step}
            value={props.ticket.amount}
            problem={props.problem}
            input={(amount) => props.edit({ amount })}
          />
        }
      >
        <NumberField
          field="quantity"
          label="Quantity"
          unit={props.rules.base}
          step={props.rules.marketQuantity.step}
          value={props.ticket.quantity}
          problem={props.problem}
          input={(quantity) => props.edit({ quantity })}
        />
      </Show>
    </>
  );
}

/** Fills in a share of what is free, as far as it can be told from the ticket and the book. */
function Shares(props: Props & { edit: FieldsProps["edit"]; free: Amount }) {
  const fill = createMemo<((percent: number) => Partial<Ticket>) | undefined>(() => {
    const { side, kind, measure } = props.ticket;
    const { quantity, quoteDigits } = props.rules;
    const free = props.free;
    if (kind === "MARKET" && measure === "quote") {
      const cent = 10n ** BigInt(18 - Math.min(quoteDigits, 2));
      const best = props.book.bids[0]?.price;
      const worth = side === "BUY" ? free : best && times(free, best);
      return worth === undefined ? undefined : (percent) => ({ amount: shareOf(worth, percent, cent) });
    }
    const price = kind === "LIMIT" ? read(props.ticket.price) : props.book.asks[0]?.price;
    const most = side === "SELL" ? free : price && floorTo(over(free, price), quantity.step);
    return most === undefined ? undefined : (percent) => ({ quantity: shareOf(most, percent, quantity.step) });
  });
  return (
    <div class="choices" role="group" aria-label="Share of what is available">
      <For each={SHARES}>
        {(percent) => (
          <button
            type="button"
            disabled={!fill()}
            onClick={() => {
              const changes = fill()?.(percent);
              if (changes) {
                props.edit(changes);
              }
            }}
          >
            {percent} %
          </button>
        )}
      </For>
    </div>
  );
}

interface NumberFieldProps {
  readonly field: Field;
  readonly label: string;
  readonly unit: string;
  readonly step: Amount;
  readonly value: string;
  readonly problem: TicketError | undefined;
  readonly input: (text: string) => void;
}

/** A decimal number as text, so that it stays exact; the up and down keys move it by a step. */
function NumberField(props: NumberFieldProps): JSX.Element {
  const wrong = (): boolean => props.problem?.field === props.field;
  const nudge = (event: KeyboardEvent): void => {
    const value = read(props.value || "0");
    if (value === undefined || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) {
      return;
    }
    event.preventDefault();
    const next = event.key === "ArrowUp" ? value + props.step : value - props.step;
    props.input(plain(next > 0n ? next : 0n));
  };
  return (
    <label class="field" classList={{ wrong: wrong() }}>
      <span>{props.label}</span>
      <input
        name={props.field}
        inputmode="decimal"
        autocomplete="off"
        value={props.value}
        aria-invalid={wrong()}
        aria-describedby={wrong() ? "problem" : undefined}
        onInput={(event) => props.input(event.currentTarget.value)}
        onKeyDown={nudge}
      />
      <span class="unit">{props.unit}</span>
    </label>
  );
}

/** The number in a field; undefined while it is not one. */
function read(text: string): Amount | undefined {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof DecimalError) {
      return undefined;
    }
    throw error;
  }
}
