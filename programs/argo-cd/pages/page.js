// Shows who is logged in, and the applications that they may see.
"use strict";

const byId = (id) => document.getElementById(id);

async function ask(path, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const answer = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function makeToken() {
  const shown = byId("token");
  try {
    const made = await ask("api/v1/projects/default/roles/cli/token", { expiresIn: 12 * 60 * 60 });
    shown.textContent = made.token;
  } catch (error) {
    shown.textContent = `There is none for you (${error.message}).`;
  }
}

function row(application) {
  const { metadata, spec, status = {} } = application;
  const from = spec.source ?? spec.sources?.[0] ?? {};
  const line = document.createElement("tr");
  const cells = [
    metadata.name,
    spec.project,
    [from.repoURL, from.path].filter(Boolean).join(" "),
    status.sync?.revision?.slice(0, 8),
    status.sync?.status,
    status.health?.status,
  ];
  for (const text of cells) line.insertCell().textContent = text ?? "";
  return line;
}

async function show() {
  for (const each of document.querySelectorAll(".host")) each.textContent = location.host;
  const said = new URLSearchParams(location.search).get("has_sso_error") ? "The login failed. " : "";
  const { loggedIn, username } = await ask("api/v1/session/userinfo");
  byId("login").hidden = Boolean(loggedIn);
  byId("logout").hidden = !loggedIn;
  byId("make").disabled = !loggedIn;
  byId("make").addEventListener("click", makeToken);
  byId("who").textContent = loggedIn ? `You are ${username}.` : `${said}You are not logged in.`;
  if (!loggedIn) return;
  const { items } = await ask("api/v1/applications");
  const table = byId("applications");
  table.tBodies[0].replaceChildren(...(items ?? []).map(row));
  table.hidden = false;
  if (!items?.length) byId("who").textContent += " There is no application that you may see.";
}

show().catch((error) => { byId("who").textContent = `Argo CD does not answer as it should (${error.message}).`; });
