'use strict';
// A hook of n8n's (EXTERNAL_HOOK_FILES): each request of whoever the gateway has signed in is one of that person's account,
// which is made at first sight. The gateway sends the person's token along; it is verified here once more, so that nobody
// who reaches the pod some other way is believed. Without a token n8n shows its own sign-in, for its owner.
//
// It uses parts of n8n that are not its interface (AuthService, the order of the layers): conformance/tools/test_n8n.py
// tells whether they are still there in a newer version.
//
// Needs: PUBLIC_NAME, KEYS (where the realm's public keys are), AUDIENCE.
const { createPublicKey, randomBytes } = require('node:crypto');
const { realpathSync } = require('node:fs');
const { createRequire } = require('node:module');

const ofProgram = createRequire(realpathSync(process.argv[1]));
const { PUBLIC_NAME, KEYS, AUDIENCE } = process.env;
const COOKIE = 'n8n-auth';
/** Milliseconds that Keycloak may take for an answer, and between two questions for keys that it does not have. */
const PATIENCE = 5_000;
/** The longest user name that fits before the @ of an address. */
const LONGEST = 64;

let keys = new Map();
let asked;

async function fetchKeys() {
  const answer = await fetch(KEYS, { signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${KEYS} answered ${answer.status}`);
  const listed = (await answer.json()).keys.filter((each) => each.use === 'sig');
  keys = new Map(listed.map((each) => [each.kid, createPublicKey({ key: each, format: 'jwk' })]));
}

/** Return the realm's key of that name, if it has one. */
async function key(name) {
  if (!keys.has(name)) {
    asked ??= fetchKeys().finally(() => setTimeout(() => (asked = undefined), PATIENCE).unref());
    await asked;
  }
  return keys.get(name);
}

/** Return what a token says, or undefined where it is not one of the realm's for this host. */
async function claims(token) {
  const { decode, verify } = ofProgram('jsonwebtoken');
  const attempt = (read) => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  const name = attempt(() => decode(token, { complete: true })?.header.kid);
  const known = name && (await key(name));
  return known && attempt(() => verify(token, known, { algorithms: ['RS256'], audience: AUDIENCE }));
}

/**
 * Return the address of a person's account. The person's own address can be changed, and then be another's: the name
 * cannot. The owner's address has another domain, so that it is nobody's here.
 */
function address(name) {
  const local = encodeURIComponent(name.toLowerCase());
  return name && local.length <= LONGEST ? `${local}@${PUBLIC_NAME}` : undefined;
}

async function ready({ app }) {
  const { Container } = ofProgram('@n8n/di');
  const { hash } = ofProgram('bcryptjs');
  const { AuthService } = ofProgram('../dist/auth/auth.service.js');
  const auth = Container.get(AuthService);
  const users = this.dbCollections.User;

  const find = (email) => users.findOne({ where: { email }, relations: ['role'] });

  async function account(name) {
    const email = address(name);
    if (!email) return undefined;
    const found = await find(email);
    if (found) return found;
    // Nobody knows this password: the gateway is the way in.
    const password = await hash(randomBytes(32).toString('hex'), 10);
    const person = { email, firstName: name.slice(0, 32), lastName: '', role: { slug: 'global:member' }, password };
    try {
      await users.createUserWithProject(person);
    } catch (error) {
      // Two first requests at once.
      if (!(await find(email))) throw error;
    }
    return await find(email);
  }

  async function signIn(req, token) {
    const said = await claims(token);
    const user = said && (await account(String(said.preferred_username ?? '')));
    if (!user || user.disabled) return false;
    // For this request alone: a browser that kept it would have a session which nobody ends. What the gateway asked for
    // counts as a second factor, too.
    req.cookies[COOKIE] = auth.issueJWT(user, true);
    return true;
  }

  async function gate(req, res, next) {
    const token = /^Bearer (.+)$/i.exec(req.headers.authorization ?? '')?.[1];
    if (!token) return next();
    delete req.headers.authorization;
    try {
      if (await signIn(req, token)) return next();
    } catch (error) {
      console.error(`gate: ${error.message}`);
      return res.status(503).send('It cannot be found out now who you are.');
    }
    return res.status(401).send('Your session is not one of this host.');
  }

  app.use(gate);
  // Right behind what reads cookies, before everything that asks for a session.
  const { stack } = app.router;
  const layer = stack.pop();
  const place = stack.findIndex((each) => each.name === 'cookieParser');
  if (place < 0) throw new Error('gate: this version of n8n reads cookies some other way');
  stack.splice(place + 1, 0, layer);
}

module.exports = { n8n: { ready: [ready] } };
