"""Pages that people follow: each block works as it stands there, and prints what the page says."""

from collections.abc import Iterator
from functools import partial

import pytest

from conformance import snippets, stores
from conformance.inside import Inside
from conformance.jupyter import Workplace, working
from conformance.places import Reader
from conformance.site import Site

pytestmark = pytest.mark.feature("pages")


@pytest.fixture(scope="module")
def workplace(site: Site) -> Iterator[Workplace]:
    """Return a researcher with a server that runs."""
    with working(site, "researchers") as found:
        yield found


@pytest.mark.feature("store-accounts")
def test_lines_for_a_laptop_work(site: Site, store_page: str) -> None:
    """What a store's page says for the operator's machine connects, and makes a copy."""
    with Reader(site) as reader:
        reader.follow(snippets.store_page(store_page), snippets.MACHINE)


@pytest.mark.feature("store-accounts")
def test_lines_for_a_pod_work(site: Site, inside: Inside, store_page: str) -> None:
    """A pod with the labels and volumes of a store's page connects, writes and reads by the page's program."""
    with Reader(site, pods=partial(stores.application, site, inside, store_page)) as reader:
        reader.follow(snippets.store_page(store_page), snippets.POD)


@pytest.mark.feature("store-accounts")
@pytest.mark.feature("notebooks")
def test_lines_for_a_notebook_work(site: Site, workplace: Workplace, notebook_page: str) -> None:
    """The cells of a store's page write and read from a person's notebook, without a key in them."""
    with Reader(site, workplace) as reader:
        reader.follow(snippets.store_page(notebook_page), snippets.NOTEBOOK)


@pytest.mark.feature("notebooks")
@pytest.mark.feature("store-qdrant")
@pytest.mark.feature("llm")
@pytest.mark.feature("embeddings")
@pytest.mark.parametrize("tutorial", snippets.TUTORIALS)
def test_tutorial_leads_to_its_end(site: Site, tutorial: str) -> None:
    """Who follows a tutorial with an account of their own gets what it shows, from the first command to the last."""
    page = snippets.read(snippets.DOCS / "tutorials" / f"{tutorial}.md")
    with Reader(site) as reader:
        reader.follow(page, snippets.MACHINE, snippets.ACCOUNT, snippets.UPLOAD, snippets.NOTEBOOK)
