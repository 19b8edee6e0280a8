// Starts n8n's runner of JavaScript, as its launcher does, which is published as a program for other systems alone: asks
// n8n for a token that counts once, hands it to the runner, and ends with it. The runner has none of this process's other
// variables.
//
// Needs: N8N_RUNNERS_AUTH_TOKEN, N8N_RUNNERS_TASK_BROKER_URI; the path of n8n's package.json as its argument.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { setTimeout } from 'node:timers/promises';

const PASSED = ['PATH', 'HOME', 'TMPDIR', 'GENERIC_TIMEZONE', 'NODE_OPTIONS', 'N8N_RUNNERS_TASK_BROKER_URI'];
const ISOLATED = ['--disallow-code-generation-from-strings', '--disable-proto=delete'];
const PAUSE = 2_000;

async function grant(uri, token) {
  const answer = await fetch(`${uri}/runners/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.ok) return (await answer.json()).data.token;
  throw new Error(`n8n refuses the runner: ${answer.status}`);
}

async function granted(uri, token) {
  for (let last = ''; ; await setTimeout(PAUSE)) {
    try {
      return await grant(uri, token);
    } catch (error) {
      // n8n takes a minute or more to start; the same trouble is told once.
      const trouble = error.cause?.code ?? error.message;
      if (trouble !== last) console.error(`waiting for n8n: ${trouble}`);
      last = trouble;
    }
  }
}

const { N8N_RUNNERS_AUTH_TOKEN: token, N8N_RUNNERS_TASK_BROKER_URI: uri } = process.env;
const program = createRequire(process.argv[2]).resolve('@n8n/task-runner/start');
const passed = Object.fromEntries(PASSED.filter((name) => process.env[name]).map((name) => [name, process.env[name]]));
const env = { ...passed, N8N_RUNNERS_GRANT_TOKEN: await granted(uri, token) };
const runner = spawn(process.execPath, [...ISOLATED, program], { stdio: 'inherit', env });
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => runner.kill(signal));
runner.on('exit', (code) => process.exit(code ?? 1));
