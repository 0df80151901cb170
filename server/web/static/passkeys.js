// Passkeys: logging in with one, and making one, through the browser's own navigator.credentials.

import { call } from "./base.js";

export const known = () => typeof window.PublicKeyCredential?.parseRequestOptionsFromJSON === "function";

export async function logIn(remember) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await call("/web/passkey/options"));
  const found = await navigator.credentials.get({ publicKey });
  await call("/web/passkey", { credential: found.toJSON(), remember });
}

export async function add(username) {
  const options = await call("/nevisfido/fido2/attestation/options", {
    username,
    displayName: username,
    attestation: "direct",
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    extensions: { credProps: true },
  });
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const made = await navigator.credentials.create({ publicKey });
  await call("/nevisfido/fido2/attestation/result", made.toJSON());
}

// What the browser or the server said no to, in words.
export function words(error) {
  if (error.name === "NotAllowedError") return "No passkey was used: cancelled, timed out, or there is none here.";
  if (error.name === "InvalidStateError") return "This device has a passkey for you already.";
  return error.message;
}
