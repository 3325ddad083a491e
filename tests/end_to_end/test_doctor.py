"""``vlbench doctor`` on a model of each family, and on models of a plugin of which each has a defect of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import checkpoints, dual_encoders, oscar
from tests.support.chat_server import ChatServer
from tests.support.cli import here, vlbench
from vlbench.adapters.blip import QUESTIONS, RETRIEVAL
from vlbench.adapters.vilt import RETRIEVAL as VILT_RETRIEVAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLUGIN = """
import numpy as np
import vlbench


class Pixels(vlbench.Adapter):
    def prepare_image(self, image):
        return np.asarray(image.resize((4, 4)), dtype=np.float32).ravel() + 1

    def embed_images(self, images):
        return np.stack(images)


class Neighbours(Pixels):
    def embed_images(self, images):
        return np.stack(images) + len(images)


class Sorted(Pixels):
    def embed_images(self, images):
        return np.stack(sorted(images, key=lambda image: image.sum()))


class Dice(Pixels):
    draw = np.random.default_rng(0)

    def embed_images(self, images):
        return np.stack(images) + self.draw.random()


class Short(Pixels):
    def embed_images(self, images):
        return np.stack(images)[1:]


class Flat(Pixels):
    def embed_images(self, images):
        return np.stack(images).sum(axis=1)


class Spaces(Pixels):
    def embed_texts(self, texts):
        return np.ones((len(texts), 5))


class Lost(Pixels):
    def embed_images(self, images):
        return np.stack(images) * np.nan


class Loud(Pixels):
    def embed_images(self, images):
        raise RuntimeError("no such layer")


class Still(Pixels):
    @classmethod
    def capabilities(cls, options):
        return frozenset()


class Odd(Pixels):
    @classmethod
    def capabilities(cls, options):
        return frozenset({"embed_images", "embed_pictures"})


class Mute(Pixels):
    @classmethod
    def capabilities(cls, options):
        raise KeyError("kind")


class Willing(Pixels):
    def generate(self, items):
        return ["a picture"] * len(items)

    @classmethod
    def capabilities(cls, options):
        return frozenset({"embed_images"})


class Training(Pixels):
    def load(self):
        import torch

        self.model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())


class Fixed(Pixels):
    def load(self):
        import torch

        self.model = torch.nn.Linear(2, 2).eval()

    def fingerprint(self):
        return "sha256:0"


class Greedy(Pixels):
    def __init__(self, options=vlbench.adapter.LoadOptions()):
        super().__init__(vlbench.adapter.LoadOptions(options.checkpoint))


class Tiny(Pixels):
    def prepare_image(self, image):
        return super().prepare_image(image.resize((image.width // 4, image.height // 4)))


class Broken(Pixels):
    def load(self):
        raise ValueError("weights of another shape")


class Whole(Pixels):
    def resolve_dtype(self, dtype):
        return "float32"


@vlbench.hookimpl
def vlbench_register_models():
    kinds = {kind.__name__.lower(): kind for kind in [Pixels, *Pixels.__subclasses__()]}
    return [vlbench.ModelSpec(name, "", kind) for name, kind in kinds.items()]
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "models.py"
    path.write_text(PLUGIN)
    return path


def test_a_good_model_passes_and_a_bad_one_is_told_why(plugin: Path) -> None:
    """In processes of their own: outside pytest an assertion says only what its author wrote."""
    good = vlbench("doctor", "--plugin", plugin, "--model", "pixels", "--json")
    assert good.returncode == 0, good.stderr
    found = json.loads(good.stdout)
    assert not any(found["checks"].values())
    assert set(found["milliseconds_per_request"]["embed_images"]) == {"1", "4", "16", "64"}
    assert found["bfloat16"] == found["float16"] == {"embed_images": 0.0}
    bad = vlbench("doctor", "--plugin", plugin, "--model", "neighbours")
    assert bad.returncode == 4
    line = "FAILED a batch of one equals a batch of many: embed_images answers request 0 otherwise alone than among 4"
    assert line in bad.stdout


@pytest.mark.parametrize(
    ("model", "check", "message"),
    [
        ("sorted", "order is kept", "embed_images answers request 0 otherwise where the batch has the reverse order"),
        ("dice", "it is deterministic", "embed_images answers request 0 of the same batch otherwise the second time"),
        ("short", "order is kept", "Short.embed_images returned 3 answers for 4 requests"),
        ("flat", "order is kept", "Flat.embed_images returned shape (4,); (n, d) is needed"),
        ("spaces", "images and texts share a space", "embeddings of images and texts have different lengths: [5, 48]"),
        ("lost", "order is kept", "the model failed: the model returned a value that is not a finite number"),
        ("loud", "order is kept", "Loud.embed_images failed: RuntimeError: no such layer"),
        ("still", "it has a known capability", "it can do nothing; write one of the methods embed_images"),
        ("odd", "it has a known capability", "it claims 'embed_pictures', which is none of embed_images"),
        ("willing", "a capability that it lacks raises", "generate is none of its capabilities and must raise"),
        ("training", "it is in eval mode", "3 modules are in training mode, first Sequential; call eval() in load"),
        ("fixed", "the fingerprint follows the weights", "the fingerprint stays the same when a weight changes"),
        ("greedy", "an unknown argument is refused", "a --model-arg that it does not know is taken without a word"),
        ("tiny", "pictures of any size are taken", "prepare_image breaks on a picture of 1 x 1: ValueError"),
    ],
)
def test_each_defect_is_one_clear_line(plugin: Path, model: str, check: str, message: str) -> None:
    done = here("doctor", "--plugin", plugin, "--model", model, "--batch-sizes", 1)
    assert done.code == 4 and not done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith(f"FAILED {check}: ")]
    assert message in line


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", ("--model", "broken"), "model broken failed to load: ValueError: weights of another shape"),
        ("", ("--model", "mute"), "Mute does not tell its capabilities: KeyError: 'kind'"),
        ("", ("--model", "pixels", "--batch-sizes", "1,0"), "--batch-sizes '1,0' is not a list of whole numbers"),
        ("", ("--model", "pixells"), "did you mean 'pixels'"),
        ("import no_such_module", ("--model", "pixels"), "failed to import: ModuleNotFoundError: No module named"),
        ("def broken(:", ("--model", "pixels"), "failed to import: SyntaxError"),
        ("x = 1", ("--model", "pixels"), "has no function marked with @vlbench.hookimpl"),
        (
            "import vlbench\n@vlbench.hookimpl\ndef vlbench_register_model(): return []",
            ("--model", "pixels"),
            "cannot be registered: PluginValidationError: unknown hook 'vlbench_register_model'",
        ),
        (
            "import vlbench\n@vlbench.hookimpl\ndef vlbench_register_models(): return ['pixels']",
            ("--model", "pixels"),
            "returned a str where a ModelSpec is needed",
        ),
    ],
)
def test_what_cannot_be_examined_is_one_clear_error(
    plugin: Path, tmp_path: Path, text: str, arguments: tuple[str, ...], message: str
) -> None:
    file = plugin
    if text:
        file = tmp_path / "broken.py"
        file.write_text(text)
    done = here("doctor", "--plugin", file, *arguments)
    assert done.code == 2 and not done.out
    assert message in done.err and done.err.count("\n") == 1 and done.err.startswith("vlbench: ")


def _examined(model: object, *arguments: object) -> dict[str, Any]:
    done = here("doctor", "--model", model, "--batch-sizes", "1,2", "--json", *arguments)
    assert done.code == 0, done.out + done.err
    found: dict[str, Any] = json.loads(done.out)
    for times in found["milliseconds_per_request"].values():
        assert set(times) == {"1", "2"} and all(time > 0 for time in times.values())
    assert set(found["milliseconds_per_request"])
    return found


FAMILIES: dict[str, tuple[Callable[[Path], Path], set[str]]] = {
    "open_clip": (dual_encoders.open_clip, {"embed_images", "embed_texts"}),
    "clip": (checkpoints.clip, {"embed_images", "embed_texts"}),
    "blip-retrieval": (lambda f: checkpoints.blip(f, RETRIEVAL), {"embed_images", "embed_texts", "match"}),
    "blip-questions": (lambda f: checkpoints.blip(f, QUESTIONS), {"generate", "loglikelihood"}),
    "vision_encoder_decoder": (checkpoints.vit_gpt2, {"generate", "loglikelihood"}),
    "vilt": (lambda f: checkpoints.vilt(f, VILT_RETRIEVAL), {"match"}),
    "chat": (checkpoints.llava, {"generate", "loglikelihood"}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_each_family_is_examined(tmp_path: Path, family: str) -> None:
    make, capabilities = FAMILIES[family]
    found = _examined(make(tmp_path / "checkpoint"))
    for dtype in ("bfloat16", "float16"):
        assert set(found[dtype]) == capabilities == set(found["milliseconds_per_request"])
        assert all(isinstance(value, float) for value in found[dtype].values()), found[dtype]


def test_models_without_a_folder_are_examined() -> None:
    built = _examined("vlbench-tiny")
    assert set(built["milliseconds_per_request"]) >= {"embed_images", "match", "choose", "generate", "loglikelihood"}
    assert 0 < built["bfloat16"]["embed_images"] < 0.2
    chance = _examined("baseline:chance")
    assert chance["bfloat16"] == {"not measured": "it answers in float32 whatever the dtype"}


def test_a_model_that_knows_images_by_name_is_asked_about_those(tmp_path: Path) -> None:
    oscar.features(tmp_path / "features", names=("42", "391895"))
    checkpoint = oscar.checkpoint(tmp_path / "model", "mlp")
    found = _examined(f"oscar:{checkpoint}", "--model-arg", f"features={tmp_path / 'features'}")
    assert 0 < found["bfloat16"]["match"] < 0.5


def test_a_server_is_examined_and_has_no_precision_of_its_own() -> None:
    with ChatServer().running() as server:
        found = _examined("openai_api:model", "--model-arg", f"base_url={server.base_url}")
    assert found["float16"] == {"not measured": "nobody knows in what the weights that answer compute"}
