const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/**
 * How long to wait before try number `attempt` (from 1): doubling from 0.5 s to 30 s, less up to half by chance, so
 * that pages that lost the same server do not all return at once. `random` is in [0, 1). Milliseconds.
 */
export function backoff(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return longest * (1 - random / 2);
}
