"""Bring a realm to what is declared: compare, then create, set and remove, and tell each change.

Compared are the declared fields only. Removed is only what carries our mark and is declared no more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from betelgeuse.errors import BetelgeuseError
from betelgeuse.identity.admin import Api
from betelgeuse.identity.compare import fields, merged, told
from betelgeuse.identity.realm import ADJUSTED, MANAGEMENT, MASTER, OWNED, REALM, Desired, Rep

_AT: Final = f"/{REALM}"


def _owned(rep: Mapping[str, object]) -> bool:
    attributes = rep.get("attributes")
    value = attributes.get(OWNED) if isinstance(attributes, Mapping) else None
    # A group's attributes are lists, everything else's are texts.
    return value in ("true", ["true"])


def _by(name: str, reps: Iterable[Rep]) -> dict[str, Rep]:
    return {str(rep[name]): rep for rep in reps}


class Reconcile:
    """One run; with `dry_run` it only tells."""

    def __init__(self, api: Api, desired: Desired, secrets: Mapping[str, str], *, dry_run: bool = False) -> None:
        """Take the declared realm and the clients' secrets by client id."""
        self.api, self.desired, self.secrets, self.dry_run = api, desired, secrets, dry_run
        self.changes: list[str] = []
        self.scope_ids: dict[str, str] = {}
        self.roles: dict[str, Rep] = {}

    def run(self) -> list[str]:
        """Return the changes, each a line that names what and how."""
        self._settings("/master", MASTER, "realm master")
        if not self._realm():
            return self.changes
        live = _by("clientId", self.api.get(f"{_AT}/clients"))
        self._roles()
        self._groups(live[MANAGEMENT]["id"])
        # After the groups have their roles: what tokens tell goes on without a gap.
        self._scopes()
        self._clients(live)
        self._prune(live)
        return self.changes

    def _note(self, what: str, how: str) -> None:
        self.changes.append(f"{what}: {how}")

    def _settings(self, path: str, want: Mapping[str, object], what: str) -> bool:
        live = self.api.get(path)
        if live is None:
            return False
        if difference := told(want, live):
            self._note(what, difference)
            if not self.dry_run:
                self.api.put(path, merged(live, want))
        return True

    def _realm(self) -> bool:
        """Set the realm itself; False when a dry run finds none and can say no more."""
        what = f"realm {REALM}"
        if self._settings(_AT, self.desired.settings, what):
            return True
        clients = ", ".join(self.desired.clients) or "none"
        self._note(what, f"created, with groups {', '.join(self.desired.groups)} and clients {clients}")
        if self.dry_run:
            return False
        # Keycloak does not take half of a policy in a new realm: it is made with its defaults, closed, and then set.
        self.api.post("", {"realm": REALM, "enabled": False})
        self.api.put(_AT, merged(self.api.get(_AT), self.desired.settings))
        return True

    def _roles(self) -> None:
        """Have a role of each group's name."""
        path = f"{_AT}/roles"
        self.roles = _by("name", self.api.get(f"{path}?briefRepresentation=false"))
        for name in self.desired.groups:
            what, mark = f"role {name}", {OWNED: ["true"]}
            if name not in self.roles:
                self._note(what, "created")
                if not self.dry_run:
                    self.api.post(path, {"name": name, "attributes": mark})
                    self.roles[name] = self.api.get(f"{path}/{name}")
            elif fields({"attributes": mark}, self.roles[name]):
                self._note(what, "marked as ours")
                if not self.dry_run:
                    self.api.put(f"{path}/{name}", merged(self.roles[name], {"attributes": mark}))
        for name in sorted(set(self.roles) - set(self.desired.groups)):
            if _owned(self.roles[name]):
                self._remove(f"{path}/{name}", f"role {name}")

    def _scopes(self) -> None:
        path = f"{_AT}/client-scopes"
        live = _by("name", self.api.get(path))
        self.scope_ids = {name: str(rep["id"]) for name, rep in live.items()}
        for name, want in self.desired.scopes.items():
            what = f"scope {name}"
            if name not in live:
                self._note(what, "created")
                if not self.dry_run:
                    self.scope_ids[name] = self.api.post(path, want)
                    self._scope_roles(name, what)
                continue
            self._scope_roles(name, what)
            self._update(f"{path}/{live[name]['id']}", want, live[name], what)
        for name in sorted(set(live) - set(self.desired.scopes)):
            if _owned(live[name]):
                self._remove(f"{path}/{live[name]['id']}", f"scope {name}")

    def _scope_roles(self, name: str, what: str) -> None:
        """Let a scope tell exactly the roles that are declared for it."""
        path = f"{_AT}/client-scopes/{self.scope_ids[name]}/scope-mappings/realm"
        wanted, present = set(self.desired.roles.get(name, ())), set(_by("name", self.api.get(path) or []))
        for names, word, send in (
            (wanted - present, "added", self.api.post),
            (present - wanted, "removed", self.api.delete),
        ):
            for role in sorted(names):
                self._note(what, f"role {role} {word}")
                if not self.dry_run:
                    send(path, [self.roles[role]])

    def _update(self, path: str, want: Rep, live: Rep, what: str) -> None:
        """Set the declared fields of something that has protocol mappers, and exactly the declared mappers."""
        if difference := told(want, live):
            self._note(what, difference)
            if not self.dry_run:
                self.api.put(path, merged(live, want))
        if "protocolMappers" not in want:
            return
        models = f"{path}/protocol-mappers/models"
        wanted, present = _by("name", want["protocolMappers"]), _by("name", live.get("protocolMappers") or [])
        for name, mapper in wanted.items():
            if name not in present:
                self._note(what, f"mapper {name} added")
                if not self.dry_run:
                    self.api.post(models, mapper)
            elif difference := told(mapper, present[name]):
                self._note(what, f"mapper {name}: {difference}")
                if not self.dry_run:
                    self.api.put(f"{models}/{present[name]['id']}", merged(present[name], mapper))
        for name in sorted(set(present) - set(wanted)):
            self._remove(f"{models}/{present[name]['id']}", f"{what}, mapper {name}")

    def _remove(self, path: str, what: str) -> None:
        self._note(what, "removed")
        if not self.dry_run:
            self.api.delete(path)

    def _clients(self, live: Mapping[str, Rep]) -> None:
        path = f"{_AT}/clients"
        for name, bare in self.desired.clients.items():
            want, what = self._with_secret(name, bare), f"client {name}"
            if name not in live:
                self._note(what, "created")
                if not self.dry_run:
                    self.api.post(path, want)
                continue
            at = f"{path}/{live[name]['id']}"
            self._update(at, want, live[name], what)
            for kind in ("default", "optional"):
                self._client_scopes(at, kind, want, live[name], what)
        for name, settings in ADJUSTED.items():
            if name in live:
                self._update(f"{path}/{live[name]['id']}", dict(settings), live[name], f"client {name}")

    def _with_secret(self, name: str, bare: Rep) -> Rep:
        if name in self.secrets:
            return bare | {"secret": self.secrets[name]}
        if self.dry_run:
            return bare
        message = f"client {name}: its Secret ({bare['description']}) holds no key yet; run `invoke deploy` again"
        raise BetelgeuseError(message)

    def _client_scopes(self, at: str, kind: str, want: Rep, live: Rep, what: str) -> None:
        wanted, present = set(want[f"{kind}ClientScopes"]), set(live.get(f"{kind}ClientScopes") or [])
        for name in sorted(present - wanted):
            self._note(what, f"{kind} scope {name} removed")
            if not self.dry_run:
                self.api.delete(f"{at}/{kind}-client-scopes/{self.scope_ids[name]}")
        for name in sorted(wanted - present):
            self._note(what, f"{kind} scope {name} added")
            if not self.dry_run:
                self.api.put(f"{at}/{kind}-client-scopes/{self.scope_ids[name]}", None)

    def _groups(self, management: str) -> None:
        path = f"{_AT}/groups"
        live = _by("name", self.api.get(f"{path}?briefRepresentation=false"))
        for name, rights in self.desired.groups.items():
            what, mark = f"group {name}", {OWNED: ["true"]}
            rep = live.get(name)
            if rep is None:
                self._note(what, "created")
                if self.dry_run:
                    continue
                rep = {"name": name, "attributes": mark}
                rep["id"] = self.api.post(path, rep)
            elif fields({"attributes": mark}, rep):
                self._note(what, "marked as ours")
                if not self.dry_run:
                    self.api.put(f"{path}/{rep['id']}", merged(rep, {"attributes": mark}))
            if name not in (rep.get("realmRoles") or []):
                self._note(what, "role given")
                if not self.dry_run:
                    self.api.post(f"{path}/{rep['id']}/role-mappings/realm", [self.roles[name]])
            self._rights(rep, set(rights), management, what)
        for name in sorted(set(live) - set(self.desired.groups)):
            if _owned(live[name]):
                self._remove(f"{path}/{live[name]['id']}", f"group {name}")

    def _rights(self, group: Rep, wanted: set[str], management: str, what: str) -> None:
        present = set((group.get("clientRoles") or {}).get(MANAGEMENT) or [])
        path = f"{_AT}/groups/{group['id']}/role-mappings/clients/{management}"
        for names, word, send in (
            (wanted - present, "given", self.api.post),
            (present - wanted, "taken away", self.api.delete),
        ):
            for name in sorted(names):
                self._note(what, f"right {name} {word}")
                if not self.dry_run:
                    role = self.api.get(f"{_AT}/clients/{management}/roles/{name}") or {}
                    if role.get("name") != name:
                        message = f"Keycloak has no role {name!r} of client {MANAGEMENT}"
                        raise BetelgeuseError(message)
                    send(path, [role])

    def _prune(self, live: Mapping[str, Rep]) -> None:
        for name in sorted(set(live) - set(self.desired.clients)):
            if _owned(live[name]):
                self._remove(f"{_AT}/clients/{live[name]['id']}", f"client {name}")
