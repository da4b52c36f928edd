import { createSignal } from "solid-js";

export interface Notice {
  readonly id: number;
  readonly tone: "good" | "bad" | "plain";
  readonly text: string;
}

const SHOWN_MAX = 4;
const SHOWN_MS = { good: 6_000, plain: 6_000, bad: 15_000 };

const [notices, setNotices] = createSignal<readonly Notice[]>([]);
let lastId = 0;

export { notices };

/** Tells the user something, for some seconds; the same text again replaces itself. */
export function tell(tone: Notice["tone"], text: string): void {
  const id = ++lastId;
  setNotices((shown) => [...shown.filter((notice) => notice.text !== text), { id, tone, text }].slice(-SHOWN_MAX));
  setTimeout(() => dismiss(id), SHOWN_MS[tone]);
}

export function dismiss(id: number): void {
  setNotices((shown) => shown.filter((notice) => notice.id !== id));
}

/** Tells what went wrong: `doing` is a phrase such as "Order not placed". */
export function tellFailure(doing: string, error: unknown): void {
  tell("bad", `${doing}: ${error instanceof Error ? error.message : String(error)}`);
}
