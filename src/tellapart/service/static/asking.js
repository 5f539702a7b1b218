// What is asked of the service. Addresses are relative, so that it may stand behind a path.

/** Why the service did not answer: its own sentence, and the status; 0 where it was not reached. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const PATIENCE_SECONDS = 120; // how long a service that is busy is asked again
const AT_A_TIME = 4; // requests under way; the service puts their pictures together
const TOKEN = "tellapart-token";
const pause = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });

let token = null;
try { token = sessionStorage.getItem(TOKEN); } catch { /* storage is refused: asked again */ }

export const hasToken = () => Boolean(token);

/** Use a token for all that is asked from now on, until the tab is closed. */
export const useToken = (text) => {
  token = text;
  try { sessionStorage.setItem(TOKEN, text); } catch { /* as above */ }
};

/** Ask, and ask again where the service is busy; its JSON, or a Refusal. */
const ask = async (path, { query = {}, body = null } = {}) => {
  const given = Object.entries(query).filter(([, value]) => value);
  const address = given.length ? `${path}?${new URLSearchParams(given)}` : path;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  // A picture that cannot be read gets an answer that says so, not a refusal (RFC 7240).
  headers.Prefer = "handling=lenient";
  const until = Date.now() + 1000 * PATIENCE_SECONDS;
  for (;;) {
    let response;
    try {
      response = await fetch(address, { method: body ? "POST" : "GET", headers, body });
    } catch {
      throw new Refusal(0, "The service does not answer. Is it still running?");
    }
    const content = await response.json().catch(() => null);
    if (response.ok && content) return content;
    const wait = Number(response.headers.get("Retry-After"));
    if (wait > 0 && Date.now() + 1000 * wait < until) {
      await pause(wait);
      continue;
    }
    throw new Refusal(response.status, content?.error ?? `The service answered ${response.status}.`);
  }
};

const sent = (file, name) => {
  const body = new FormData();
  body.append("images", file, name);
  return body;
};

// No more than so many requests at a time; the others wait for their turn.
let free = AT_A_TIME;
const queue = [];
const inTurn = async (work) => {
  if (free > 0) free -= 1;
  else await new Promise((turn) => { queue.push(turn); });
  try {
    return await work();
  } finally {
    const next = queue.shift();
    if (next) next();
    else free += 1;
  }
};

/** All that the page shows of the models: { models, limits, feedback }. */
export const askModels = async () => {
  const told = await ask("v1/models");
  const pages = await ask("page/models");
  const shown = new Map(pages.map((page) => [page.name, page]));
  return { ...told, models: told.models.map((model) => ({ ...model, ...shown.get(model.name) })) };
};

/** What a model says of a picture: { version, answer }. */
export const askAnswer = (picture, model) => inTurn(async () => {
  const body = sent(picture.file, picture.name);
  const told = await ask("v1/predict", { query: { model }, body });
  return { version: told.version, answer: told.answers[0] };
});

/** Why it says so: the overlay that is quickest, and the nearest training images. */
export const askExplanation = (picture, model) =>
  ask("v1/explain", { query: { model, overlays: 1 }, body: sent(picture.file, picture.name) });

/** Keep a picture under what it really is. */
export const sendCorrection = (picture, model, label) =>
  ask("v1/feedback", { query: { model, label }, body: sent(picture.file, picture.name) });
