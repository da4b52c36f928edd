/** The user's open orders, fills and balances. */

import { createMemo, createSignal, For, type JSX, Match, Show, Switch } from "solid-js";

import { type Amount, exact, grouped } from "../core/decimal.ts";
import type { MarketRules } from "../core/order.ts";
import type { AccountState, OpenOrder } from "../state/account.ts";
import { when } from "../state/time.ts";
import { cancel, cancelAll } from "../state/trading.ts";

const ORDERS_SHOWN_MAX = 200;
const KINDS: Readonly<Record<string, string>> = { LIMIT: "Limit", LIMIT_MAKER: "Post only", MARKET: "Market" };

type Tab = "orders" | "fills" | "balances";

interface Props {
  readonly account: AccountState | undefined;
  readonly markets: ReadonlyMap<string, MarketRules>;
  readonly rules: MarketRules;
}

export function Activity(props: Props) {
  const [tab, setTab] = createSignal<Tab>("orders");
  const count = (): string => (props.account?.loaded() ? ` (${props.account.orders().size})` : "");
  const tabs = (): readonly (readonly [Tab, string])[] => [
    ["orders", `Open orders${count()}`],
    ["fills", "My trades"],
    ["balances", "Balances"],
  ];
  const move = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = tabs()[tabs().findIndex(([name]) => name === tab()) + step];
    if (step !== 0 && next) {
      setTab(next[0]);
      event.currentTarget.querySelector<HTMLElement>("[aria-selected=true]")?.focus();
    }
  };
  return (
    <section class="panel activity" aria-label="Your account">
      <div class="title">
        <div class="choices tabs" role="tablist" aria-label="Your account" onKeyDown={move}>
          <For each={["orders", "fills", "balances"] as const}>
            {(name, index) => (
              <button
                type="button"
                role="tab"
                id={`tab-${name}`}
                aria-controls="tab-panel"
                aria-selected={tab() === name}
                tabindex={tab() === name ? 0 : -1}
                onClick={() => setTab(name)}
              >
                {tabs()[index()]![1]}
              </button>
            )}
          </For>
        </div>
        <Show when={tab() === "orders" && props.account}>{(account) => <CancelAll account={account()} />}</Show>
      </div>
      <div class="scroll" id="tab-panel" role="tabpanel" tabindex="0" aria-labelledby={`tab-${tab()}`}>
        <Show when={props.account} fallback={<p class="empty">Enter an API key to see your account.</p>}>
          {(account) => (
            <Switch>
              <Match when={tab() === "orders"}>
                <Orders account={account()} markets={props.markets} />
              </Match>
              <Match when={tab() === "fills"}>
                <Fills account={account()} rules={props.rules} />
              </Match>
              <Match when={tab() === "balances"}>
                <Balances account={account()} />
              </Match>
            </Switch>
          )}
        </Show>
      </div>
    </section>
  );
}

/** Asks once more before it acts. */
function CancelAll(props: { account: AccountState }) {
  const [asked, setAsked] = createSignal(false);
  const symbols = (): string[] => [...new Set([...props.account.orders().values()].map(({ symbol }) => symbol))];
  const act = (): void => {
    setAsked(!asked());
    if (!asked()) {
      void cancelAll(props.account.signer, symbols());
    }
  };
  return (
    <button
      type="button"
      class="plain"
      disabled={symbols().length === 0}
      onClick={act}
      onBlur={() => setAsked(false)}
    >
      {asked() ? `Cancel all ${props.account.orders().size}: sure?` : "Cancel all"}
    </button>
  );
}

function Table(props: { heads: readonly string[]; empty: string | undefined; children: JSX.Element }) {
  return (
    <Show when={props.empty === undefined} fallback={<p class="empty">{props.empty}</p>}>
      <table>
        <thead>
          <tr>
            <For each={props.heads}>{(head) => <th scope="col">{head}</th>}</For>
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </Show>
  );
}

function Orders(props: { account: AccountState; markets: ReadonlyMap<string, MarketRules> }) {
  // Rows are known by order id, so that a fill does not take the button from under a click.
  const ids = createMemo(() => [...props.account.orders().keys()].sort((a, b) => b - a).slice(0, ORDERS_SHOWN_MAX));
  const empty = (): string | undefined => {
    if (!props.account.loaded()) {
      return "Reading your account…";
    }
    return ids().length === 0 ? "No open order" : undefined;
  };
  return (
    <Table heads={["Time", "Market", "Side", "Kind", "Price", "Quantity", "Filled", ""]} empty={empty()}>
      <For each={ids()}>
        {(id) => (
          <Show when={props.account.orders().get(id)}>
            {(order) => (
              <OrderRow order={order()} rules={props.markets.get(order().symbol)} account={props.account} />
            )}
          </Show>
        )}
      </For>
    </Table>
  );
}

function OrderRow(props: { order: OpenOrder; rules: MarketRules | undefined; account: AccountState }) {
  const [busy, setBusy] = createSignal(false);
  const act = async (): Promise<void> => {
    setBusy(true);
    await cancel(props.account.signer, props.order.symbol, props.order.id);
    setBusy(false);
  };
  const quantity = (amount: Amount): string => grouped(amount, props.rules?.quantityDigits ?? 8);
  return (
    <tr>
      <td>{when(props.order.time)}</td>
      <td>{props.order.symbol}</td>
      <td class={props.order.side === "BUY" ? "up" : "down"}>{props.order.side === "BUY" ? "Buy" : "Sell"}</td>
      <td>{KINDS[props.order.type] ?? props.order.type}</td>
      <td>{grouped(props.order.price, props.rules?.priceDigits ?? 8)}</td>
      <td>{quantity(props.order.quantity)}</td>
      <td>{quantity(props.order.filled)}</td>
      <td>
        <button
          type="button"
          class="plain"
          disabled={busy()}
          aria-label={`Cancel order ${props.order.id}`}
          onClick={() => void act()}
        >
          Cancel
        </button>
      </td>
    </tr>
  );
}

function Fills(props: { account: AccountState; rules: MarketRules }) {
  const heads = (): string[] => ["Time", "Side", "Price", "Quantity", "Fee", "Role"];
  const empty = (): string | undefined =>
    props.account.fills().length === 0 ? `No trade of yours in ${props.rules.symbol}` : undefined;
  return (
    <Table heads={heads()} empty={empty()}>
      <For each={props.account.fills()}>
        {(fill) => (
          <tr>
            <td>{when(fill.time)}</td>
            <td class={fill.side === "BUY" ? "up" : "down"}>{fill.side === "BUY" ? "Buy" : "Sell"}</td>
            <td>{grouped(fill.price, props.rules.priceDigits)}</td>
            <td>{grouped(fill.quantity, props.rules.quantityDigits)}</td>
            <td>
              {exact(fill.fee, 2)} {fill.feeAsset}
            </td>
            <td>{fill.maker ? "Maker" : "Taker"}</td>
          </tr>
        )}
      </For>
    </Table>
  );
}

function Balances(props: { account: AccountState }) {
  const held = createMemo(() =>
    [...props.account.balances()]
      .filter(([, { free, locked }]) => free + locked > 0n)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  const empty = (): string | undefined => {
    if (!props.account.loaded()) {
      return "Reading your account…";
    }
    return held().length === 0 ? "Nothing in the account" : undefined;
  };
  return (
    <Table heads={["Asset", "Free", "In orders", "Total"]} empty={empty()}>
      <For each={held()}>
        {([asset, { free, locked }]) => (
          <tr>
            <td>{asset}</td>
            <td>{exact(free, 2)}</td>
            <td>{exact(locked, 2)}</td>
            <td>{exact(free + locked, 2)}</td>
          </tr>
        )}
      </For>
    </Table>
  );
}
