// The account page: who is logged in, by which key; deleting keys; logging out.

import { $, Refused, button, buttons, call, described, element, fetched } from "./base.js";

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

// The first click asks, the second deletes.
function remover(key) {
  const made = button("Delete this key", async () => {
    if (!made.dataset.asked) {
      made.dataset.asked = "yes";
      made.textContent = key.current ? "Really delete it? You are logged out then." : "Really delete it?";
      return;
    }
    await call("/web/keys/remove", { aaid: key.aaid, keyId: key.keyId });
    await show();
  });
  return made;
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
    const parts = [described(element("dl", ""), facts(key)), buttons(remover(key))];
    if (key.current) $("current").replaceChildren(...parts);
    else $("keys").append(element("li", "", ...parts));
  }
  $("others").hidden = account.keys.length < 2;
}

$("log-out").addEventListener("click", async () => {
  await call("/web/logout");
  location.assign("/");
});
await show();
