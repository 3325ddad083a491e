"""Probing questions from the scene graphs of Visual Genome: a true statement and one that differs in one respect.

The idea is that of ARO (Yuksekgonul et al. 2023): whoever takes a picture for a bag of words cannot tell "the white
wall and the brown tree" from "the brown wall and the white tree". ARO was built from GQA's cleaned graphs; here the raw
``scene_graphs.json`` is read, and these filters take the place of the cleaning:

- an object counts by its first name, if that is one to three words, and takes part if ``MIN_SIDE`` pixels of its box a
  side lie in the picture; in any image the two objects of a statement have different names and no synset in common;
- attributes: both objects have exactly one class of a group of words that exclude each other (``scene_graph_words``),
  of every object in the image that is called like the first it is known that it has not the class of the second, and
  the other way round, and neither name has a word of the group in it (a "white napkin" is white already);
- relations: no other object of the image is called like either; the predicate does not hold both ways (``ONE_WAY``);
  no relationship of the image says what a false statement says, in these or in other words.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import Table, limited, refuse_duplicates
from vlbench.data.scene_graph_words import CLASS_OF, ONE_WAY, OPPOSITES, object_name, plain, predicate, sides
from vlbench.data.visual_genome import NAME, Genome, pick
from vlbench.errors import DataError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vlbench.data.source import LocalFolder
    from vlbench.data.visual_genome import Picture

FILE = "scene_graphs.json"


@dataclass(frozen=True)
class Probe:
    """A true and a false statement about an image.

    ``kind`` tells how they differ: the group of attributes, or ``swap`` and ``replace``; ``about`` is the predicate.
    """

    probe_id: str
    image_id: str
    image: ImageRef
    true: str
    false: str
    kind: str
    about: str = ""


@dataclass(frozen=True)
class GraphObject:
    """An object: its first name ("" if it is of no use), its synsets, and its classes by group with the word used."""

    object_id: str
    name: str
    synsets: frozenset[str]
    classes: Mapping[str, Mapping[int, str]]
    large: bool


@dataclass(frozen=True)
class Relation:
    """A relationship of two objects, its predicate in plain form."""

    relation_id: str
    subject: GraphObject
    predicate: str
    object: GraphObject


def load_attribute_probes(
    folder: LocalFolder, split: str | None = None, limit: int | None = None, per_image: int = 0
) -> Dataset[Probe]:
    """Read probes of attributes, ``per_image`` an image, chosen by a hash of their ids (0: all of them).

    Raises ``DataError`` naming file and record where something is malformed, ``UsageError`` for an unknown split.
    """
    return _load(folder, split, limit, per_image, attribute_probes)


def load_relation_probes(
    folder: LocalFolder, split: str | None = None, limit: int | None = None, per_image: int = 0
) -> Dataset[Probe]:
    """Read probes of relations; arguments and errors as for ``load_attribute_probes``."""
    return _load(folder, split, limit, per_image, relation_probes)


def _load(
    folder: LocalFolder,
    split: str | None,
    limit: int | None,
    per_image: int,
    prober: Callable[[Picture, Sequence[GraphObject], Sequence[Relation]], Iterator[Probe]],
) -> Dataset[Probe]:
    genome = Genome.open(folder, split)
    found: list[Probe] = []
    for image_id, (objects, relationships) in genome.records(FILE, "image_id", "objects", "relationships"):
        if image_id in genome.pictures:
            picture = genome.pictures[image_id]
            items = read_objects(picture, objects)
            probes = list(prober(picture, items, read_relations(items, relationships)))
            found += pick(probes, per_image, lambda probe: probe.probe_id)
    samples = limited(found, limit)
    rows = [[s.probe_id, s.true, s.false, s.kind] for s in samples]
    counts = genome.counts(limit, (s.image_id for s in samples)) | {"probes": len(samples)}
    return Dataset(NAME, genome.split, samples, counts, genome.official(), "sha256:" + dataset_fingerprint(rows))


def read_objects(picture: Picture, table: Table) -> list[GraphObject]:
    """Return the objects of an image; raises ``DataError`` where an id occurs twice or a value is malformed.

    Names are a list under ``names``, or one under ``name``; ``attributes`` and ``synsets`` may be absent or null.
    """
    found = []
    for i in range(len(table)):
        classes: dict[str, dict[int, str]] = defaultdict(dict)
        for attribute in _strings(table, i, "attributes"):
            group, number = CLASS_OF.get(plain(attribute), ("", 0))
            if group:
                classes[group].setdefault(number, plain(attribute))
        x, y, width, height = (table.get(i, key, int) for key in ("x", "y", "w", "h"))
        found.append(
            GraphObject(
                table.identifier(i, "object_id"),
                object_name(next(iter(_names(table, i)), "")),
                frozenset(_strings(table, i, "synsets")),
                classes,
                picture.clip(x, y, width, height) is not None,
            )
        )
    refuse_duplicates([item.object_id for item in found], "object ids", table.name)
    return found


def read_relations(objects: Sequence[GraphObject], table: Table) -> list[Relation]:
    """Return the relationships of an image; raises ``DataError`` where one is of an object that is not listed."""
    by_id = {item.object_id: item for item in objects}
    found = []
    for i in range(len(table)):
        ends = [table.identifier(i, key) for key in ("subject_id", "object_id")]
        lost = [end for end in ends if end not in by_id]
        if lost:
            raise DataError(f"{table.place(i)} is of object {lost[0]}, which the image does not list")
        name = predicate(table.get(i, "predicate", str))
        found.append(Relation(table.identifier(i, "relationship_id"), by_id[ends[0]], name, by_id[ends[1]]))
    return found


def attribute_probes(
    picture: Picture, objects: Sequence[GraphObject], relations: Sequence[Relation]
) -> Iterator[Probe]:
    """Yield statements about two objects, and the same with their attributes changed over."""
    seen: set[str] = set()
    for first, second in itertools.combinations([o for o in objects if o.name and o.large], 2):
        if not _distinct(first, second):
            continue
        for group in sorted(first.classes.keys() & second.classes.keys()):
            one, other = first.classes[group], second.classes[group]
            if len(one) > 1 or len(other) > 1 or one.keys() == other.keys() or _says(group, first, second):
                continue
            ((number, word),), ((other_number, other_word),) = one.items(), other.items()
            true = f"the {word} {first.name} and the {other_word} {second.name}"
            excluded = _lacks(objects, first.name, group, other_number) and _lacks(objects, second.name, group, number)
            if excluded and true not in seen:
                seen.add(true)
                false = f"the {other_word} {first.name} and the {word} {second.name}"
                probe_id = f"{picture.image_id}/{first.object_id}-{second.object_id}/{group}"
                yield Probe(probe_id, picture.image_id, picture.image, true, false, group)


def relation_probes(picture: Picture, objects: Sequence[GraphObject], relations: Sequence[Relation]) -> Iterator[Probe]:
    """Yield statements about two objects, and the same with the objects changed over or the predicate replaced."""
    called = [item.name for item in objects]
    said = {(r.subject.name, r.predicate, r.object.name) for r in relations}
    seen: set[tuple[str, str, str]] = set()
    for relation in relations:
        ends = relation.subject, relation.object
        fact = (ends[0].name, relation.predicate, ends[1].name)
        usable = all(end.name and end.large and called.count(end.name) == 1 for end in ends)
        if not usable or not _distinct(*ends) or relation.predicate not in ONE_WAY or fact in seen:
            continue
        seen.add(fact)
        same, contrary = sides(relation.predicate)
        # A graph that says both of what excludes each other proves nothing.
        if said & {*((fact[2], word, fact[0]) for word in same), *((fact[0], word, fact[2]) for word in contrary)}:
            continue
        kinds = {"swap": (fact[2], fact[1], fact[0])}
        if relation.predicate in OPPOSITES:
            kinds["replace"] = (fact[0], OPPOSITES[relation.predicate], fact[2])
        for kind, other in kinds.items():
            probe_id = f"{picture.image_id}/{relation.relation_id}/{kind}"
            yield Probe(
                probe_id, picture.image_id, picture.image, _state(*fact), _state(*other), kind, relation.predicate
            )


def _state(subject: str, word: str, item: str) -> str:
    return f"the {subject} {word} the {item}"


def _distinct(first: GraphObject, second: GraphObject) -> bool:
    return first.name != second.name and not first.synsets & second.synsets


def _says(group: str, *objects: GraphObject) -> bool:
    """Tell whether a name says an attribute of the group itself, as that of a "white napkin" does."""
    words = (word for item in objects for word in item.name.split())
    return any(word in CLASS_OF and CLASS_OF[word][0] == group for word in words)


def _lacks(objects: Sequence[GraphObject], name: str, group: str, number: int) -> bool:
    """Tell whether of every object of that name a class of the group is known, and it is not this one."""
    known = [item.classes.get(group, {}) for item in objects if item.name == name]
    return all(classes and number not in classes for classes in known)


def _names(table: Table, index: int) -> list[str]:
    row: Any = table.rows[index]
    if isinstance(row, dict) and "names" not in row and "name" in row:
        return [table.get(index, "name", str)]
    table.get(index, "names", list)
    return _strings(table, index, "names")


def _strings(table: Table, index: int, key: str) -> list[str]:
    """Return a list of strings; none where the key is absent or null. Raises ``DataError`` for anything else."""
    row: Any = table.rows[index]
    if isinstance(row, dict) and row.get(key) is None:
        return []
    values = table.get(index, key, list)
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{table.place(index, key)} is not a list of strings")
    return values
