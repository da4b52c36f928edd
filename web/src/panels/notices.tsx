import { For } from "solid-js";

import { dismiss, notices } from "../state/notices.ts";

export function Notices() {
  return (
    <div class="notices" role="log" aria-live="polite" aria-label="Messages">
      <For each={notices()}>
        {(notice) => (
          <p class={`notice ${notice.tone}`}>
            <span>{notice.text}</span>
            <button type="button" aria-label="Dismiss" onClick={() => dismiss(notice.id)}>
              ×
            </button>
          </p>
        )}
      </For>
    </div>
  );
}
