"""The table of public sources fits the registry and the loaders."""

from __future__ import annotations

from fnmatch import fnmatch
from urllib.parse import urlsplit

import pytest

from vlbench.data import coco, flickr30k, vqa
from vlbench.data.hub_layouts import REPOSITORIES
from vlbench.data.public import BY_HAND, PUBLIC
from vlbench.data.registry import vlbench_register_datasets

SPECS = {spec.name: spec for spec in vlbench_register_datasets()}


def test_every_split_has_a_way_to_it() -> None:
    assert {name: set(splits) for name, splits in PUBLIC.items()} == {name: set(SPECS[name].splits) for name in PUBLIC}
    assert set(PUBLIC) | set(BY_HAND) == set(SPECS)
    assert all(spec.loader for spec in SPECS.values())


@pytest.mark.parametrize("module", [coco, flickr30k, vqa])
def test_what_is_fetched_is_what_the_loader_looks_for(module: object) -> None:
    for split, names in module.FILES.items():  # type: ignore[attr-defined]
        archives = PUBLIC[module.NAME][split].archives  # type: ignore[attr-defined]
        assert any(fnmatch(name, a.members) for name in names for a in archives if "jpg" not in a.members), split
        assert all(urlsplit(a.url).scheme in ("http", "https") and a.url.endswith(".zip") for a in archives)


def test_repositories_show_documents_that_the_loaders_look_for() -> None:
    known = {module.NAME: module.FILES for module in (coco, flickr30k, vqa)}
    for repository in REPOSITORIES.values():
        for split in repository.splits if repository.dataset in known else ():
            assert set(repository.documents(split)) & set(known[repository.dataset][split])
