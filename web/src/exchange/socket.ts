/** A WebSocket that comes back: reconnects with backoff, and gives up a connection that has gone silent. */

import { backoff } from "../core/backoff.ts";

const PING_EVERY_MS = 5_000;
const SILENCE_MAX_MS = 12_000;
/** A connection that lasted this long was a good one: the next loss is the first of its kind. */
const STEADY_MS = 10_000;

export type Link =
  | { readonly state: "connecting" }
  | { readonly state: "open" }
  /** `until` is the time of the next try, in ms since 1970. */
  | { readonly state: "waiting"; readonly until: number; readonly attempt: number };

export interface SocketUser {
  /** A new connection is open; nothing of an earlier one remains. */
  readonly opened: () => void;
  readonly received: (message: unknown) => void;
  readonly linkChanged: (link: Link) => void;
  /** A request that the server answers, so that a silent connection is a dead one. */
  readonly ping: () => object;
}

export class LastingSocket {
  private socket: WebSocket | undefined;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private connectedAt = 0;
  private heardAt = 0;
  private readonly beat: ReturnType<typeof setInterval>;
  private readonly online = (): void => this.hurry();

  /** `path` is on the origin of the page, such as "/stream". */
  constructor(
    private readonly path: string,
    private readonly user: SocketUser,
  ) {
    this.beat = setInterval(() => this.check(), PING_EVERY_MS);
    window.addEventListener("online", this.online);
    this.connect();
  }

  /** Sends now, or returns false when there is no connection. */
  send(message: object): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return false;
    }
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Drops the connection and opens another. */
  restart(): void {
    this.drop();
    this.later();
  }

  close(): void {
    clearInterval(this.beat);
    clearTimeout(this.retry);
    window.removeEventListener("online", this.online);
    this.drop();
  }

  private connect(): void {
    const url = new URL(this.path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.connectedAt = this.heardAt = Date.now();
    this.user.linkChanged({ state: "connecting" });
    socket.onopen = () => {
      this.user.linkChanged({ state: "open" });
      this.user.opened();
    };
    socket.onmessage = ({ data }: MessageEvent<string>) => {
      this.heardAt = Date.now();
      this.user.received(JSON.parse(data));
    };
    socket.onclose = () => this.later();
  }

  /** Forgets the connection, so that nothing it still delivers is taken for news. */
  private drop(): void {
    if (this.socket) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket.close();
      this.socket = undefined;
    }
  }

  private later(): void {
    this.socket = undefined;
    this.attempt = Date.now() - this.connectedAt > STEADY_MS ? 1 : this.attempt + 1;
    const wait = backoff(this.attempt, Math.random());
    this.user.linkChanged({ state: "waiting", until: Date.now() + wait, attempt: this.attempt });
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), wait);
  }

  private hurry(): void {
    if (!this.socket) {
      clearTimeout(this.retry);
      this.connect();
    }
  }

  private check(): void {
    if (!this.socket) {
      return;
    }
    if (Date.now() - this.heardAt > SILENCE_MAX_MS) {
      this.restart();
    } else {
      this.send(this.user.ping());
    }
  }
}
