// What all pages' scripts share: asking the server, and putting texts (never markup) in their places.

export const $ = (id) => document.getElementById(id);

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function checked(answer) {
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail ?? problem.errorMessage ?? `The server answered ${answer.status}.`);
}

export function post(path, body, accept, signal) {
  const headers = { "content-type": "application/json", accept };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal, cache: "no-store" });
}

export async function call(path, body = {}, signal = undefined) {
  const answer = await checked(await post(path, body, "application/json", signal));
  return answer.status === 204 ? null : answer.json();
}

export async function fetched(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  return (await checked(answer)).json();
}

export const element = (name, text, ...children) => {
  const made = Object.assign(document.createElement(name), { textContent: text });
  made.append(...children);
  return made;
};

export function button(text, clicked) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", clicked);
  return made;
}

export function buttons(...made) {
  const line = element("p", "", ...made);
  line.className = "buttons";
  return line;
}

// Server-sent events read from a POST: what is watched stands in no URL.
export async function* events(path, body, signal) {
  const answer = await checked(await post(path, body, "text/event-stream", signal));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// Fills a <dl>.
export function described(list, pairs) {
  list.replaceChildren();
  for (const [name, value] of pairs) list.append(element("dt", name), element("dd", value));
  return list;
}
