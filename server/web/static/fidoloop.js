// The pages' script: asks the server, watches what was begun, and puts texts (never markup) in their places.

const POLL_MILLIS = 1000;
const $ = (id) => document.getElementById(id);

const WORDS = {
  waiting: "Scan the code with your phone.",
  asked: "Your device was asked. Answer there, or scan the code with it.",
  unreached: "The push did not get through. Scan the code with that device.",
  pushed: "If this user has a phone here, it was asked. Answer there.",
  redeemed: "Your phone has it. Confirm there.",
  succeeded: "Confirmed. One moment…",
  declined: "You said no on your phone. Nobody was logged in.",
  timedOut: "Time ran out. Nobody was logged in.",
  withdrawn: "This was cancelled. Nobody was logged in.",
  lockedOut: "Your phone is locked after too many wrong attempts. Unlock it there, then try again.",
  noAuthenticator: "Your phone has no key that fits. Enrol it first, or use another phone.",
  refused: "The answer of the phone was refused. Nobody was logged in.",
  gone: "This log-in belongs to another window now, or is over. Try again.",
  lost: "The server cannot be reached. Trying again…",
};

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function post(path, body, accept, signal) {
  const headers = { "content-type": "application/json", accept };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal, cache: "no-store" });
}

async function checked(answer) {
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? `The server answered ${answer.status}.`);
}

async function call(path, body = {}, signal = undefined) {
  const answer = await checked(await post(path, body, "application/json", signal));
  return answer.status === 204 ? null : answer.json();
}

async function fetched(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  return (await checked(answer)).json();
}

const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

const pause = (millis, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, millis);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });

// Server-sent events read from a POST: what is watched stands in no URL.
async function* events(path, body, signal) {
  const answer = await checked(await post(path, body, "text/event-stream", signal));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

const isFinal = (state) => ["succeeded", "failed", "gone"].includes(state.state);

// Every state of an operation up to its last: as the stream brings them, or by asking where there is no stream.
async function* states(id, signal) {
  try {
    for await (const state of events("/web/login/stream", { id }, signal)) {
      yield state;
      if (isFinal(state)) return;
    }
  } catch (error) {
    if (signal.aborted || error instanceof Refused) throw error;
  }
  for (let last = ""; !signal.aborted; await pause(POLL_MILLIS, signal)) {
    let state = { state: "lost" };
    try {
      state = await call("/web/login/status", { id }, signal);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (JSON.stringify(state) !== last) yield state;
    last = JSON.stringify(state);
    if (isFinal(state)) return;
  }
}

// The part of a page that shows one operation after the other: code, words, countdown, buttons.
class Operation {
  constructor(succeeded) {
    this.section = $("operation");
    this.succeeded = succeeded;
    this.stopping = new AbortController();
    $("cancel").addEventListener("click", () => this.cancel());
    $("retry").addEventListener("click", () => this.begin(this.wanted));
    setInterval(() => this.tick(), 250);
  }

  async begin(wanted) {
    await this.leave();
    this.wanted = wanted;
    const { signal } = (this.stopping = new AbortController());
    this.show({ state: "starting" }, "Preparing the log-in…");
    try {
      const begun = await call("/web/login", wanted, signal);
      this.id = begun.id;
      this.ahead = Date.now() - begun.now;
      await this.draw(begun);
      for await (const state of states(begun.id, signal)) if (!signal.aborted) await this.enter(state);
    } catch (error) {
      if (!signal.aborted) this.show({ state: "failed" }, error instanceof Refused ? error.message : WORDS.lost);
    }
  }

  // What was begun before is withdrawn, so that a code photographed meanwhile is of no use.
  async leave() {
    this.stopping.abort();
    const id = this.id;
    this.id = undefined;
    if (id) await call("/web/login/cancel", { id }).catch(() => {});
  }

  async cancel() {
    await this.leave();
    this.show({ state: "failed" }, WORDS.withdrawn);
    $("retry").focus();
  }

  async draw(begun) {
    this.waiting = WORDS.waiting;
    if (begun.number) this.waiting = begun.link ? WORDS.asked : WORDS.pushed;
    if (begun.pushed === false) this.waiting = WORDS.unreached;
    $("qr").hidden = $("link-line").hidden = !begun.link;
    $("number-line").hidden = !begun.number;
    $("number").textContent = begun.number ?? "";
    if (!begun.link) return;
    $("qr").src = `data:image/png;base64,${begun.qr}`;
    $("link").href = begun.link;
    await $("qr").decode();
    this.section.scrollIntoView({ block: "nearest" });
  }

  async enter(state) {
    this.show(state, state.state === "waiting" ? this.waiting : WORDS[state.reason ?? state.state]);
    if (isFinal(state)) {
      const id = this.id;
      this.id = undefined;
      if (state.state === "succeeded") await this.succeeded(id);
    }
  }

  show(state, words) {
    const ended = isFinal(state);
    this.section.dataset.state = state.state === "gone" ? "failed" : state.state;
    this.deadline = state.deadline;
    $("words").textContent = words;
    $("cancel").hidden = ended;
    $("retry").hidden = !ended || state.state === "succeeded";
    if (state.state !== "waiting") $("qr").hidden = $("link-line").hidden = true;
    if (ended || state.state === "starting") $("number-line").hidden = true;
    this.tick();
  }

  tick() {
    const left = this.deadline && Math.max(0, Math.ceil((this.deadline + this.ahead - Date.now()) / 1000));
    $("countdown").hidden = left === undefined;
    if (left !== undefined) {
      const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
      if ($("countdown").textContent !== text) $("countdown").textContent = text;
    }
  }
}

function logIn() {
  const operation = new Operation(async (id) => {
    await call("/web/login/finish", { id, remember: $("remember").checked });
    location.assign("/account");
  });
  $("by-name").addEventListener("submit", (event) => {
    event.preventDefault();
    operation.begin({ by: "push", username: $("username").value });
  });
  // A page shown again from the browser's cache watches something long over.
  addEventListener("pageshow", (event) => event.persisted && operation.begin({ by: "qr" }));
  operation.begin({ by: "qr" });
  showDevices(operation);
}

// What can be asked where this browser is remembered: nobody else is shown a device.
async function showDevices(operation) {
  const { users } = await fetched("/web/devices");
  $("devices").hidden = !users.length;
  for (const { username, devices } of users) {
    const item = element("li", "");
    const buttons = element("p", "");
    buttons.className = "buttons";
    for (const { id, name, push } of devices) {
      const button = element("button", push ? `Ask ${name}` : `Code for ${name}`);
      button.type = "button";
      button.addEventListener("click", () => operation.begin({ by: push ? "push" : "qr", device: id }));
      buttons.append(button);
    }
    item.append(element("strong", username), buttons);
    $("device-list").append(item);
  }
  $("forget").addEventListener("click", async () => {
    await call("/web/devices/forget");
    $("devices").hidden = true;
    $("username").focus();
  });
}

const time = (millis) => (millis === null ? "never" : new Date(millis).toLocaleString());

function described(list, pairs) {
  for (const [name, value] of pairs) {
    list.append(element("dt", name), element("dd", value));
  }
  return list;
}

const facts = (key) => [
  ["Authenticator", key.description || "not in the metadata any more"],
  ["AAID", key.aaid],
  ["Key protection", key.keyProtection.join(", ")],
  ["User verification", key.userVerification.join(", ")],
  ["Counter", String(key.counter)],
  ["KeyID", key.keyId],
  ["Registered", time(key.registeredAt)],
  ["Last used", time(key.lastUsedAt)],
];

async function account() {
  $("log-out").addEventListener("click", async () => {
    await call("/web/logout");
    location.assign("/");
  });
  const shown = await fetched("/web/account").catch(() => location.assign("/"));
  if (!shown) return;
  $("words").textContent = `You are ${shown.username}, until ${time(shown.until)}.`;
  for (const key of shown.keys) {
    if (key.current) {
      described($("current"), facts(key));
    } else {
      const item = document.createElement("li");
      item.append(described(document.createElement("dl"), facts(key)));
      $("keys").append(item);
      $("others").hidden = false;
    }
  }
}

const pages = { login: logIn, account };
await pages[document.body.dataset.page]?.();
