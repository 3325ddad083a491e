"""The cache: the very same answers as without it, and none that belongs to other weights, data or settings."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import vlbench
from tests.support.files import load_file
from vlbench.adapter import Adapter, LoadOptions
from vlbench.data.scenes.cache import ensure
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.runner.cache import MAGIC, UNVERIFIED_SECONDS, ModelCache, ResponseCache, size_bound
from vlbench.runner.driver import evaluate
from vlbench.runner.identity import cache_identity, structure
from vlbench.runner.options import RunOptions
from vlbench.runner.plan import Batch
from vlbench.types import Decoding, Embedding, EmbedImage, EmbedText, Failure, Generate, Generated, ImageRef, Response

BATCH = Batch("embed_texts", (EmbedText("red"), EmbedText("blue")))
VECTORS = [Embedding(np.array([1.0, 1 / 3], np.float32)), Embedding(np.array([2.0, -0.0], np.float32), truncated=True)]


class Linear(Adapter):
    """A model of four weights."""

    argument_names = ("mode",)
    crop = "center"

    def load(self) -> None:
        import torch

        self.model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.GELU())
        with torch.no_grad():
            self.model[0].weight.copy_(torch.eye(2))
            self.model[0].bias.zero_()

    def preprocessing(self) -> str:
        return self.crop


def _identity(adapter: Adapter) -> str:
    found = cache_identity(adapter, adapter.fingerprint())
    assert found is not None
    return found


def _bits(responses: list[Response] | None) -> list[tuple[bytes, bool]]:
    assert responses is not None
    return [(r.vector.tobytes(), r.truncated) for r in responses if isinstance(r, Embedding)]


@pytest.fixture
def cache(tmp_path: Path) -> ResponseCache:
    return ResponseCache(tmp_path / "responses", 1 << 20)


def test_what_comes_back_is_what_was_kept_to_the_bit(cache: ResponseCache) -> None:
    ModelCache(cache, "model", True).put(BATCH, VECTORS)
    assert _bits(ModelCache(cache, "model", True).get(BATCH)) == _bits(list(VECTORS))


def test_another_batch_or_model_finds_nothing(cache: ResponseCache) -> None:
    """Not even the same requests in another order or in other company: their last digits may differ."""
    kept = ModelCache(cache, "model", True)
    kept.put(BATCH, VECTORS)
    assert ModelCache(cache, "other", True).get(BATCH) is None
    others = [BATCH.requests[::-1], BATCH.requests[:1], (*BATCH.requests, EmbedText("green"))]
    assert all(kept.get(Batch("embed_texts", requests)) is None for requests in others)


def test_decoding_is_part_of_a_request(cache: ResponseCache) -> None:
    kept = ModelCache(cache, "model", True)
    kept.put(Batch("generate", (Generate((), "", Decoding(5)),)), [Generated("a cat")])
    assert kept.get(Batch("generate", (Generate((), "", Decoding(5, num_beams=2)),))) is None


def test_other_weights_settings_preprocessing_dtype_arguments_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each changes the identity alone, and two adapters made alike have one."""
    import torch

    plain = Linear()
    assert _identity(plain) == _identity(Linear())
    weights, activation, crop, dtype = Linear(), Linear(), Linear(), Linear(LoadOptions(dtype="bfloat16"))
    with torch.no_grad():
        weights.model[0].weight[0, 0] = 1 + 2**-23
    activation.model[1] = torch.nn.GELU(approximate="tanh")
    crop.crop = "squash"
    argument, seed = Linear(LoadOptions(arguments={"mode": "b"})), Linear(LoadOptions(seed=1))
    found = [_identity(a) for a in (plain, weights, activation, crop, dtype, argument, seed)]
    monkeypatch.setattr("vlbench.runner.identity.code_digest", lambda kind: "edited")
    assert len({*found, _identity(plain)}) == 8
    assert activation.fingerprint() == plain.fingerprint(), "no weight tells the activation"


@pytest.mark.parametrize("packed", [False, True])
def test_code_beside_the_adapter_is_part_of_the_identity(tmp_path: Path, packed: bool) -> None:
    """A helper that was mended left the answers of the broken one in the cache."""
    folder = tmp_path / "pack" / "parts" if packed else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    plugin = tmp_path / ("pack/__init__.py" if packed else "mine.py")
    plugin.write_text("from tests.runner.test_cache import Linear\nclass Mine(Linear): pass\n")
    (folder / "helper.py").write_text("FACTOR = 1\n")

    def digest() -> str:
        return _identity(load_file(plugin).Mine())

    first = digest()
    assert digest() == first
    (folder / "helper.py").write_text("FACTOR = 2\n")
    assert digest() != first


def test_two_adapters_of_one_file_and_the_same_weights_share_no_answers() -> None:
    """Nothing but the files of their classes told them apart: one got the answers of the other."""

    class Doubled(Linear):
        def embed_texts(self, texts: Any) -> Any:
            return 2 * super().embed_texts(texts)

    assert _identity(Doubled()) != _identity(Linear())


def test_heads_change_the_structure() -> None:
    import torch

    assert len({structure(torch.nn.MultiheadAttention(8, heads)) for heads in (1, 2, 4)}) == 3


def test_an_adapter_whose_weights_nothing_hashes_is_not_cached() -> None:
    class Hidden(Adapter):
        pass

    class Named(Adapter):
        def fingerprint(self) -> str:
            return "sha256:mine"

    class Unfit(Named):
        cacheable = False

    made = [cache_identity(kind(), "sha256:0") for kind in (Hidden, Named, Unfit)]
    assert [identity is not None for identity in made] == [False, True, False]


def test_an_image_that_changed_under_its_name(tmp_path: Path, cache: ResponseCache) -> None:
    """Between runs it is another request; within one its answer would be kept under the old content."""

    def asked() -> EmbedImage:
        return EmbedImage(ImageRef(LocalFolder(tmp_path), "a.png"))

    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    before = asked()
    kept = ModelCache(cache, "model", True)
    kept.put(Batch("embed_images", (before,)), VECTORS[:1])
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a.png")
    assert kept.get(Batch("embed_images", (asked(),))) is None
    with pytest.raises(DataError, match=r"a\.png changed while it was in use"):
        before.image.load()


def test_a_flipped_bit_anywhere_is_found_and_removed(cache: ResponseCache) -> None:
    kept = ModelCache(cache, "model", True)
    kept.put(BATCH, VECTORS)
    (entry,) = cache.entries()
    whole = entry.path.read_bytes()
    for place in (0, len(MAGIC), len(MAGIC) + 33, len(whole) // 2, len(whole) - 1):
        entry.path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert kept.get(BATCH) is None and not entry.path.exists()
    for torn in (b"", whole[:20], whole[:-1]):
        entry.path.write_bytes(torn)
        assert kept.get(BATCH) is None
    entry.path.write_bytes(whole)
    assert _bits(kept.get(BATCH)) == _bits(list(VECTORS))


def test_an_entry_under_the_name_of_another_is_refused(cache: ResponseCache) -> None:
    cache.put("a" * 64, VECTORS)
    other = cache.path("b" * 64)
    other.parent.mkdir()
    cache.path("a" * 64).rename(other)
    assert cache.verify() == [other] and cache.get("b" * 64) is None


def test_failures_are_tried_again(cache: ResponseCache) -> None:
    kept = ModelCache(cache, "model", True)
    kept.put(BATCH, [VECTORS[0], Failure("unreadable")])
    assert kept.get(BATCH) is None


def test_answers_of_unknown_weights_expire(cache: ResponseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    api, local = ModelCache(cache, "api", False), ModelCache(cache, "local", True)
    for kept in (api, local):
        kept.put(BATCH, VECTORS)
    assert api.get(BATCH) is not None
    monkeypatch.setattr(time, "time", lambda: now + UNVERIFIED_SECONDS + 10)
    assert api.get(BATCH) is None and local.get(BATCH) is not None


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path, 40_000)
    vectors = [Embedding(np.zeros(1000, np.float32))]
    for n in range(8):
        cache.put(f"{n}" * 64, vectors)
        os.utime(cache.path(f"{n}" * 64), (n, n))
    assert cache.get("0" * 64) is not None  # used now, by which it is the youngest
    for letter in "abcdef":
        cache.put(letter * 64, vectors)
    cache.evict()
    assert sum(entry.size for entry in cache.entries()) <= 40_000
    assert cache.get("0" * 64) is not None and cache.get("1" * 64) is None and cache.get("f" * 64) is not None
    cache.put("9" * 64, [Embedding(np.zeros(20_000, np.float32))])
    assert cache.get("9" * 64) is None, "larger than the bound"


def test_a_disk_that_refuses_ends_writing_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = ModelCache(ResponseCache(tmp_path / "file" / "responses", 1 << 20), "model", True)
    kept.put(BATCH, VECTORS)
    assert "cannot write the cache" in kept.broken and kept.get(BATCH) is None


def _work(folder: str, seed: int) -> int:
    """Write, read and evict without pause; return how many answers were not those of their key."""
    cache, random, wrong = ResponseCache(Path(folder), 60_000), np.random.default_rng(seed), 0
    for _ in range(150):
        number = int(random.integers(30))
        found = cache.get(f"{number:064d}")
        if found is None:
            cache.put(f"{number:064d}", [Embedding(np.full(700, number, np.float32))])
        else:
            wrong += not (isinstance(found[0], Embedding) and (found[0].vector == number).all())
    return wrong


def test_many_processes_at_once(tmp_path: Path) -> None:
    import multiprocessing

    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert sum(pool.map(_work, [str(tmp_path)] * 3, range(3))) == 0
    assert not list(tmp_path.rglob("*.tmp")) and ResponseCache(tmp_path, 1 << 20).verify() == []


@pytest.mark.parametrize(("text", "bound"), [("0", 0), ("1.5k", 1536), ("2 MiB", 2 << 20), ("3GB", 3 << 30)])
def test_sizes(text: str, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLBENCH_CACHE_SIZE", text)
    assert size_bound() == bound
    monkeypatch.setenv("VLBENCH_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="VLBENCH_CACHE_SIZE=much is not a size"):
        size_bound()


def _comparable(document: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in document.items() if k not in ("run_id", "created", "cost", "environment", "command")}


def test_runs_with_and_without_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal results, cold, warm, off and damaged; counted; and the verbs that look after it."""
    scenes = ensure()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / scenes.name).symlink_to(scenes)  # drawing them anew would take longer than the test
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VLBENCH_CACHE_SIZE", "1GiB")

    def here(name: str) -> dict[str, Any]:
        options = RunOptions(limit=6, output=tmp_path / name)
        return json.loads(json.dumps(evaluate("vlbench-tiny", ["coco_retrieval"], options).results[0].to_json()))

    def there(name: str, *more: str) -> dict[str, Any]:
        given = ("run", "--tasks", "coco_retrieval", "--limit", "6", "--output", tmp_path / name, "--json", *more)
        done = vlbench(*given)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)[0]
        return result

    made = [here("cold"), there("warm"), there("off", "--no-cache")]
    files = list((tmp_path / "cache" / "responses").glob("??/*"))
    data = bytearray(files[0].read_bytes())
    data[-1] ^= 1
    files[0].write_bytes(data)
    made.append(here("damaged"))
    assert all(_comparable(result) == _comparable(made[0]) for result in made)
    computed = [(r["cost"]["requests_computed"], r["cost"]["requests_cached"]) for r in made]
    total = computed[0][0]
    assert computed[:3] == [(total, 0), (0, total), (total, 0)]
    assert 0 < computed[3][1] < total and sum(computed[3]) == total
    samples = [next((tmp_path / name).glob("*.parquet")).read_bytes() for name in ("cold", "warm", "off", "damaged")]
    assert len(set(samples)) == 1

    assert json.loads(vlbench("cache", "info", "--json").stdout)["entries"] == len(files)
    files[0].write_bytes(data)
    found = vlbench("cache", "verify")
    assert found.returncode == 2 and f"{files[0]} was damaged: removed" in found.stdout
    assert vlbench("cache", "clear").stdout.endswith(f"{len(files) - 1} batches removed\n")
    assert list(ResponseCache().entries()) == []
