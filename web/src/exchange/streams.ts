/** The public market streams, over one connection to `/stream`. */

import { LastingSocket, type Link } from "./socket.ts";

/** The exchange takes 5 messages a second from a connection; two go to a change of streams, one to a ping. */
const CHANGE_EVERY_MS = 1_000;
const PING_ID = 1;

export interface Follower {
  /**
   * From now on every event of the stream is told; whatever came before, on this connection or an earlier one, may
   * have missed some. Called again after each reconnect.
   */
  readonly started: () => void;
  readonly event: (data: unknown) => void;
  /** The connection is gone: nothing is told until the stream has started again. */
  readonly lost?: () => void;
}

export interface StreamsUser {
  readonly linkChanged: (link: Link) => void;
  /** Time from a request to its answer, in ms. */
  readonly roundTrip: (ms: number) => void;
  readonly refused: (text: string) => void;
}

interface Message {
  readonly stream?: string;
  readonly data?: unknown;
  readonly id?: number | string | null;
  readonly error?: { readonly code: number; readonly msg: string };
}

export class MarketStreams {
  private readonly socket: LastingSocket;
  private readonly followers = new Map<string, Follower>();
  /** Asked for on this connection, and those of them that were granted. */
  private asked = new Set<string>();
  private granted = new Set<string>();
  private requests = new Map<number, readonly string[]>();
  private nextId = PING_ID + 1;
  private change: ReturnType<typeof setTimeout> | undefined;
  private changedAt = 0;
  private pingedAt: number | undefined;

  constructor(private readonly user: StreamsUser) {
    this.socket = new LastingSocket("/stream", {
      opened: () => this.opened(),
      received: (message) => this.received(message as Message),
      linkChanged: (link) => this.linkChanged(link),
      ping: () => this.ping(),
    });
  }

  /** Tells `follower` all of a stream such as "btcusdt@trade", until the returned function is called. */
  follow(stream: string, follower: Follower): () => void {
    this.followers.set(stream, follower);
    if (this.granted.has(stream)) {
      queueMicrotask(follower.started);
    }
    this.reconcileSoon();
    return () => {
      if (this.followers.get(stream) === follower) {
        this.followers.delete(stream);
        this.reconcileSoon();
      }
    };
  }

  private opened(): void {
    this.asked.clear();
    this.granted.clear();
    this.requests.clear();
    this.pingedAt = undefined;
    this.reconcile();
    this.socket.send(this.ping());
  }

  private linkChanged(link: Link): void {
    if (link.state === "waiting") {
      this.followers.forEach((follower) => follower.lost?.());
    }
    this.user.linkChanged(link);
  }

  private reconcileSoon(): void {
    clearTimeout(this.change);
    this.change = setTimeout(() => this.reconcile(), Math.max(0, this.changedAt + CHANGE_EVERY_MS - Date.now()));
  }

  /** Asks for what is followed and no longer for what is not. */
  private reconcile(): void {
    const gone = [...this.asked].filter((stream) => !this.followers.has(stream));
    const come = [...this.followers.keys()].filter((stream) => !this.asked.has(stream));
    if (gone.length > 0 && this.socket.send({ method: "UNSUBSCRIBE", params: gone, id: this.nextId++ })) {
      gone.forEach((stream) => this.asked.delete(stream) && this.granted.delete(stream));
    }
    if (come.length > 0 && this.socket.send({ method: "SUBSCRIBE", params: come, id: this.nextId })) {
      come.forEach((stream) => this.asked.add(stream));
      this.requests.set(this.nextId++, come);
    }
    this.changedAt = Date.now();
  }

  private ping(): object {
    this.pingedAt ??= performance.now();
    return { method: "LIST_SUBSCRIPTIONS", id: PING_ID };
  }

  private received({ stream, data, id, error }: Message): void {
    if (stream !== undefined) {
      if (this.granted.has(stream)) {
        this.followers.get(stream)?.event(data);
      }
    } else if (error) {
      this.user.refused(`${error.msg} (code ${error.code})`);
    } else if (id === PING_ID && this.pingedAt !== undefined) {
      this.user.roundTrip(performance.now() - this.pingedAt);
      this.pingedAt = undefined;
    } else if (typeof id === "number") {
      this.grant(this.requests.get(id) ?? []);
      this.requests.delete(id);
    }
  }

  private grant(streams: readonly string[]): void {
    for (const stream of streams.filter((name) => this.asked.has(name))) {
      this.granted.add(stream);
      this.followers.get(stream)?.started();
    }
  }
}
