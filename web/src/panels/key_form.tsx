/** Asks for the API key to trade with. */

import { createSignal } from "solid-js";

import { useKey } from "../state/session.ts";

export function KeyForm() {
  const [apiKey, setApiKey] = createSignal("");
  const [secret, setSecret] = createSignal("");
  return (
    <form
      class="form"
      autocomplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        void useKey(apiKey().trim(), secret().trim());
      }}
    >
      <div class="title">
        <h2>Trade</h2>
      </div>
      <p class="muted">To trade, enter an API key of your account with its HMAC secret.</p>
      <label>
        <span>API key</span>
        <input
          name="api-key"
          required
          spellcheck={false}
          value={apiKey()}
          onInput={(event) => setApiKey(event.currentTarget.value)}
        />
      </label>
      <label>
        <span>Secret key</span>
        <input
          name="secret-key"
          type="password"
          autocomplete="off"
          required
          value={secret()}
          onInput={(event) => setSecret(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="send">
        Use this key
      </button>
      <p class="muted">It stays in this tab and is forgotten when the tab is closed. The secret never leaves it.</p>
    </form>
  );
}
