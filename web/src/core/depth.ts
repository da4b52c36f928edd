/**
 * The order book of one market, rebuilt from a snapshot and the stream of differences.
 *
 * Update ids count every change of the book without a gap. A difference covers the ids U to u; a snapshot stands at
 * id L. Differences up to L are old; the first one used must cover L + 1; each later one must start where the one
 * before it ended. Anything else means that a change was missed: the book is thrown away and synchronised anew.
 */

import { type Amount, ceilTo, floorTo, parse } from "./decimal.ts";

/** [price, quantity] as on the wire. */
export type WireLevel = readonly [string, string];

export interface DepthSnapshot {
  readonly lastUpdateId: number;
  readonly bids: readonly WireLevel[];
  readonly asks: readonly WireLevel[];
}

export interface DepthDifference {
  /** First and last update id covered. */
  readonly U: number;
  readonly u: number;
  readonly b: readonly WireLevel[];
  readonly a: readonly WireLevel[];
}

export interface Level {
  readonly price: Amount;
  readonly quantity: Amount;
}

/** A level and the sum of the quantities from the best price to it. */
export interface LadderRow extends Level {
  readonly total: Amount;
}

export type Outcome =
  /** Kept until the snapshot comes. */
  | "waiting"
  | "applied"
  /** Older than what the book already shows. */
  | "old"
  /** A change was missed; the book is empty again and waits for a new snapshot. */
  | "gap";

/** Differences kept while the snapshot is fetched: 100 s of the 100 ms stream. */
export const WAITING_MAX = 1_000;
/** Levels kept of a side; a snapshot has at most 1,000 and deeper ones arrive only as they change. */
export const LEVELS_MAX = 5_000;

export class DepthBook {
  private readonly bidSide = new Side((a, b) => a > b);
  private readonly askSide = new Side((a, b) => a < b);
  private waiting: DepthDifference[] = [];
  private last: number | undefined;
  private joined = false;

  /** Whether the book shows the market, rather than waiting for a snapshot. */
  get synchronised(): boolean {
    return this.last !== undefined;
  }

  /** The update id that the book stands at; undefined while it waits for a snapshot. */
  get lastUpdateId(): number | undefined {
    return this.last;
  }

  /** Best first. */
  get bids(): readonly Level[] {
    return this.bidSide.levels;
  }

  /** Best first. */
  get asks(): readonly Level[] {
    return this.askSide.levels;
  }

  /** Forgets everything and waits for a snapshot. */
  reset(): void {
    this.bidSide.levels = [];
    this.askSide.levels = [];
    this.waiting = [];
    this.last = undefined;
    this.joined = false;
  }

  /** Takes the next difference of the stream. */
  apply(difference: DepthDifference): Outcome {
    if (this.last === undefined) {
      if (this.waiting.length === WAITING_MAX) {
        this.waiting = [];
      }
      this.waiting.push(difference);
      return "waiting";
    }
    if (difference.u <= this.last) {
      return "old";
    }
    const next = this.last + 1;
    const follows = this.joined ? difference.U === next : difference.U <= next;
    if (!follows) {
      this.reset();
      this.waiting.push(difference);
      return "gap";
    }
    this.bidSide.merge(difference.b);
    this.askSide.merge(difference.a);
    this.last = difference.u;
    this.joined = true;
    return "applied";
  }

  /**
   * Takes a snapshot and applies what waited for it. Returns false when it is older than what waited: the stream
   * no longer holds the changes between the two, so another snapshot has to be fetched. What waited is kept for it.
   */
  load(snapshot: DepthSnapshot): boolean {
    const waited = this.waiting;
    this.reset();
    this.last = snapshot.lastUpdateId;
    this.bidSide.merge(snapshot.bids);
    this.askSide.merge(snapshot.asks);
    for (const difference of waited) {
      if (this.apply(difference) === "gap") {
        this.waiting = waited;
        return false;
      }
    }
    return true;
  }
}

/** One side of the book: levels in order, best first. */
class Side {
  levels: Level[] = [];

  /** `better(a, b)` says whether price a comes before price b. */
  constructor(private readonly better: (a: Amount, b: Amount) => boolean) {}

  merge(changes: readonly WireLevel[]): void {
    for (const [priceText, quantityText] of changes) {
      this.put(parse(priceText), parse(quantityText));
    }
    this.levels.length = Math.min(this.levels.length, LEVELS_MAX);
  }

  private put(price: Amount, quantity: Amount): void {
    const at = this.find(price);
    const found = this.levels[at]?.price === price ? 1 : 0;
    if (quantity === 0n) {
      this.levels.splice(at, found);
    } else {
      this.levels.splice(at, found, { price, quantity });
    }
  }

  /** Where `price` is, or would be. */
  private find(price: Amount): number {
    let low = 0;
    let high = this.levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.better(this.levels[middle]!.price, price)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

/**
 * The first `count` rows of a side for show, with levels merged into steps of `step`: bids into the step below,
 * asks into the step above, so that a row never looks better than what is there.
 */
export function ladder(side: "bids" | "asks", levels: readonly Level[], step: Amount, count: number): LadderRow[] {
  const round = side === "bids" ? floorTo : ceilTo;
  const rows: LadderRow[] = [];
  let total = 0n;
  for (const level of levels) {
    const price = round(level.price, step);
    const row = rows[rows.length - 1];
    total += level.quantity;
    if (row?.price === price) {
      rows[rows.length - 1] = { price, quantity: row.quantity + level.quantity, total };
    } else if (rows.length === count) {
      break;
    } else {
      rows.push({ price, quantity: level.quantity, total });
    }
  }
  return rows;
}
