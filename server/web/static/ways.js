// The ways to log in: a code at once; a push by user name, or to a device where this browser is remembered; a passkey.

import { $, button, buttons, call, element, fetched } from "./base.js";
import { Operation } from "./operation.js";
import * as passkeys from "./passkeys.js";

// Offers them all, `loggedIn` being called when somebody logged in; returns what begins anew with a code.
export function offer(loggedIn) {
  const operation = new Operation("/web/login", {
    failed: "Nobody was logged in.",
    succeeded: async (id) => {
      await call("/web/login/finish", { id, remember: $("remember").checked });
      await loggedIn();
    },
  });
  const byCode = () => operation.begin({ by: "qr" });

  $("passkey").hidden = !passkeys.known();
  $("by-passkey").addEventListener("click", async () => {
    $("passkey-words").textContent = "";
    try {
      await passkeys.logIn($("remember").checked);
      await loggedIn();
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
  addEventListener("pageshow", (event) => event.persisted && byCode());
  byCode();
  listDevices(operation);
  return byCode;
}

async function listDevices(operation) {
  const { users } = await fetched("/web/devices");
  $("devices").hidden = !users.length;
  for (const { username, devices } of users) {
    const choices = devices.map(({ id, name, push }) =>
      button(push ? `Ask ${name}` : `Code for ${name}`, () => operation.begin({ by: push ? "push" : "qr", device: id })),
    );
    $("device-list").append(element("li", "", element("strong", username), buttons(...choices)));
  }
}
