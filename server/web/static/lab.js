// The lab console: what is registered, sessions as they go on, and what crossed in the one that is chosen.

import { $, Refused, call, element, events, fetched } from "./base.js";

const PAUSE_MILLIS = 2000;
const MOST_SESSIONS = 100;
const OPERATIONS = { Reg: "Registration", Auth: "Authentication", Dereg: "Deregistration" };
const sessions = new Map();
let chosen;
let openPaths = new Set();
let shownCode;

const at = (millis) => {
  const made = element("time", new Date(millis).toLocaleTimeString());
  made.dateTime = new Date(millis).toISOString();
  return made;
};
const day = (millis) => (millis ? new Date(millis).toLocaleString() : "–");
const classed = (name, made) => Object.assign(made, { className: name });

// Tables of what is registered.

function table(place, heads, rows) {
  if (!rows.length) return place.replaceChildren(element("p", "None."));
  const head = element("tr", "", ...heads.map((text) => Object.assign(element("th", text), { scope: "col" })));
  const lines = rows.map((row) => element("tr", "", ...row.map((text) => element("td", text ?? "–"))));
  place.replaceChildren(element("table", "", element("thead", "", head), element("tbody", "", ...lines)));
}

async function showOverview() {
  const { users, targets, keys, passkeys } = await fetched("/lab/overview");
  const state = ({ disabledAt }) => (disabledAt ? `disabled ${day(disabledAt)}` : "active");
  table($("users"), ["User", "Since", "State"], users.map((user) => [user.username, day(user.createdAt), state(user)]));
  table(
    $("targets"),
    ["Phone", "User", "Dispatcher", "Address", "Last used", "Id"],
    targets.map((one) => [
      one.name,
      one.username,
      one.dispatcher,
      one.expiredAt ? `gone since ${day(one.expiredAt)}` : one.hasAddress ? "known" : "none",
      day(one.lastUsedAt),
      one.id,
    ]),
  );
  table(
    $("keys"),
    ["Model", "AAID", "User", "Key protection", "User verification", "Counter", "Last used", "KeyID"],
    keys.map(({ username, key }) => [
      key.description || "no metadata",
      key.aaid,
      username,
      key.keyProtection.join(", "),
      key.userVerification.join(", "),
      String(key.counter),
      day(key.lastUsedAt),
      key.keyId,
    ]),
  );
  table(
    $("passkeys"),
    ["Model", "User", "Counter", "Last used", "Credential"],
    passkeys.map((key) => [key.model ?? "unknown", key.username, String(key.counter), day(key.lastUsedAt), key.id]),
  );
  const choice = $("device").value;
  const options = targets.map((one) => Object.assign(element("option", `${one.name} of ${one.username}`), { value: one.id }));
  $("device").replaceChildren($("device").options[0], ...options);
  $("device").value = options.some((option) => option.value === choice) ? choice : "";
}

// Sessions as they go on.

const codes = (change) =>
  ["uafStatusCode", "asmStatusCode", "clientErrorCode"]
    .filter((name) => change[name] !== undefined && change[name] !== null)
    .map((name) => ` ${name} ${change[name]}`)
    .join(",");

function showSession(session) {
  const item = sessions.get(session.id)?.item ?? element("li", "");
  const pick = item.querySelector("button") ?? element("button", "");
  if (!item.isConnected) {
    pick.type = "button";
    pick.addEventListener("click", () => choose(session.id));
    item.append(pick, element("ol", ""));
    $("sessions").prepend(item);
  }
  item.dataset.state = session.state;
  item.dataset.session = session.id;
  pick.replaceChildren(
    element("strong", session.state),
    ` ${OPERATIONS[session.op] ?? session.op} · ${session.username ?? "whoever answers"}${session.madeHere ? " · made in the lab" : ""} `,
    at(session.createdAt),
  );
  pick.setAttribute("aria-pressed", String(session.id === chosen));
  const lines = session.changes.map((change) => element("li", `${change.state}${codes(change)} `, at(change.at)));
  item.querySelector("ol").replaceChildren(...lines);
  sessions.set(session.id, { item, session });
  const [oldest] = sessions.keys();
  if (sessions.size > MOST_SESSIONS && oldest !== chosen) {
    sessions.get(oldest).item.remove();
    sessions.delete(oldest);
  }
  // A code whose token was used or has expired need not be scanned any more.
  if (session.id === shownCode && session.state !== "tokenCreated") $("code").hidden = true;
}

async function watch() {
  for (;;) {
    try {
      $("stream-words").textContent = "Watching: changes show as they happen.";
      for await (const session of events("/lab/stream", {})) {
        const before = sessions.get(session.id)?.session.state;
        if (session.id) showSession(session);
        if (session.id === chosen) await showStory();
        // What ends well may have added a key, used one or removed one.
        if (before && before !== session.state && session.state === "succeeded") await showOverview();
      }
    } catch (error) {
      if (error instanceof Refused) return shut(error.message);
    }
    $("stream-words").textContent = "The server cannot be reached. Trying again…";
    await new Promise((done) => setTimeout(done, PAUSE_MILLIS));
  }
}

// The story of one session.

async function choose(id) {
  const before = sessions.get(chosen);
  chosen = id;
  openPaths = new Set();
  if (before) before.item.querySelector("button").setAttribute("aria-pressed", "false");
  sessions.get(id)?.item.querySelector("button").setAttribute("aria-pressed", "true");
  $("fault-words").textContent = "";
  await showStory();
  $("story").focus({ preventScroll: true });
  $("story").scrollIntoView({ block: "nearest" });
}

async function showStory() {
  const id = chosen;
  const story = await call("/lab/session", { id });
  if (id !== chosen) return;
  const made = sessions.get(id)?.session;
  $("story-heading").textContent = id ? `Session ${id}` : "Messages of no session";
  $("faults").hidden = !made?.madeHere;
  const armed = made?.armed?.length ? ` Waiting for their moment: ${made.armed.join(", ")}.` : "";
  const dropped = story.dropped ? ` ${story.dropped} more had no room.` : "";
  $("story-words").textContent = `${story.entries.length} entries.${dropped}${armed}`;
  const items = story.entries.map((entry, index) => showEntry(entry, String(index)));
  if (story.payload) items.unshift(listed("payload", part("Dispatched payload", story.payload, "payload")));
  $("entries").replaceChildren(...items);
}

function listed(kind, ...children) {
  const item = element("li", "", ...children);
  item.dataset.kind = kind;
  return item;
}

function showEntry(entry, path) {
  if (entry.kind === "change") {
    return listed("change", element("p", "", element("strong", entry.state), `${codes(entry)} `, at(entry.at)));
  }
  if (entry.kind === "fault") {
    return listed("fault", element("p", "", element("strong", `Fault: ${entry.fault}`), " ", at(entry.at)), element("p", entry.words));
  }
  const times = entry.times > 1 ? ` · ${entry.times} times` : "";
  const note = entry.note ? ` · ${entry.note}` : "";
  const inner = element("p", statusWord(entry));
  const outer = opened(path, `${entry.method} ${entry.path} → HTTP ${entry.status || "no answer"}${times}${note} `, inner);
  outer.querySelector("summary").append(at(entry.at));
  if (entry.request !== null) outer.append(part("Request", entry.request, `${path}/q`));
  if (entry.answer !== null) outer.append(part("Answer", entry.answer, `${path}/a`));
  return listed("message", outer);
}

function statusWord({ answer }) {
  const words = answer?.description?.message;
  if (answer?.statusCode) return `UAF status ${answer.statusCode}${words ? `: ${words}` : ""}`;
  return answer?.detail ?? answer?.status ?? answer?.dispatchResult ?? "";
}

// What was open stays open when the story goes on.
function opened(path, words, ...children) {
  const made = element("details", "", element("summary", words), ...children);
  made.open = openPaths.has(path);
  made.addEventListener("toggle", () => (made.open ? openPaths.add(path) : openPaths.delete(path)));
  return made;
}

function part(name, value, path) {
  const made = opened(path, name, tree(value, path));
  return made;
}

// JSON as a tree, and in it assertions: nodes that know their place among the bytes.
function tree(value, path) {
  const list = classed("tree", element("ul", ""));
  const pairs = value !== null && typeof value === "object" ? Object.entries(value) : [["", value]];
  for (const [name, member] of pairs) list.append(branch(name, member, `${path}/${name}`));
  return list;
}

const isNode = (value) => Number.isInteger(value?.offset) && Number.isInteger(value?.length) && "name" in value;

function branch(name, value, path) {
  if (isNode(value)) return element("li", "", named(name), nodes(value, path));
  if (value === null || typeof value !== "object") return element("li", "", named(name), String(value));
  if (!Object.keys(value).length) return element("li", "", named(name), Array.isArray(value) ? "[]" : "{}");
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) {
    return element("li", "", named(name), value.join(", "));
  }
  return element("li", "", named(name), tree(value, path));
}

const named = (name) => classed("name", element("span", name ? `${name}: ` : ""));

function nodes(node, path) {
  const value = node.value === undefined || node.value === null ? "" : `: ${node.value}`;
  const words = [
    classed("size", element("span", `${node.offset}+${node.length} `)),
    classed("name", element("span", node.name)),
    value,
  ];
  if (node.problem) words.push(classed("problem", element("span", ` ${node.problem}`)));
  const made = element("div", "", ...words);
  if (!node.children?.length) return made;
  const inner = node.children.map((child, index) => element("li", "", nodes(child, `${path}/${index}`)));
  made.append(classed("tree", element("ul", "", ...inner)));
  return made;
}

// Sessions made here, and the faults they can bear.

async function showCode({ id, link, qr }) {
  shownCode = id;
  $("qr").src = `data:image/png;base64,${qr}`;
  $("link").href = link;
  $("code").hidden = false;
  await $("qr").decode();
}

$("make").addEventListener("submit", async (event) => {
  event.preventDefault();
  await said($("words"), async () => {
    const device = $("device").value;
    const made = await call("/lab/session/new", device ? { device } : {});
    await showCode(made);
    await choose(made.id);
    return "A new lab session waits for the test phone.";
  });
});

for (const made of document.querySelectorAll("[data-fault]")) {
  made.addEventListener("click", () =>
    said($("fault-words"), async () => {
      const fault = made.dataset.fault;
      const minutes = fault === "clockSkew" ? { minutes: Number($("minutes").value) } : {};
      const done = await call("/lab/session/fault", { id: chosen, fault, ...minutes });
      if (done.code) await showCode(done.code);
      await showStory();
      return done.words;
    }),
  );
}

$("others").addEventListener("click", () => choose(""));
$("leave").addEventListener("click", async () => {
  await call("/lab/leave");
  shut("The lab is closed. Restart the server to open it again.");
});

async function said(place, work) {
  try {
    place.textContent = await work();
  } catch (error) {
    place.textContent = error.message;
  }
}

// Opening: the printed token stands behind the #, and is of no more use once it was shown.

function shut(words) {
  $("lab").hidden = $("leave").hidden = true;
  $("words").textContent = words;
}

async function open() {
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, "", "/lab");
    await call("/lab/enter", { token });
  }
  await showOverview();
  $("lab").hidden = $("leave").hidden = false;
  $("words").textContent = "";
  watch();
}

open().catch((error) => shut(error.message));
