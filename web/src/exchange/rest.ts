/** HTTP requests to `/api/v3`: public ones, and those signed with the key of an account. */

const TIMEOUT_MS = 10_000;
const RECEIVE_WINDOW_MS = 5_000;
/** The exchange found the timestamp of a request too old or too new. */
export const CLOCK_ERROR = -1021;

export type Parameters = Readonly<Record<string, string>>;

/** The exchange itself does not know what became of the request. */
const UNKNOWN_OUTCOMES: readonly unknown[] = [-1006, -1007];

/** The exchange refused a request; nothing happened. */
export class Refused extends Error {
  constructor(
    readonly code: number,
    readonly text: string,
  ) {
    super(`${text} (code ${code})`);
  }
}

/** No answer, or one that does not tell: whether the request took effect is not known. */
export class Unanswered extends Error {}

/** Fetches public market data. */
export function get<Reply>(path: string, parameters: Parameters = {}): Promise<Reply> {
  const query = new URLSearchParams(parameters).toString();
  return request<Reply>("GET", query === "" ? path : `${path}?${query}`, {});
}

/** Milliseconds that the exchange's clock is ahead of this machine's. */
export async function clockOffset(): Promise<number> {
  const sent = Date.now();
  const { serverTime } = await get<{ serverTime: number }>("/time");
  return Math.round(serverTime - (sent + Date.now()) / 2);
}

/** An API key with its HMAC secret; the secret cannot be read back from it. */
export class Signer {
  private offset: Promise<number> | undefined;

  private constructor(
    readonly apiKey: string,
    private readonly key: CryptoKey,
  ) {}

  static async create(apiKey: string, secret: string): Promise<Signer> {
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const bytes = new TextEncoder().encode(secret);
    return new Signer(apiKey, await crypto.subtle.importKey("raw", bytes, hmac, false, ["sign"]));
  }

  /** Sends a signed request. Its clock is set by the exchange's, once, and again when the exchange finds it wrong. */
  async call<Reply>(method: "GET" | "POST" | "DELETE", path: string, parameters: Parameters = {}): Promise<Reply> {
    try {
      return await this.send<Reply>(method, path, parameters);
    } catch (error) {
      if (error instanceof Refused && error.code === CLOCK_ERROR) {
        this.resetClock();
        return await this.send<Reply>(method, path, parameters);
      }
      throw error;
    }
  }

  /** Compares the clocks again before the next request. */
  resetClock(): void {
    this.offset = undefined;
  }

  /** The parameters of a signed WebSocket request: sorted by name, the signature added. */
  async signed(parameters: Parameters): Promise<Parameters> {
    const all: Record<string, string> = { ...parameters, ...(await this.stamp()), apiKey: this.apiKey };
    const payload = Object.keys(all)
      .sort()
      .map((name) => `${name}=${all[name]}`)
      .join("&");
    return { ...all, signature: await this.sign(payload) };
  }

  private async send<Reply>(method: string, path: string, parameters: Parameters): Promise<Reply> {
    const payload = new URLSearchParams({ ...parameters, ...(await this.stamp()) }).toString();
    const signed = `${payload}&signature=${await this.sign(payload)}`;
    const headers = { "X-MBX-APIKEY": this.apiKey };
    if (method === "POST") {
      const form = { ...headers, "Content-Type": "application/x-www-form-urlencoded" };
      return request<Reply>(method, path, form, signed);
    }
    return request<Reply>(method, `${path}?${signed}`, headers);
  }

  private async stamp(): Promise<Parameters> {
    this.offset ??= clockOffset();
    try {
      const timestamp = Date.now() + (await this.offset);
      return { timestamp: String(timestamp), recvWindow: String(RECEIVE_WINDOW_MS) };
    } catch (error) {
      this.resetClock();
      throw error;
    }
  }

  private async sign(payload: string): Promise<string> {
    const signature = await crypto.subtle.sign("HMAC", this.key, new TextEncoder().encode(payload));
    return Array.from(new Uint8Array(signature), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

async function request<Reply>(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: string | null = null,
): Promise<Reply> {
  let response: Response;
  let reply: unknown;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(`/api/v3${path}`, { method, headers, body, signal, cache: "no-store" });
    reply = await response.json();
  } catch (error) {
    throw new Unanswered(`No answer from the exchange: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (response.ok) {
    return reply as Reply;
  }
  const { code, msg } = reply as { code?: unknown; msg?: unknown };
  const text = typeof msg === "string" ? msg : `HTTP ${response.status}`;
  if (response.status >= 500 || UNKNOWN_OUTCOMES.includes(code)) {
    throw new Unanswered(text);
  }
  throw new Refused(typeof code === "number" ? code : response.status, text);
}
