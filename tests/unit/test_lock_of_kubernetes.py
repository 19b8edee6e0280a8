"""Another version of Kubernetes is locked with what it publishes of its own tree."""

from betelgeuse.workflows.lock import staged

_KUBERNETES = {
    "Replace": [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "k8s.io/kms"}, "New": {"Path": "./staging/src/k8s.io/kms"}},
        {"Old": {"Path": "example.org/fork"}, "New": {"Path": "example.org/other", "Version": "v1.0.0"}},
    ]
}


def test_a_module_of_its_tree_has_its_minor_and_patch_version() -> None:
    """Also where another version stood; what it does not keep any more is replaced no longer."""
    ours = {
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "k8s.io/api", "Version": "v0.36.3"}},
            {"Old": {"Path": "k8s.io/gone"}, "New": {"Path": "k8s.io/gone", "Version": "v0.36.3"}},
            {"Old": {"Path": "example.org/a"}, "New": {"Path": "example.org/b", "Version": "v1.2.3"}},
        ]
    }

    assert staged(_KUBERNETES, ours, "v1.37.2") == [
        "-dropreplace=k8s.io/gone",
        "-replace=k8s.io/api=k8s.io/api@v0.37.2",
        "-replace=k8s.io/kms=k8s.io/kms@v0.37.2",
    ]


def test_a_program_that_replaces_nothing_yet_does_so() -> None:
    """Go says so by null."""
    assert staged(_KUBERNETES, {"Replace": None}, "v1.37.2")[0] == "-replace=k8s.io/api=k8s.io/api@v0.37.2"
