# ruff: noqa: INP001 - read by JupyterHub
"""Who may work with notebooks, and what a person's server is.

The pod of a server is written in base/notebooks/servers/podtemplate.yaml; this file says when there is one.
"""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pod_template import from_template
from realm_login import RealmLogin
from traitlets.config import get_config

NAME = os.environ["PUBLIC_NAME"]
ZONE = NAME.partition(".")[2]
REALM = f"https://auth.{ZONE}/realms/betelgeuse/protocol/openid-connect"
HUB = "http://jupyterhub.ml.svc.cluster.local:8081"
PROXY = "http://jupyterhub-proxy.ml.svc.cluster.local:8001"
IDLE = 2 * 3600
"""Seconds without a running cell or a look at it, after which a server is stopped; its files stay."""
SESSION_DAYS = 10 / 24
"""The longest session of the realm."""


def account(key: str) -> str:
    """Return a key of the database's account."""
    return Path("/account", key).read_text("utf-8")


def edge(_: object) -> str:
    """Return the certificates that the gateway shows when a server starts, and their root if it is told."""
    return "\n".join(path.read_text("utf-8") for path in sorted(Path("/edge").glob("*.crt")))


def server(spawner: Any, pod: dict[str, Any]) -> str:  # noqa: ANN401 - of a library that only the image has
    """Return where a server answers; by itself KubeSpawner looks for another name of the port than the template's."""
    return f"http://{pod['status']['podIP']}:{spawner.port}"


c = get_config()

c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.public_url = f"https://{NAME}/"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = HUB
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = PROXY
# Servers live on while this pod is away, and a proxy that was away is told its ways again.
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.check_running_interval = 10
c.JupyterHub.db_url = "postgresql+psycopg2://{user}:{password}@{host}:{port}/{database}?{options}".format(
    **{key: account(key) for key in ("user", "password", "host", "port", "database")},
    options=urlencode({"sslmode": "verify-full", "sslrootcert": "/account/ca.crt"}),
)
c.JupyterHub.upgrade_db = True
# Who signed in, and whose server started and stopped.
c.JupyterHub.log_level = "INFO"
# Its port is for Prometheus; the route does not lead there.
c.JupyterHub.authenticate_prometheus = False
c.JupyterHub.cookie_max_age_days = SESSION_DAYS
c.JupyterHub.oauth_token_expires_in = int(SESSION_DAYS * 86400)
# Each may take as much as its limit says.
c.JupyterHub.active_server_limit = 6
c.JupyterHub.concurrent_spawn_limit = 2
c.JupyterHub.allow_named_servers = False

c.JupyterHub.authenticator_class = RealmLogin
c.RealmLogin.client_id = NAME.partition(".")[0]
c.RealmLogin.authorize_url = f"{REALM}/auth"
c.RealmLogin.token_url = f"{REALM}/token"
c.RealmLogin.oauth_callback_url = f"https://{NAME}/hub/oauth_callback"
c.RealmLogin.logout_redirect_url = f"{REALM}/logout?" + urlencode(
    {"client_id": NAME.partition(".")[0], "post_logout_redirect_uri": f"https://{NAME}/"}
)
# The realm's certificate inside the cluster is of the stores' CA.
c.RealmLogin.http_request_kwargs = {"ca_certs": "/oidc/ca.crt"}
c.RealmLogin.scope = ["openid"]
c.RealmLogin.userdata_from_id_token = True
c.RealmLogin.username_claim = "preferred_username"
c.RealmLogin.manage_groups = True
c.RealmLogin.auth_state_groups_key = "oauth_user.groups"
c.RealmLogin.allowed_groups = {"platform-admins", "researchers"}
c.RealmLogin.admin_groups = {"platform-admins"}
c.RealmLogin.auto_login = True
# Whose session has ended, or who has left the groups, is out of the hub's pages within a minute.
c.RealmLogin.auth_refresh_age = 60
c.RealmLogin.enable_auth_state = True

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = "notebooks"
c.KubeSpawner.modify_pod_hook = from_template
c.KubeSpawner.port = 8888
c.KubeSpawner.get_pod_url = server
c.KubeSpawner.pod_name_template = "notebook-{user_server}"
c.KubeSpawner.pvc_name_template = "home-{user_server}"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.storage_class = "local-path"
c.KubeSpawner.storage_access_modes = ["ReadWriteOncePod"]
c.KubeSpawner.storage_capacity = "5Gi"
# A home is somebody's work: an administrator deletes it by hand, or nobody does.
c.KubeSpawner.delete_pvc = False
c.KubeSpawner.cmd = ["workbench"]
c.KubeSpawner.default_url = "/lab"
c.KubeSpawner.notebook_dir = "/home/researcher"
c.KubeSpawner.environment = {
    "EDGE_CERTIFICATES": edge,
    "OPENAI_BASE_URL": f"https://llm.{ZONE}/v1",
    "EMBEDDINGS_BASE_URL": f"https://embeddings.{ZONE}/v1",
}
c.KubeSpawner.start_timeout = 600
c.KubeSpawner.http_timeout = 180
# A server may read its owner's access token, to ask the models in their name (apps/workbench). The refresh token beside
# it is of no use without this client's key.
c.KubeSpawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    "read:users:name!user",
    "admin:auth_state!user",
]

c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={IDLE}", "--cull-every=300"],
    }
]
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "admin:auth_state!user"]},
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    },
]
