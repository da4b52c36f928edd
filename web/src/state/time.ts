import { type Accessor, createSignal } from "solid-js";

/** Time of day of this machine, in ms since 1970, renewed every second. */
export const now: Accessor<number> = (() => {
  const [time, setTime] = createSignal(Date.now());
  setInterval(() => setTime(Date.now()), 1_000);
  return time;
})();

/** Resolves after `ms` milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** "14:05:09" in local time. */
export function clock(time: number): string {
  return new Date(time).toLocaleTimeString("en-GB");
}

/** "14:05:09" for a time of today, "22 Nov 14:05" for an earlier one. */
export function when(time: number): string {
  const date = new Date(time);
  if (date.toDateString() === new Date().toDateString()) {
    return clock(time);
  }
  const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return `${day} ${clock(time).slice(0, 5)}`;
}
