// The enrolment page: with a code that was given out, or another phone for whoever is logged in.

import { $, call, described } from "./base.js";
import { Operation } from "./operation.js";

let enrolled;

const operation = new Operation("/web/enrol", {
  failed: "No phone was enrolled.",
  succeeded: (id, state) => {
    enrolled = id;
    $("words").textContent = "The phone is enrolled.";
    described(
      $("key"),
      state.keys.flatMap((key) => [
        ["AAID", key.aaid],
        ["KeyID", key.keyId],
      ]),
    );
    $("enrolled").hidden = false;
  },
});

function begin(event, wanted) {
  event.preventDefault();
  $("enrolled").hidden = true;
  operation.begin(wanted);
}

$("own").addEventListener("submit", (event) => begin(event, {}));
$("with-code").addEventListener("submit", (event) => {
  begin(event, { code: $("code").value.trim() });
  $("code").value = "";
});
$("undo").addEventListener("click", async () => {
  await call("/web/enrol/undo", { id: enrolled });
  $("enrolled").hidden = true;
  $("words").textContent = "Taken back: the key is gone.";
});
$("own").hidden = !("loggedIn" in document.body.dataset);
