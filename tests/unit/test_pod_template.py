"""The pod of a person's server: the tree's template, with what JupyterHub knows."""

from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace as Made
from typing import Any

from betelgeuse import paths


def load() -> Any:  # noqa: ANN401 - a module that only an image has on its path
    """Return the module of the hub's image."""
    spec = spec_from_file_location("pod_template", paths.ROOT / "programs" / "jupyterhub" / "pod_template.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pod(labels: dict[str, str], container: Made, *volumes: Made) -> Made:
    """Return a pod or its template, as the API's client has them."""
    return Made(
        metadata=Made(name="notebook-ann", labels=labels), spec=Made(containers=[container], volumes=list(volumes))
    )


def test_a_pod_is_the_template_for_somebody() -> None:
    """Image, bounds and volumes are the tree's; name, command, variables and the home's claim are the person's."""
    home, tmp = Made(name="home", ephemeral={}, persistent_volume_claim=None), Made(name="tmp", ephemeral=None)
    template = pod({"name": "notebook"}, Made(image="ours", args=None, env=["HOME"]), home, tmp)
    wanted = pod({"user": "ann", "name": "hub"}, Made(image="upstream", args=["workbench"], env=["WHO"]))

    made = load().filled(template, wanted, "home-ann")

    (container,) = made.spec.containers
    assert made.metadata.name == "notebook-ann"
    assert made.metadata.labels == {"user": "ann", "name": "notebook"}
    assert (container.image, container.args, container.env) == ("ours", ["workbench"], ["HOME", "WHO"])
    assert home.ephemeral is None
    assert home.persistent_volume_claim == {"claimName": "home-ann"}
    assert not hasattr(tmp, "persistent_volume_claim")
