'use strict';
// A hook of n8n's (EXTERNAL_HOOK_FILES): the workflows of the tree are there, published, with their credentials, whenever
// n8n has started; they belong to its owner. What somebody changed in them is set back. As the commands import:credentials,
// import:workflow and publish:workflow do it, which would take a process each.
//
// Needs: the workflows in /workflows, the keys of their accounts in /secrets.
const { readFileSync, readdirSync, realpathSync } = require('node:fs');
const { createRequire } = require('node:module');
const { isDeepStrictEqual } = require('node:util');

const ofProgram = createRequire(realpathSync(process.argv[1]));

const read = (path) => readFileSync(path, 'utf8').trim();

/** Return a function that reads the keys of an account. */
const account = (name) => (key) => read(`/secrets/${name}/${key}`);

function credentials() {
  const kafka = account('kafka');
  const postgres = account('postgres');
  return [
    {
      id: 'alertsToken00001',
      name: 'Alerts: token of the sender',
      type: 'httpHeaderAuth',
      data: { name: 'Authorization', value: `Bearer ${read('/secrets/alerts/token')}` },
    },
    {
      id: 'alertsKafka00001',
      name: 'Alerts: Kafka',
      type: 'kafka',
      data: {
        clientId: 'n8n',
        brokers: `${kafka('host')}:${kafka('port')}`,
        ssl: true,
        ca: kafka('ca.crt'),
        authentication: true,
        username: kafka('user'),
        password: kafka('password'),
        saslMechanism: 'scram-sha-512',
      },
    },
    {
      id: 'alertsPostgres01',
      name: 'Alerts: PostgreSQL',
      type: 'postgres',
      data: {
        host: postgres('host'),
        port: Number(postgres('port')),
        database: postgres('database'),
        user: postgres('user'),
        password: postgres('password'),
        ssl: 'require',
      },
    },
  ];
}

async function ready() {
  const { Container } = ofProgram('@n8n/di');
  const { CredentialsEntity, ProjectRepository, SharedCredentials } = ofProgram('@n8n/db');
  const { Cipher } = ofProgram('n8n-core');
  const { ImportService } = ofProgram('../dist/services/import.service.js');
  const { Credentials, User, Workflow } = this.dbCollections;

  const owner = await User.findOneOrFail({ where: { role: { slug: 'global:owner' } } });
  const project = await Container.get(ProjectRepository).getPersonalProjectForUserOrFail(owner.id);
  const cipher = Container.get(Cipher);
  for (const { data, ...rest } of credentials()) {
    const sealed = await cipher.encryptV2(data);
    await Credentials.manager.upsert(CredentialsEntity, { ...rest, data: sealed }, ['id']);
    const sharing = { credentialsId: rest.id, projectId: project.id, role: 'credential:owner' };
    await Credentials.manager.upsert(SharedCredentials, sharing, ['credentialsId', 'projectId']);
  }

  const files = readdirSync('/workflows').filter((name) => name.endsWith('.json'));
  for (const wanted of files.map((name) => JSON.parse(read(`/workflows/${name}`)))) {
    const found = await Workflow.findOneBy({ id: wanted.id });
    const same = ['name', 'nodes', 'connections'].every((part) => isDeepStrictEqual(found?.[part], wanted[part]));
    if (same && found.activeVersionId === found.versionId) continue;
    await Container.get(ImportService).importWorkflows([wanted], project.id, owner.id, { activeState: 'false' });
    // n8n starts whatever is published right after its hooks.
    await Workflow.publishVersion(wanted.id);
  }
}

module.exports = { n8n: { ready: [ready] } };
