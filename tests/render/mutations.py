"""Small changes to a tree, each of which a check must notice: the proof that the checks check."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from betelgeuse.kube import Obj
from tests.render.changes import Mutation, Objects
from tests.render.changes import add as _add
from tests.render.changes import container as _container
from tests.render.changes import drop_field as _drop
from tests.render.changes import remove as _remove
from tests.render.changes import set_field as _set
from tests.render.dashboard_mutations import DASHBOARDS
from tests.render.gate_mutations import GATES
from tests.render.guard_mutations import GUARDS
from tests.render.watching_mutations import WATCHING


def _twice(objects: Objects) -> None:
    objects.all.append(copy.deepcopy(objects.one("Service", "llm")))


def _second_owner(objects: Objects) -> None:
    route = copy.deepcopy(objects.one("HTTPRoute", "llm"))
    route["metadata"]["namespace"] = "pebble"
    objects.all.append(route)


def _older_manifests(objects: Objects) -> None:
    objects.one("Deployment", "cert-manager")["metadata"]["labels"]["app.kubernetes.io/version"] = "v1.0.0"


def _cluster_policy(objects: Objects) -> None:
    rules = objects.one("CiliumNetworkPolicy", "envoy-gateway")["spec"]
    rules["egress"].append({"toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "nowhere"}}]})


def _object(version: str, kind: str, name: str, namespace: str, **fields: Any) -> Obj:  # noqa: ANN401 - any JSON value
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


_MODES: Final = ("enforce", "audit", "warn")
_ENVOY: Final = "gateway.envoyproxy.io/v1alpha1"
_SPEC: Final = "spec/template/spec"
_FIRST: Final = f"{_SPEC}/containers/0"
_HELPER: Final = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: helper-pod, image: busybox}]}\n"
_UNBOUNDED: Final = ", resources: {limits: {memory: 64Mi}}}]"
_DAEMON: Final = "spec/provider/kubernetes/envoyDaemonSet"

MUTATIONS: Final = (
    Mutation("typo in a field", "objects_are_valid", _set("Deployment", "llm", "spec/replica", 2)),
    Mutation("typo in a pod", "objects_are_valid", _set("Deployment", "llm", f"{_FIRST}/enviroment", [])),
    Mutation("text for a number", "objects_are_valid", _set("Deployment", "llm", "spec/replicas", "1")),
    Mutation("number in a ConfigMap", "objects_are_valid", _set("ConfigMap", "coredns", "data/port", 53)),
    Mutation("typo in a custom resource", "objects_are_valid", _set("Certificate", "llm", "spec/dnsName", ["x"])),
    Mutation("unknown enum", "objects_are_valid", _set("HTTPRoute", "llm", "spec/rules/0/matches/0/method", "FETCH")),
    Mutation("missing field", "objects_are_valid", _drop("Certificate", "llm", "spec/secretName")),
    Mutation(
        "unknown version", "objects_are_valid", _set("HTTPRoute", "llm", "apiVersion", "gateway.networking.k8s.io/v2")
    ),
    Mutation(
        "port twice", "objects_are_valid", lambda o: o.container("llm")["ports"].append(o.container("llm")["ports"][0])
    ),
    Mutation("object twice", "objects_are_unique", _twice),
    Mutation(
        "host not filled in", "placeholders_are_filled", _set("HTTPRoute", "llm", "spec/hostnames/0", "llm.DOMAIN")
    ),
    Mutation(
        "declaration not read",
        "placeholders_are_filled",
        _set("ListenerSet", "llm", "spec/listeners/0/tls/certificateRefs/0/name", "HOST-tls"),
    ),
    Mutation(
        "size not filled in",
        "placeholders_are_filled",
        _set("Deployment", "llm", f"{_FIRST}/resources/limits/cpu", "LLM_CPU"),
    ),
    Mutation(
        "local object applied",
        "nothing_local_is_left",
        _set("ConfigMap", "coredns", "metadata/annotations", {"config.kubernetes.io/local-config": "true"}),
    ),
    Mutation("secret in git", "secrets_hold_nothing", _set("Secret", "portal-oidc", "stringData", {"key": "geheim"})),
    Mutation("secret nobody fills", "secrets_hold_nothing", _drop("Secret", "portal-oidc", "metadata/annotations")),
    Mutation("ServiceAccount gone", "pods_find_what_they_mount", _remove("ServiceAccount", "llm")),
    Mutation("certificate of a mount gone", "pods_find_what_they_mount", _remove("Certificate", "envoy-gateway")),
    Mutation("secret of a mount gone", "pods_find_what_they_mount", _remove("Secret", "pebble-tls")),
    Mutation(
        "variable from nowhere",
        "pods_find_what_they_mount",
        _container(
            "llm",
            lambda c: c["env"].append({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "x"}}}),
        ),
    ),
    Mutation(
        "selector typo",
        "services_select_pods",
        _set("Service", "llm", "spec/selector", {"app.kubernetes.io/name": "lllm"}),
    ),
    Mutation("target port typo", "services_select_pods", _set("Service", "llm", "spec/ports/0/targetPort", "htp")),
    Mutation("backend gone", "routes_lead_somewhere", _remove("Service", "embeddings")),
    Mutation("backend port", "routes_lead_somewhere", _set("HTTPRoute", "llm", "spec/rules/0/backendRefs/0/port", 81)),
    Mutation("parent typo", "names_lead_to_objects", _set("HTTPRoute", "llm", "spec/parentRefs/0/name", "lm")),
    Mutation(
        "policy for no route", "names_lead_to_objects", _set("SecurityPolicy", "llm", "spec/targetRefs/0/name", "lm")
    ),
    Mutation("client's key from nowhere", "names_lead_to_objects", _remove("Secret", "portal-oidc")),
    Mutation("issuer gone", "names_lead_to_objects", _remove("ClusterIssuer", "platform")),
    Mutation("gateway class gone", "names_lead_to_objects", _remove("GatewayClass", "gateway")),
    Mutation("parameters gone", "names_lead_to_objects", _remove("EnvoyProxy", "gateway")),
    Mutation("gateway gone", "names_lead_to_objects", _remove("Gateway", "gateway")),
    Mutation("role gone", "names_lead_to_objects", _remove("ClusterRole", "cilium")),
    Mutation("webhook's service gone", "names_lead_to_objects", _remove("Service", "cert-manager-webhook")),
    Mutation(
        "namespace without levels",
        "namespaces_state_their_level",
        _set("Namespace", "ai", "metadata/labels", {}),
    ),
    Mutation(
        "namespace privileged",
        "namespaces_state_their_level",
        _set(
            "Namespace",
            "ai",
            "metadata/labels",
            {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in _MODES},
        ),
    ),
    Mutation("namespace gone", "namespaces_are_declared", _remove("Namespace", "ai")),
    Mutation("default deny gone", "namespaces_deny_by_default", _remove("NetworkPolicy", "default-deny", "ai")),
    Mutation(
        "default deny one way",
        "namespaces_deny_by_default",
        _set("NetworkPolicy", "default-deny", "spec/policyTypes", ["Ingress"]),
    ),
    Mutation(
        "default deny with a hole",
        "namespaces_deny_by_default",
        _set("NetworkPolicy", "default-deny", "spec/egress", [{}]),
    ),
    Mutation(
        "policy for nobody",
        "policies_select_pods",
        _set("NetworkPolicy", "llm", "spec/podSelector/matchLabels", {"app.kubernetes.io/name": "lllm"}),
    ),
    Mutation(
        "peer typo",
        "policies_select_pods",
        _set(
            "NetworkPolicy",
            "llm",
            "spec/ingress/0/from/0/podSelector/matchLabels",
            {"app.kubernetes.io/component": "prxy"},
        ),
    ),
    Mutation(
        "peer namespace typo",
        "policies_select_pods",
        _set(
            "NetworkPolicy",
            "llm",
            "spec/ingress/0/from/0/namespaceSelector/matchLabels",
            {"kubernetes.io/metadata.name": "gatway"},
        ),
    ),
    Mutation("cluster policy's peer", "policies_select_pods", _cluster_policy),
    Mutation(
        "policy port", "policies_name_real_ports", _set("NetworkPolicy", "llm", "spec/ingress/0/ports/0/port", "htp")
    ),
    Mutation(
        "cluster policy port",
        "policies_name_real_ports",
        _set("CiliumNetworkPolicy", "webhook", "spec/ingress/0/toPorts/0/ports/0/port", "10251"),
    ),
    Mutation(
        "egress port", "policies_name_real_ports", _set("NetworkPolicy", "acme", "spec/egress/0/ports/0/port", 14001)
    ),
    Mutation("pods without a port", "policies_name_real_ports", _container("llm", lambda c: c.pop("ports"))),
    Mutation(
        "port range for nobody",
        "policies_name_real_ports",
        _set("NetworkPolicy", "proxy", "spec/ingress/0/ports", [{"port": 20000, "endPort": 20010}]),
    ),
    Mutation(
        "privileged", "pods_keep_the_rules", _container("llm", lambda c: c["securityContext"].update(privileged=True))
    ),
    Mutation("as root", "pods_keep_the_rules", _set("Deployment", "llm", f"{_SPEC}/securityContext/runAsUser", 0)),
    Mutation(
        "root not excluded", "pods_keep_the_rules", _drop("Deployment", "llm", f"{_SPEC}/securityContext/runAsNonRoot")
    ),
    Mutation(
        "writable root",
        "pods_keep_the_rules",
        _container("llm", lambda c: c["securityContext"].pop("readOnlyRootFilesystem")),
    ),
    Mutation(
        "may escalate",
        "pods_keep_the_rules",
        _container("llm", lambda c: c["securityContext"].pop("allowPrivilegeEscalation")),
    ),
    Mutation(
        "keeps capabilities",
        "pods_keep_the_rules",
        _container("llm", lambda c: c["securityContext"].pop("capabilities")),
    ),
    Mutation(
        "no seccomp", "pods_keep_the_rules", _drop("Deployment", "llm", f"{_SPEC}/securityContext/seccompProfile")
    ),
    Mutation(
        "no memory limit", "pods_keep_the_rules", _container("llm", lambda c: c["resources"]["limits"].pop("memory"))
    ),
    Mutation("no requests", "pods_keep_the_rules", _container("llm", lambda c: c["resources"].pop("requests"))),
    Mutation(
        "impatient", "pods_keep_the_rules", _container("llm", lambda c: c["livenessProbe"].update(timeoutSeconds=1))
    ),
    Mutation(
        "alive is ready",
        "pods_keep_the_rules",
        _container("llm", lambda c: c.update(livenessProbe={**c["readinessProbe"], "timeoutSeconds": 10})),
    ),
    Mutation(
        "no bound of disk",
        "pods_keep_the_rules",
        _container("llm", lambda c: c["resources"]["limits"].pop("ephemeral-storage")),
    ),
    Mutation(
        "bound below the logs",
        "pods_keep_the_rules",
        _container("llm", lambda c: c["resources"]["limits"].update({"ephemeral-storage": "32Mi"})),
    ),
    Mutation(
        "endless emptyDir",
        "pods_keep_the_rules",
        _drop("Deployment", "keycloak", f"{_SPEC}/volumes/0/emptyDir/sizeLimit"),
    ),
    Mutation(
        "emptyDir beyond the pod's bound",
        "pods_keep_the_rules",
        _set("Deployment", "keycloak", f"{_SPEC}/volumes/0/emptyDir/sizeLimit", "1Gi"),
    ),
    Mutation(
        "proxy without a bound of disk",
        "controllers_are_told_bounds_of_disk",
        _drop("EnvoyProxy", "gateway", f"{_DAEMON}/container/resources/limits/ephemeral-storage"),
    ),
    Mutation(
        "proxy with an endless emptyDir",
        "controllers_are_told_bounds_of_disk",
        _set("EnvoyProxy", "gateway", f"{_DAEMON}/pod/volumes/0/emptyDir", {}),
    ),
    Mutation(
        "helper pod without a bound of disk",
        "controllers_are_told_bounds_of_disk",
        _set("ConfigMap", "local-path-config", "data/helperPod.yaml", _HELPER.replace("}]", _UNBOUNDED)),
    ),
    Mutation("host network", "pods_keep_the_rules", _set("Deployment", "llm", f"{_SPEC}/hostNetwork", value=True)),
    Mutation("host port", "pods_keep_the_rules", _container("llm", lambda c: c["ports"][0].update(hostPort=443))),
    Mutation(
        "latest", "images_are_pinned", _container("llm", lambda c: c.update(image="ghcr.io/betelgeuse/llm:latest"))
    ),
    Mutation(
        "another release's manifests",
        "images_are_of_the_version_that_manifests_say",
        _older_manifests,
    ),
    Mutation("no tag", "images_are_pinned", _container("llm", lambda c: c.update(image="ghcr.io/betelgeuse/llm"))),
    Mutation("no registry", "images_are_pinned", _container("llm", lambda c: c.update(image="llm:1"))),
    Mutation(
        "image nobody built",
        "images_are_ours_where_nothing_can_be_pulled",
        _container("llm", lambda c: c.update(image="ghcr.io/betelgeuse/llm:0.1.0")),
    ),
    Mutation(
        "helper pod of any image",
        "images_are_pinned",
        _set("ConfigMap", "local-path-config", "data/helperPod.yaml", _HELPER),
    ),
    Mutation(
        "helper pod nobody built",
        "images_are_ours_where_nothing_can_be_pulled",
        _set("ConfigMap", "local-path-config", "data/helperPod.yaml", _HELPER.replace("busybox", "docker.io/a/b:1")),
    ),
    Mutation(
        "always pulled",
        "images_are_ours_where_nothing_can_be_pulled",
        _container("llm", lambda c: c.update(imagePullPolicy="Always")),
    ),
    Mutation("no readiness", "pods_say_whether_they_serve", _container("llm", lambda c: c.pop("readinessProbe"))),
    Mutation(
        "token for nothing",
        "tokens_are_not_mounted_for_nothing",
        _set("Deployment", "llm", f"{_SPEC}/automountServiceAccountToken", value=True),
    ),
    Mutation("route for every host", "routes_name_their_hosts", _drop("HTTPRoute", "llm", "spec/hostnames")),
    Mutation(
        "foreign host", "routes_name_their_hosts", _set("HTTPRoute", "llm", "spec/hostnames/0", "llm.example.org")
    ),
    Mutation(
        "listener gone",
        "hosts_have_a_listener_and_a_certificate",
        _set("ListenerSet", "llm", "spec/listeners/0/hostname", "lm.betelgeuse.test"),
    ),
    Mutation("certificate gone", "hosts_have_a_listener_and_a_certificate", _remove("Certificate", "llm")),
    Mutation(
        "certificate for another name",
        "hosts_have_a_listener_and_a_certificate",
        _set("Certificate", "llm", "spec/dnsNames/0", "x.betelgeuse.test"),
    ),
    Mutation("host of another", "hosts_are_one_routes_only", _second_owner),
    Mutation(
        "implementation's own route",
        "implementation_is_replaceable",
        _add(_object(_ENVOY, "Backend", "x", "ai", spec={})),
    ),
    Mutation(
        "route names the implementation",
        "implementation_is_replaceable",
        _set(
            "HTTPRoute",
            "llm",
            "spec/rules/0/filters",
            [
                {
                    "type": "ExtensionRef",
                    "extensionRef": {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": "x"},
                }
            ],
        ),
    ),
    Mutation("ingress", "routes_are_standard", _add(_object("networking.k8s.io/v1", "Ingress", "x", "ai", spec={}))),
    Mutation(
        "app over plain HTTP",
        "plain_http_is_only_redirected",
        _set("ListenerSet", "llm", "spec/listeners/0/protocol", "HTTP"),
    ),
    Mutation(
        "redirect of a host gone",
        "hosts_have_a_redirect_of_their_own",
        _drop("HTTPRoute", "llm-redirect", "spec/hostnames"),
    ),
    Mutation("redirect gone", "plain_http_is_only_redirected", _drop("HTTPRoute", "redirect", "spec/rules/0/filters")),
    *DASHBOARDS,
    *GATES,
    *GUARDS,
    *WATCHING,
)


@dataclass(frozen=True)
class Edit:
    """One change to the tree's files and the layout check that must go red."""

    name: str
    check: str
    file: str
    change: Callable[[str], str]


_LLM: Final = "base/ai/llm/kustomization.yaml"

EDITS: Final = (
    Edit("long", "kustomizations_are_short", _LLM, lambda text: text + "# more\n" * 40),
    Edit(
        "silent patch",
        "kustomizations_are_short",
        _LLM,
        lambda text: text + "patches: [{path: x.yaml, target: {kind: Pod}}]\n",
    ),
    Edit(
        "inline patch",
        "kustomizations_are_short",
        _LLM,
        lambda text: text + "patches:\n  - patch: |\n" + "      a: b\n" * 5,
    ),
    Edit("many patches", "kustomizations_are_short", _LLM, lambda text: text + "patches:\n" + "  - path: x.yaml\n" * 6),
    Edit("old field", "kustomizations_use_no_old_fields", _LLM, lambda text: text + "commonLabels: {a: b}\n"),
    Edit(
        "two kinds",
        "files_are_named_after_their_kind",
        "base/ai/llm/service.yaml",
        lambda text: text + "---\nkind: Pod\n",
    ),
    Edit(
        "wrong name",
        "files_are_named_after_their_kind",
        "base/ai/llm/service.yaml",
        lambda text: text.replace("kind: Service", "kind: Ingress"),
    ),
    Edit("file nobody lists", "files_are_used", _LLM, lambda text: text.replace("  - service.yaml\n", "")),
    Edit(
        "implementation named",
        "implementation_is_named_in_its_place",
        "base/ai/llm/service.yaml",
        lambda text: text + "# gateway.envoyproxy.io\n",
    ),
    Edit(
        "silent component", "components_explain_themselves", "components/settings/README.md", lambda _: "# settings\n"
    ),
    Edit("trailing blanks", "text_is_clean", "base/ai/llm/service.yaml", lambda text: text.replace("\n", " \n", 1)),
    Edit("tab", "text_is_clean", "base/ai/llm/service.yaml", lambda text: f"#\t{text}"),
    Edit("no last line feed", "text_is_clean", "base/ai/llm/service.yaml", lambda text: text.rstrip("\n")),
)
