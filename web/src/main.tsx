import { render } from "solid-js/web";

import { App } from "./app.tsx";
import { restoreKey } from "./state/session.ts";
import "./style.css";

restoreKey();
window.addEventListener("hashchange", restoreKey);
render(() => <App />, document.getElementById("root")!);
