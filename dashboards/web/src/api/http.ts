// One way to ask the server: a deadline, cancellation, and every failure as a sentence that can be shown.

const TIMEOUT_MS = 60_000;

/** `message` is meant for the reader; `status` is 0 where no answer came. */
export class ApiError extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export async function getJson<T>(path: string, parameters: Record<string, string | number | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return ask<T>(text ? `${path}?${text}` : path, { headers: { accept: "application/json" } }, signal);
}

export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return ask<T>(path, { method: "POST", headers, body: JSON.stringify(body) }, signal);
}

export async function postForm<T>(path: string, fields: Record<string, string | number>, signal?: AbortSignal): Promise<T> {
  const body = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
  return ask<T>(path, { method: "POST", headers: { accept: "application/json" }, body }, signal);
}

async function ask<T>(url: string, request: RequestInit, signal?: AbortSignal): Promise<T> {
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { ...request, signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
    text = await response.text();
  } catch (wrong) {
    if (signal?.aborted) throw wrong;
    if (deadline.aborted) throw new ApiError(`No answer within ${TIMEOUT_MS / 1000} s. Ask for a shorter time range.`, 0);
    throw new ApiError("The server cannot be reached. Is binnacle still running?", 0);
  }
  if (!response.ok) throw new ApiError(reason(text, response), response.status);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError(`${url.split("?")[0]} answered with something that is not JSON: ${text.slice(0, 120)}`, response.status);
  }
}

/** Each emulated API has its own error shape: Prometheus `error`, Loki `message` or plain text, ours `error`. */
function reason(text: string, response: Response): string {
  try {
    const body = JSON.parse(text) as { error?: unknown; message?: unknown };
    const said = body.error ?? body.message;
    if (typeof said === "string" && said) return said;
  } catch {
    // Plain text, below.
  }
  if (response.status === 404 && /^(404 page not found)?\s*$/.test(text)) return `${new URL(response.url).pathname} is not served here.`;
  return text.trim().slice(0, 500) || `The server answered ${response.status} ${response.statusText}.`;
}

export function said(wrong: unknown): string {
  return wrong instanceof Error ? wrong.message : String(wrong);
}
