// The confirmation page: a text that the phone shows and signs.

import { $, described, element, fetched } from "./base.js";
import { Operation } from "./operation.js";

let text;

const operation = new Operation("/web/confirm", {
  failed: "Nothing was confirmed.",
  succeeded: (_, state) => {
    $("words").textContent = "Confirmed on your phone.";
    $("confirmed-text").textContent = text;
    described(
      $("key"),
      state.keys.flatMap((key) => [
        ["AAID", key.aaid],
        ["KeyID", key.keyId],
      ]),
    );
    $("confirmed").hidden = false;
  },
});

$("payment").addEventListener("submit", (event) => {
  event.preventDefault();
  text = $("text").value;
  $("confirmed").hidden = true;
  operation.begin($("device").value ? { text, device: $("device").value } : { text });
});
const { devices } = await fetched("/web/account");
for (const { id, name } of devices) $("device").append(Object.assign(element("option", name), { value: id }));
