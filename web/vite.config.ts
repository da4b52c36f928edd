import { defineConfig } from "vite";
import solid from "vite-plugin-solid";

/** Where `npm run dev` finds a running exchange; the built page always talks to the origin it came from. */
const exchange = process.env["BURSA_URL"] ?? "http://127.0.0.1:8000";
const socket = { target: exchange, ws: true };

export default defineConfig({
  plugins: [solid()],
  build: {
    target: "es2022",
    // Everything is a file of this origin, so that a strict Content-Security-Policy needs no exception for it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/api": exchange, "/stream": socket, "/ws-api": socket },
  },
});
