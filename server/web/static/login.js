// The log-in page: a code at once; a push by user name, or to a device where this browser is remembered.

import { $, button, buttons, call, element, fetched } from "./base.js";
import { Operation } from "./operation.js";
import * as passkeys from "./passkeys.js";

const operation = new Operation("/web/login", {
  failed: "Nobody was logged in.",
  succeeded: async (id) => {
    await call("/web/login/finish", { id, remember: $("remember").checked });
    location.assign("/account");
  },
});

$("passkey").hidden = !passkeys.known();
$("by-passkey").addEventListener("click", async () => {
  $("passkey-words").textContent = "";
  try {
    await passkeys.logIn($("remember").checked);
    location.assign("/account");
  } catch (error) {
    $("passkey-words").textContent = passkeys.words(error);
  }
});
$("by-name").addEventListener("submit", (event) => {
  event.preventDefault();
  operation.begin({ by: "push", username: $("username").value });
});
$("forget").addEventListener("click", async () => {
  await call("/web/devices/forget");
  $("devices").hidden = true;
  $("username").focus();
});
// A page shown again from the browser's cache watches something long over.
addEventListener("pageshow", (event) => event.persisted && operation.begin({ by: "qr" }));
operation.begin({ by: "qr" });

const { users } = await fetched("/web/devices");
$("devices").hidden = !users.length;
for (const { username, devices } of users) {
  const choices = devices.map(({ id, name, push }) =>
    button(push ? `Ask ${name}` : `Code for ${name}`, () => operation.begin({ by: push ? "push" : "qr", device: id })),
  );
  $("device-list").append(element("li", "", element("strong", username), buttons(...choices)));
}
