// The account page: who is logged in, by which key; deleting keys; logging out.

import { $, Refused, button, buttons, call, described, element, fetched } from "./base.js";
import * as passkeys from "./passkeys.js";
import { scopeWords } from "./scopes.js";

let username = "";

const time = (millis) => (millis === null ? "never" : new Date(millis).toLocaleString());

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

const passkeyFacts = (passkey) => [
  ["Authenticator", passkey.model || "of a model that nobody vouched for"],
  ["Synchronised", passkey.synchronised ? "may be on several devices" : "stays on one device"],
  ["Counter", String(passkey.counter)],
  ["Credential id", passkey.id],
  ["Registered", time(passkey.registeredAt)],
  ["Last used", time(passkey.lastUsedAt)],
];

const appFacts = (app) => [
  ["It calls itself", app.name || app.client],
  ["Device", app.device],
  ["Allowed", app.scopes.map(scopeWords).join("; ") || "nothing but that you are here"],
  ["Since", time(app.since)],
  ["Last used", time(app.lastUsedAt)],
  ["Until", time(app.until)],
];

// The first click asks, the second does it.
function asking(text, really, action) {
  const made = button(text, async () => {
    if (!made.dataset.asked) {
      made.dataset.asked = "yes";
      made.textContent = really;
      return;
    }
    await action();
  });
  return made;
}

const remover = (key, path, named) =>
  asking("Delete this key", key.current ? "Really delete it? You are logged out then." : "Really delete it?", async () => {
    await call(path, named);
    await show();
  });

async function showApps() {
  const { apps } = await fetched("/web/apps");
  $("app-list").replaceChildren();
  for (const app of apps) {
    const withdraw = asking("Withdraw access", "Really withdraw it? The app has to ask again then.", async () => {
      await call("/web/apps/withdraw", { client: app.client });
      $("app-words").textContent = "Access is withdrawn. What it holds already may be good for some minutes more.";
      await showApps();
    });
    $("app-list").append(element("li", "", described(element("dl", ""), appFacts(app)), buttons(withdraw)));
  }
  $("apps").hidden = !apps.length && !$("app-words").textContent;
}

async function showPasskeys() {
  const { passkeys: found } = await fetched("/web/passkeys");
  $("passkey-list").replaceChildren();
  for (const passkey of found) {
    const parts = [
      described(element("dl", ""), passkeyFacts(passkey)),
      buttons(remover(passkey, "/web/passkey/remove", { id: passkey.id })),
    ];
    if (passkey.current) $("current").replaceChildren(...parts);
    else $("passkey-list").append(element("li", "", ...parts));
  }
}

async function show() {
  let account;
  try {
    account = await fetched("/web/account");
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 401) throw error;
    location.assign("/");
    return;
  }
  $("words").textContent = `You are ${account.username}, until ${time(account.until)}.`;
  $("keys").replaceChildren();
  for (const key of account.keys) {
    const parts = [described(element("dl", ""), facts(key)), buttons(remover(key, "/web/keys/remove", { aaid: key.aaid, keyId: key.keyId }))];
    if (key.current) $("current").replaceChildren(...parts);
    else $("keys").append(element("li", "", ...parts));
  }
  $("others").hidden = !$("keys").children.length;
  username = account.username;
  await showPasskeys();
  await showApps();
}

$("add-passkey").hidden = !passkeys.known();
$("add-passkey").addEventListener("click", async () => {
  $("passkey-words").textContent = "";
  try {
    await passkeys.add(username);
    $("passkey-words").textContent = "The passkey is ready.";
  } catch (error) {
    $("passkey-words").textContent = passkeys.words(error);
  }
  await showPasskeys();
});
$("log-out").addEventListener("click", async () => {
  await call("/web/logout");
  location.assign("/");
});
await show();
