// Talking to the gateway: the key travels in a header and lives in this tab's session only.

const KEY = "brokerpool-key";
const here = (path) => new URL(`../${path}`, import.meta.url);

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function request(path, options = {}) {
  const answer = await fetch(here(path), {
    ...options,
    headers: { Authorization: `Bearer ${key.get() ?? ""}` },
    cache: "no-store",
  });
  if (answer.ok) return answer;
  let text = `The gateway answered ${answer.status}.`;
  try {
    const { message } = await answer.json();
    if (typeof message === "string") text = message;
  } catch {
    // not JSON: a proxy in between
  }
  throw new Refused(answer.status, text);
}

export const ask = async (path) => (await request(path)).json();
export const order = async (path) => (await request(path, { method: "POST" })).json();

// Call `take` with each message until the stream ends or `signal` aborts it.
export async function listen(take, opened, signal) {
  const answer = await request("stream", { signal });
  opened();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  }
}
