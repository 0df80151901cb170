// Verifies one assertion over and over. Standard input: the assertion and what is expected, then a line for each turn with
// the seconds to run; standard output: for each, how often a second it was verified, by the library and by node's crypto alone.
import { createPublicKey, verify } from 'node:crypto';
import { createInterface } from 'node:readline';
import { verifyAuthenticationResponse } from '@simplewebauthn/server';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64url'));
const expected = {
  response: given.response,
  expectedChallenge: given.challenge,
  expectedOrigin: given.origin,
  expectedRPID: given.rpId,
  requireUserVerification: true,
  credential: { id: given.response.id, publicKey: bytes(given.publicKey), counter: given.counter },
};
const key = createPublicKey({ key: given.jwk, format: 'jwk' });
const signed = bytes(given.signed);
const signature = bytes(given.response.response.signature);

async function library() {
  const { verified } = await verifyAuthenticationResponse(expected);
  if (!verified) throw new Error('not verified');
}

async function bare() {
  if (!verify('sha256', signed, key, signature)) throw new Error('not verified');
}

async function rate(work, seconds) {
  const started = performance.now();
  const end = started + 1000 * seconds;
  let count = 0;
  while (performance.now() < end) {
    for (let i = 0; i < 20; i++) await work();
    count += 20;
  }
  return (1000 * count) / (performance.now() - started);
}

for await (const line of lines) {
  const { seconds, what } = JSON.parse(line);
  console.log(await rate(what === 'bare' ? bare : library, seconds));
}
