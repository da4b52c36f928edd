/** What happens to the account, as it happens: its user data stream over `/ws-api/v3`. */

import { LastingSocket, type Link } from "./socket.ts";
import { CLOCK_ERROR, type Signer } from "./rest.ts";
import type { UserEvent } from "./wire.ts";

const SUBSCRIBE_ID = "subscribe";
const PING_ID = "ping";
/** Not authorized, bad signature, malformed key, unknown or disabled key: trying again would not help. */
const KEY_ERRORS: readonly number[] = [-1002, -1022, -2014, -2015];

interface Message {
  readonly id?: string;
  readonly event?: UserEvent;
  readonly error?: { readonly code: number; readonly msg: string };
}

export interface UserDataUser {
  /** From now on every change is told: what is read of the account after this misses nothing. */
  readonly subscribed: () => void;
  readonly event: (event: UserEvent) => void;
  readonly linkChanged: (link: Link) => void;
  /** The key is not accepted; no further try is made with it. */
  readonly refused: (text: string) => void;
}

export class UserData {
  private readonly socket: LastingSocket;

  constructor(
    private readonly signer: Signer,
    private readonly user: UserDataUser,
  ) {
    this.socket = new LastingSocket("/ws-api/v3", {
      opened: () => void this.subscribe(),
      received: (message) => this.received(message as Message),
      linkChanged: user.linkChanged,
      ping: () => ({ id: PING_ID, method: "ping" }),
    });
  }

  close(): void {
    this.socket.close();
  }

  private async subscribe(): Promise<void> {
    try {
      const params = await this.signer.signed({});
      this.socket.send({ id: SUBSCRIBE_ID, method: "userDataStream.subscribe.signature", params });
    } catch {
      this.socket.restart(); // the clock could not be read; the next connection tries again
    }
  }

  private received(message: Message): void {
    if (message.event) {
      if (message.event.e === "eventStreamTerminated") {
        this.socket.restart();
      } else {
        this.user.event(message.event);
      }
    } else if (message.id === SUBSCRIBE_ID) {
      this.answered(message);
    }
  }

  private answered({ error }: Message): void {
    if (!error) {
      this.user.subscribed();
    } else if (KEY_ERRORS.includes(error.code)) {
      this.socket.close();
      this.user.refused(`${error.msg} (code ${error.code})`);
    } else {
      if (error.code === CLOCK_ERROR) {
        this.signer.resetClock();
      }
      this.socket.restart();
    }
  }
}
