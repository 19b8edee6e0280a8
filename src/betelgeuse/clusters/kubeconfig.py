"""The administrator's kubeconfig of a cluster that kubeadm made, kept where every command looks for it."""

from typing import Any, cast

import yaml

from betelgeuse import paths


def keep(env: str, admin: str, url: str = "") -> None:
    """Write what kubeadm left for the administrator, under the environment's own names; only its owner may read it.

    `url` is where the API server is, if not where kubeadm says.
    """
    data = cast("dict[str, Any]", yaml.safe_load(admin))
    name = f"betelgeuse-{env}"
    data["clusters"][0]["name"] = data["users"][0]["name"] = data["contexts"][0]["name"] = name
    if url:
        data["clusters"][0]["cluster"]["server"] = url
    data["contexts"][0]["context"] = {"cluster": name, "user": name}
    data["current-context"] = name
    paths.write(paths.kubeconfig_path(env), yaml.safe_dump(data), private=True)
