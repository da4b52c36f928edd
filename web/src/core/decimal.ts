/**
 * Exact decimal arithmetic for money: an amount is a bigint in units of 10^-18, never a float.
 *
 * Every number of the exchange has at most 18 decimals, so parsing, sums and differences are exact.
 */

export type Amount = bigint;

export const DECIMALS_MAX = 18;
export const ONE: Amount = 10n ** BigInt(DECIMALS_MAX);
const DIGITS_MAX = 20;
const PLAIN = new RegExp(`^(\\d{1,${DIGITS_MAX}})(?:\\.(\\d{0,${DECIMALS_MAX}}))?$`);

/** Text that is not a plain decimal number. */
export class DecimalError extends Error {}

/** Reads a non-negative decimal number such as "0.05". Throws DecimalError for anything else. */
export function parse(text: string): Amount {
  const match = PLAIN.exec(text.trim());
  if (!match) {
    const allowed = `up to ${DIGITS_MAX} digits, a point and up to ${DECIMALS_MAX} decimals`;
    throw new DecimalError(`"${text}" is not a number; allowed: ${allowed}`);
  }
  return BigInt(match[1]! + (match[2] ?? "").padEnd(DECIMALS_MAX, "0"));
}

/** Reads a number that may carry a sign, such as a price change in percent. */
export function parseSigned(text: string): Amount {
  return text.startsWith("-") ? -parse(text.slice(1)) : parse(text);
}

/** The shortest exact text, as the wire wants it: "0.05". */
export function plain(amount: Amount): string {
  return fixed(amount, DECIMALS_MAX).replace(/\.?0+$/, "");
}

/** Text with exactly `digits` decimals (0 to 18); what lies beyond them is cut off, not rounded. */
export function fixed(amount: Amount, digits: number): string {
  const size = amount < 0n ? -amount : amount;
  const all = size.toString().padStart(DECIMALS_MAX + 1, "0");
  const whole = all.slice(0, -DECIMALS_MAX);
  const fraction = all.slice(-DECIMALS_MAX).slice(0, digits);
  return (amount < 0n ? "-" : "") + whole + (digits > 0 ? `.${fraction}` : "");
}

/** As `fixed`, with a comma between thousands, for people: "64,000.50". */
export function grouped(amount: Amount, digits: number): string {
  const [whole = "", fraction] = fixed(amount, digits).split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
}

/** Every decimal that is not a trailing zero, for people, but at least `least` of them: "64,000.50". */
export function exact(amount: Amount, least: number): string {
  return grouped(amount, Math.max(least, decimalsOf(amount)));
}

/** a · b; exact while the two have at most 18 decimals together, as a price and a quantity do, else cut off. */
export function times(a: Amount, b: Amount): Amount {
  return (a * b) / ONE;
}

/** a / b, cut off after 18 decimals; 0 when b is 0. */
export function over(a: Amount, b: Amount): Amount {
  return b === 0n ? 0n : (a * ONE) / b;
}

/** The largest multiple of `step` that is at most `amount` (both non-negative, step more than 0). */
export function floorTo(amount: Amount, step: Amount): Amount {
  return amount - (amount % step);
}

/** The smallest multiple of `step` that is at least `amount`. */
export function ceilTo(amount: Amount, step: Amount): Amount {
  return floorTo(amount + step - 1n, step);
}

/** How many decimals `amount` has: 2 for "0.01", 0 for "1000". */
export function decimalsOf(amount: Amount): number {
  return plain(amount).split(".")[1]?.length ?? 0;
}

/** For pixels and charts only: a float near `amount`. */
export function approximate(amount: Amount): number {
  return Number(amount) / 1e18;
}
