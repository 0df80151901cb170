// The part of a page that shows what a phone has to do: code, number, words, countdown, buttons; and how it goes on.

import { $, Refused, call, events } from "./base.js";

const POLL_MILLIS = 1000;

const WORDS = {
  starting: "Preparing it…",
  waiting: "Scan the code with your phone.",
  asked: "Your device was asked. Answer there, or scan the code with it.",
  unreached: "The push did not get through. Scan the code with that device.",
  pushed: "If this user has a phone here, it was asked. Answer there.",
  redeemed: "Your phone has it. Confirm there.",
  succeeded: "Confirmed. One moment…",
  declined: "You said no on your phone.",
  timedOut: "Time ran out.",
  withdrawn: "This was cancelled.",
  lockedOut: "Your phone is locked after too many wrong attempts. Unlock it there, then try again.",
  noAuthenticator: "Your phone has no key that fits. Enrol it first, or use another phone.",
  refused: "The answer of the phone was refused.",
  gone: "This belongs to another window now, or is over.",
  lost: "The server cannot be reached. Trying again…",
};

const pause = (millis, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, millis);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });

const isFinal = (state) => ["succeeded", "failed", "gone"].includes(state.state);

// Every state of an operation up to its last: as the stream brings them, or by asking where there is no stream.
async function* states(id, signal) {
  try {
    for await (const state of events("/web/operation/stream", { id }, signal)) {
      yield state;
      if (isFinal(state)) return;
    }
  } catch (error) {
    if (signal.aborted || error instanceof Refused) throw error;
  }
  for (let last = ""; !signal.aborted; await pause(POLL_MILLIS, signal)) {
    let state = { state: "lost" };
    try {
      state = await call("/web/operation/status", { id }, signal);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    if (JSON.stringify(state) !== last) yield state;
    last = JSON.stringify(state);
    if (isFinal(state)) return;
  }
}

// One operation after the other, begun at `path`. `failed` is said after each bad end, `succeeded` gets id and state.
export class Operation {
  constructor(path, { failed, succeeded }) {
    Object.assign(this, { path, failed, succeeded });
    this.section = $("operation");
    this.stopping = new AbortController();
    $("cancel").addEventListener("click", () => this.cancel());
    $("retry").addEventListener("click", () => this.begin(this.wanted));
    setInterval(() => this.tick(), 250);
  }

  async begin(wanted) {
    await this.leave();
    this.wanted = wanted;
    const { signal } = (this.stopping = new AbortController());
    this.show({ state: "starting" });
    try {
      const begun = await call(this.path, wanted, signal);
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
    if (id) await call("/web/operation/cancel", { id }).catch(() => {});
  }

  async cancel() {
    await this.leave();
    this.show({ state: "failed", reason: "withdrawn" });
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
    this.show(state);
    if (!isFinal(state)) return;
    const id = this.id;
    this.id = undefined;
    if (state.state === "succeeded") await this.succeeded(id, state);
  }

  words(state) {
    if (state.state === "waiting") return this.waiting;
    const found = WORDS[state.reason ?? state.state];
    return state.state === "failed" || state.state === "gone" ? `${found} ${this.failed}` : found;
  }

  show(state, words = this.words(state)) {
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
    if (left === undefined) return;
    const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
    if ($("countdown").textContent !== text) $("countdown").textContent = text;
  }
}
