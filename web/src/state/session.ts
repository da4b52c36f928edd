/** The API key that the user gave this tab: in its session storage and nowhere else, gone when the tab is closed. */

import { createSignal } from "solid-js";

import { Signer } from "../exchange/rest.ts";
import { tellFailure } from "./notices.ts";

const KEY = "bursa.api_key";
const SECRET = "bursa.secret_key";

const [signer, setSigner] = createSignal<Signer>();

export { signer };

/** Uses a key from now on. */
export async function useKey(apiKey: string, secret: string): Promise<void> {
  try {
    setSigner(await Signer.create(apiKey, secret));
    sessionStorage.setItem(KEY, apiKey);
    sessionStorage.setItem(SECRET, secret);
  } catch (error) {
    tellFailure("Key not usable", error);
  }
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(SECRET);
  setSigner(undefined);
}

/**
 * Takes up the key of this tab, or the one in the address (`#key=…&secret=…`). The part after `#` is never sent to
 * a server; it is taken out of the address and the history at once.
 */
export function restoreKey(): void {
  const given = new URLSearchParams(location.hash.slice(1));
  const inAddress = given.has("key") || given.has("secret");
  const apiKey = inAddress ? given.get("key") : sessionStorage.getItem(KEY);
  const secret = inAddress ? given.get("secret") : sessionStorage.getItem(SECRET);
  if (inAddress) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  if (apiKey && secret) {
    void useKey(apiKey, secret);
  }
}
