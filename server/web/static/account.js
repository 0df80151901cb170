// The account page: who is logged in, by which key; deleting keys; logging out.

import { $, Refused, button, buttons, call, described, element, fetched } from "./base.js";
import * as passkeys from "./passkeys.js";

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

// The first click asks, the second deletes.
function remover(key, path, named) {
  const made = button("Delete this key", async () => {
    if (!made.dataset.asked) {
      made.dataset.asked = "yes";
      made.textContent = key.current ? "Really delete it? You are logged out then." : "Really delete it?";
      return;
    }
    await call(path, named);
    await show();
  });
  return made;
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
