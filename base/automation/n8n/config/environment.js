'use strict';
// Read before n8n (node --require): variables of n8n's that are made of others here.
//
// Needs: PUBLIC_NAME; /secrets/n8n/owner-password.
const { readFileSync, realpathSync } = require('node:fs');
const { createRequire } = require('node:module');
const { isMainThread } = require('node:worker_threads');

// Threads of n8n's read this file, too, and have the variables already.
if (isMainThread) {
  const ofProgram = createRequire(realpathSync(process.argv[1]));
  const domain = process.env.PUBLIC_NAME.replace(/^[^.]+\./, '');

  process.env.N8N_WEBHOOK_URL = `https://hooks.${domain}/`;
  // n8n takes a hash alone.
  process.env.N8N_INSTANCE_OWNER_PASSWORD_HASH = ofProgram('bcryptjs').hashSync(
    readFileSync('/secrets/n8n/owner-password', 'utf8').trim(),
    10,
  );
}
