"""What we own."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betelgeuse import inventory
from betelgeuse.errors import LockedError, WaitTimeoutError
from betelgeuse.inventory import Inventory
from betelgeuse.kube import Key, key_of
from tests.unit.fakes import FakeKube, obj

CONFIG = obj("v1", "ConfigMap", "c", "n")
DEPLOYMENT = obj("apps/v1", "Deployment", "d", "n")
NAMESPACE = obj("v1", "Namespace", "n")
NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1)
KEYS = st.builds(Key, st.sampled_from(["", "apps", "x.org"]), st.sampled_from(["A", "B"]), NAME | st.just(""), NAME)


def version(key: Key) -> str:
    """Return an API version of a key's group."""
    return f"{key.group}/v1" if key.group else "v1"


@given(st.dictionaries(KEYS.filter(lambda key: key.namespace != "-"), st.sampled_from(["", "a:b:c"])))
def test_what_is_written_is_read(records: dict[Key, str]) -> None:
    """The ConfigMap holds everything, whatever the names are."""
    wanted = Inventory({key: version(key) for key in records}, records, set(list(records)[::2]))

    assert Inventory.parse(wanted.data()) == wanted


def test_it_is_text_for_people() -> None:
    """One key per kind, one line per object."""
    found = Inventory({key_of(DEPLOYMENT): "apps/v1", key_of(NAMESPACE): "v1"}, {key_of(DEPLOYMENT): "p"})

    assert found.data() == {"Deployment.apps": "apps/v1 Deployment n d p\n", "Namespace.core": "v1 Namespace - n -\n"}


def test_foreign_lines_are_left_out() -> None:
    """What a hand wrote into it is no object of ours."""
    assert Inventory.parse({"x": "hello\na b c d e f g\n\n"}) == Inventory()


def test_union_takes_the_proof_from_what_changes() -> None:
    """Before an apply everything old and new is listed, and only what stays as it is keeps its proof."""
    old = Inventory({key_of(CONFIG): "v1", key_of(NAMESPACE): "v1"}, {key_of(CONFIG): "p", key_of(NAMESPACE): "q"})

    found = old.union([CONFIG, DEPLOYMENT], [key_of(CONFIG), key_of(DEPLOYMENT)], {key_of(CONFIG): CONFIG})

    assert set(found.versions) == {key_of(CONFIG), key_of(DEPLOYMENT), key_of(NAMESPACE)}
    assert {key: proof for key, proof in found.records.items() if proof} == {key_of(NAMESPACE): "q"}
    assert found.left_the_tree([CONFIG, DEPLOYMENT]) == [key_of(NAMESPACE)]
    assert found.adopted == set()


def test_what_was_there_before_us_is_adopted() -> None:
    """An object that others made before our first apply is marked, for as long as it is in the tree."""
    made_by_us = obj("apps/v1", "Deployment", "d", "n", managedFields=[{"manager": "betelgeuse"}])
    live = {key_of(NAMESPACE): NAMESPACE, key_of(DEPLOYMENT): made_by_us}

    found = Inventory().union([CONFIG, DEPLOYMENT, NAMESPACE], [], live)

    assert found.adopted == {key_of(NAMESPACE)}
    assert Inventory.parse(found.data()) == found
    assert found.union([NAMESPACE], [], live).adopted == {key_of(NAMESPACE)}
    assert found.exact([CONFIG], {}, []).adopted == set()


def test_exact_is_the_tree_and_what_was_kept() -> None:
    """After a prune only the tree is ours, and what had to stay, with its old proof."""
    old = Inventory({key_of(CONFIG): "v1", key_of(NAMESPACE): "v1"}, {key_of(NAMESPACE): "q"})

    found = old.exact([DEPLOYMENT], {key_of(DEPLOYMENT): "p"}, [key_of(NAMESPACE), Key("", "Gone", "", "x")])

    assert found.versions == {key_of(DEPLOYMENT): "apps/v1", key_of(NAMESPACE): "v1"}
    assert found.records == {key_of(DEPLOYMENT): "p", key_of(NAMESPACE): "q"}


def test_partial_keeps_what_was_proven() -> None:
    """After a failed apply the objects that were done have their proof."""
    old = Inventory({key_of(CONFIG): "v1", key_of(DEPLOYMENT): "apps/v1"}, {key_of(CONFIG): "", key_of(DEPLOYMENT): ""})

    assert old.partial({key_of(CONFIG): "p"}).records == {key_of(CONFIG): "p", key_of(DEPLOYMENT): ""}


def test_saved_is_loaded() -> None:
    """A cluster without an inventory has nothing of ours; saving makes the namespace on the way, once."""
    fake = FakeKube()
    wanted = Inventory({key_of(CONFIG): "v1"}, {key_of(CONFIG): "p"})

    assert inventory.load(fake.kube) == Inventory()
    inventory.save(fake.kube, wanted)
    inventory.save(fake.kube, wanted)

    assert inventory.load(fake.kube) == wanted
    assert [key.kind for _, key in fake.log] == ["Namespace", "ConfigMap", "ConfigMap"]


def test_a_namespace_on_its_way_out_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after a destroy the namespace is still being deleted: wait for that, and say so when it takes too long."""
    now = [0.0]
    home = obj("v1", "Namespace", inventory.NAMESPACE)
    home["metadata"]["deletionTimestamp"] = "now"
    fake = FakeKube(home)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] == 3:
            fake.objects.clear()

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    inventory.save(fake.kube, Inventory())
    assert inventory.load(fake.kube) == Inventory()

    fake.put(home)
    with pytest.raises(WaitTimeoutError, match="namespace betelgeuse-system is still being deleted after 120 s"):
        inventory.save(fake.kube, Inventory())


def test_the_chosen_profile_stays_with_what_we_own() -> None:
    """Through every step of a deploy; a deploy without a choice takes it away again."""
    fake = FakeKube()
    chosen = Inventory({key_of(CONFIG): "v1"}, {key_of(CONFIG): "p"}, profile="data")
    inventory.save(fake.kube, chosen)

    assert inventory.load(fake.kube) == chosen
    assert chosen.data()["profile"] == "data\n"
    steps = [chosen.union([], [], {}), chosen.partial({}), chosen.exact([], {}, []), chosen.with_claims([])]
    assert {step.profile for step in steps} == {"data"}
    inventory.save(fake.kube, replace(inventory.load(fake.kube), profile=""))
    assert inventory.load(fake.kube).profile == ""


def test_an_inventory_is_written_only_over_what_was_read() -> None:
    """Two deploys that read the same one, or none: the second to write is refused, and nothing is forgotten."""
    fake = FakeKube()
    first, second = inventory.load(fake.kube), inventory.load(fake.kube)
    first.versions[key_of(CONFIG)] = "v1"
    inventory.save(fake.kube, first)
    with pytest.raises(LockedError, match="another deploy wrote the inventory of 'local' since this one read it"):
        inventory.save(fake.kube, second)

    late = inventory.load(fake.kube)
    inventory.save(fake.kube, first)
    with pytest.raises(LockedError, match="run this again"):
        inventory.save(fake.kube, late)
    assert set(inventory.load(fake.kube).versions) == {key_of(CONFIG)}


def test_claims_of_a_statefulset_are_known_by_their_uid() -> None:
    """Nothing was applied to them; they are ours until their StatefulSet is back."""
    claim = obj("v1", "PersistentVolumeClaim", "data-db-0", "n", uid="7")
    ours = Inventory({key_of(CONFIG): "v1"}, {key_of(CONFIG): "p"})
    found = ours.with_claims([claim])

    assert Inventory.parse(found.data()) == found
    assert (ours.has_claims, found.has_claims) == (False, True)
    assert found.records[key_of(claim)].endswith(":7")
    assert found.with_claims([claim]) == found
    assert found.without([key_of(claim), key_of(CONFIG)]) == ours
