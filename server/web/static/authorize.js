// The authorization page: who asks for what, a log-in where one is needed, and the person's yes or no.

import { $, call, described, element } from "./base.js";
import { scopeWords } from "./scopes.js";
import { offer } from "./ways.js";

const ACRS = {
  uaf: "with your phone",
  "uaf-hw": "with a phone that keeps its key in hardware",
  fido2: "with a passkey",
  "fido2-hw": "with a passkey of a security key that is vouched for",
};
let asked;
let begin;

async function show() {
  asked = await call("/web/authorize", { query: location.search.slice(1) });
  // Loaded again, and after a log-in, it is this very request, whose time does not begin anew.
  history.replaceState(null, "", `?${asked.query}`);
  const enough = asked.username && !asked.acr;
  described($("facts"), [
    ["It calls itself", asked.client],
    ["Goes on at", asked.destination],
    ...(asked.username ? [["You are", asked.username]] : []),
  ]);
  const scopes = asked.scopes.map(scopeWords);
  $("scopes").replaceChildren(...(scopes.length ? scopes : ["nothing but that you are here"]).map((text) => element("li", text)));
  $("request").hidden = false;
  if (!enough) return logIn(asked.acr ? `This app asks for a fresh log-in ${ways(asked.acr)}.` : "");
  $("log-in").hidden = true;
  $("decision").hidden = false;
  $("heading").focus();
}

const ways = (acrs) => acrs.map((acr) => ACRS[acr]).join(", or ");

function logIn(why) {
  $("why").textContent = why;
  $("decision").hidden = true;
  $("log-in").hidden = false;
  if (begin) begin();
  else begin = offer(guarded(show));
}

async function decide(allow) {
  let where;
  try {
    ({ location: where } = await call("/web/authorize/decide", { id: asked.id, allow, username: asked.username }));
  } catch (error) {
    if (error.status !== 401) throw error;
    return show();
  }
  $("request").hidden = $("log-in").hidden = true;
  $("answer").textContent = "Going back to the app…";
  location.replace(where);
}

// What the server says no to is said in words, and there is nothing else to do here then.
function guarded(action) {
  return async (event) => {
    event?.preventDefault();
    try {
      await action();
    } catch (error) {
      $("request").hidden = $("log-in").hidden = true;
      $("answer").textContent = error.message;
    }
  };
}

$("decision").addEventListener("submit", guarded(() => decide(true)));
$("deny").addEventListener("click", guarded(() => decide(false)));
$("leave").addEventListener("click", guarded(() => decide(false)));
$("another").addEventListener("click", guarded(() => logIn("")));
// A page shown again from the browser's cache shows what is long over.
addEventListener("pageshow", (event) => event.persisted && location.reload());
await guarded(show)();
