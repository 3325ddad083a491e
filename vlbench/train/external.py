"""Fine-tuning of external models, through their own adapters: what is learned from is prepared as what is evaluated.

Which objectives a model can learn follows from what its adapter answers. The result is an ordinary checkpoint folder
of its library, which the same adapter evaluates.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from vlbench.adapter import LoadOptions
from vlbench.adapters.pretrained import padded
from vlbench.errors import ModelError, UsageError
from vlbench.models.checkpoint import written_whole
from vlbench.train import objectives
from vlbench.train.evaluation import Evaluation
from vlbench.train.objectives import IGNORED
from vlbench.train.pairs import begin_pair, names_pair
from vlbench.train.recipe import objectives_of
from vlbench.train.run import open_source
from vlbench.train.tune import LEARNERS, TUNES, choose_weights
from vlbench.types import LogLikelihood

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from vlbench.adapter import Adapter
    from vlbench.runner.progress import Reporter
    from vlbench.train.collate import Draw
    from vlbench.train.evaluation import EvaluationPlan
    from vlbench.train.examples import Source
    from vlbench.train.recipe import Recipe


def finetune_external(
    model: str,
    tasks: Sequence[str],
    data: Path | str | None,
    recipe: Recipe,
    output: Path,
    *,
    tune: str = "full",
    dtype: str = "float32",
    device: str = "auto",
    plan: EvaluationPlan | None = None,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Fine-tune what ``--model`` names for ``tasks`` and write a checkpoint folder of its library.

    ``vision_encoder_decoder:ENCODER+DECODER`` joins two checkpoints, ``vision_encoder_decoder:tiny`` starts from
    nothing. ``tune`` is one of ``TUNES``. Raises ``UsageError`` for a task that the model cannot learn, ``ModelError``
    where it cannot be loaded.
    """
    from vlbench.train.trainer import fit

    _refuse(tune, plan)
    wanted = {name: recipe.objectives.get(name, 1.0) for name in objectives_of(tasks)}
    source = open_source(data, dataclasses.replace(recipe, objectives=wanted), tasks)
    adapter = _begun(model, source, recipe, output, device)
    recipe = dataclasses.replace(recipe, objectives=_learnable(adapter, recipe, tasks, model, say))
    about = {"model": model, "weights": adapter.fingerprint(), "tasks": list(tasks), "tune": tune}
    finish = choose_weights(adapter.model, tune)
    wrapped = AdaptedModel(adapter, recipe)
    trained = sum(weight.numel() for weight in adapter.model.parameters() if weight.requires_grad)
    say(f"fine-tuning {trained / 1e6:.2f} M weights of {model} for {', '.join(tasks)} on {source.name}")
    evaluation = Evaluation(plan, lambda folder: save(adapter, folder), output, device) if plan else None
    collator = AdaptedCollator(adapter, recipe)
    trainer = fit(
        wrapped.train(),
        source,
        collator,
        recipe,
        output,
        device=device,
        about=about,
        evaluation=evaluation,
        reporter=reporter,
        say=say,
    )
    if trainer.is_world_process_zero():
        finish()
        adapter.model.cpu().eval().to(getattr(torch, dtype))
        adapter.model.config.vlbench_trained_on = [*dict.fromkeys((*adapter.trained_on, *source.trained_on))]
        save(adapter, output)


def _refuse(tune: str, plan: EvaluationPlan | None) -> None:
    """Raise ``UsageError`` for what no external model is fine-tuned with."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        # Its contrast sees the rows of one process alone, and its means weigh processes alike: another training.
        raise UsageError(f"an external model is fine-tuned in one process, not in {processes}; run it without torchrun")
    if tune not in TUNES:
        raise UsageError(f"--tune {tune!r} is none of {', '.join(TUNES)}")
    if plan is not None and tune == "lora":
        raise UsageError("--eval-tasks needs --tune full or head: additions of lora are merged only at the end")


def _begun(model: str, source: Source, recipe: Recipe, output: Path, device: str) -> Adapter:
    """Return the loaded model that ``--model`` names; a new pair is made first, beside what it becomes."""
    from vlbench.plugins import load_plugins
    from vlbench.resolve import resolve_model
    from vlbench.runner.devices import pick_device

    start = model
    if names_pair(model):
        start = f"vision_encoder_decoder:{begin_pair(model, source, recipe.seed, output / 'start')}"
    resolved = resolve_model(start, load_plugins(), {})
    torch.manual_seed(recipe.seed)
    return resolved.load(LoadOptions(resolved.checkpoint, pick_device(device), "float32", seed=recipe.seed))


def _learnable(
    adapter: Adapter, recipe: Recipe, tasks: Sequence[str], model: str, say: Callable[[str], None]
) -> dict[str, float]:
    """Return the weights of the objectives of ``tasks`` that the model can learn, and say which are left out.

    Raises ``UsageError`` for a task of which it can learn none.
    """
    kind = type(adapter.model).__name__
    if kind not in LEARNERS:
        known = ", ".join(LEARNERS)
        raise UsageError(f"cannot fine-tune {model}, a {kind}; vlbench fine-tunes {known} and its own models")
    learns = LEARNERS[kind].objectives
    hopeless = [task for task in tasks if not set(objectives_of([task])) & set(learns)]
    if hopeless:
        raise UsageError(f"a {kind} cannot learn {', '.join(hopeless)}; it learns {', '.join(learns)}")
    wanted = objectives_of(tasks)
    # The other objectives of a recipe are those of other tasks; these two go with any.
    for name in (*wanted, *(name for name in ("mlm", "tag") if name in recipe.objectives)):
        if name not in learns:
            say(f"the objective {name} is left out: a {kind} does not learn it")
    return {name: recipe.objectives.get(name, 1.0) for name in wanted if name in learns}


class AdaptedModel(nn.Module):
    """An adapter's model with its objectives, in the form that ``fit`` takes."""

    # The trainer asks for it where weights are missing, as of any model of transformers.
    _keys_to_ignore_on_save = None

    def __init__(self, adapter: Adapter, recipe: Recipe) -> None:
        """Weigh objectives by the recipe."""
        super().__init__()
        self.model = adapter.model
        self._adapter = adapter
        self._recipe = recipe
        self.losses: dict[str, float] = {}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return each weight once: safetensors refuses tied ones."""
        state = super().state_dict(*args, **kwargs)
        for name in _tied(state):
            del state[name]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what ``state_dict`` returned; what is tied counts as given with the weight that it is tied to."""
        tied = _tied(super().state_dict())
        given = {name: state_dict[kept] for name, kept in tied.items() if kept in state_dict}
        return super().load_state_dict({**given, **state_dict}, strict, assign)

    def gradient_checkpointing_enable(self, **_: Any) -> None:
        """Let the model of transformers compute the insides of its layers again in the backward pass."""
        name = "activation_checkpointing_enable"
        getattr(self.model, name if hasattr(self.model, name) else "gradient_checkpointing_enable")()

    # The name of transformers from 5.x on; the trainer calls whichever it knows.
    activation_checkpointing_enable = gradient_checkpointing_enable

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return the weighted sum of the losses."""
        losses = {name: self._written(name, batch) for name in ("caption", "vqa") if f"{name}_ids" in batch}
        if "texts" in batch and len(batch["texts"]) > 1:
            losses |= self._contrast(batch)
        total = sum((self._recipe.objectives[name] * loss for name, loss in losses.items()), start=torch.zeros(()))
        self.losses = {name: float(loss.detach()) for name, loss in losses.items()}
        return {"loss": total}

    def _written(self, name: str, batch: dict[str, Any]) -> torch.Tensor:
        """Cross-entropy of each token given the image and the tokens before it."""
        ids, labels = batch[f"{name}_ids"], batch[f"{name}_labels"]
        logits = self._logits(batch["pixels"][batch[f"{name}_image"]], ids, batch[f"{name}_mask"])
        asked = labels != IGNORED
        smoothing = self._recipe.label_smoothing if name == "caption" else 0.0
        return objectives.token_loss(logits[asked].float(), labels[asked], smoothing)

    def _logits(self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (n, length, vocabulary): at each place the scores of the next token."""
        if hasattr(self.model, "text_decoder"):  # BLIP
            seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
            output = self.model.text_decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen)
        else:
            output = self.model(
                pixel_values=pixels, decoder_input_ids=ids, decoder_attention_mask=mask, use_cache=False
            )
        logits: torch.Tensor = output.logits
        return logits

    def _contrast(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Image-text contrast over the adapter's own embeddings, and matching with the hard negatives it finds."""
        pixels, groups = batch["pixels"][batch["texts_image"]], batch["groups"]
        images = torch.as_tensor(self._adapter.embed_images(list(pixels)))
        texts = torch.as_tensor(self._adapter.embed_texts(batch["texts"]))
        learned = getattr(self.model, "logit_scale", None)
        # BLIP keeps no temperature: its adapter's, which its training begins with, stays.
        scale = texts.new_tensor(self._adapter.logit_scale) if learned is None else learned.exp().clamp(max=100.0)
        losses = {}
        with torch.autocast(texts.device.type, enabled=False):  # as in TrainingModel
            images, texts, scale = images.float(), texts.float(), scale.float()
            similarity = scale * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
            if "itc" in self._recipe.objectives:
                losses["itc"] = objectives.clip_loss(images, texts, scale, groups)
        if "itm" in self._recipe.objectives:
            same = groups[:, None] == groups[None, :]
            negative = objectives.hard_negatives(similarity, same, batch["uniform"])
            own = torch.arange(len(texts), device=texts.device)
            logits = self._matching(batch["texts"], torch.cat((own, negative)), pixels)
            wrong = ~same[own, negative]
            losses["itm"] = objectives.matching_loss(logits[: len(texts)], logits[len(texts) :], wrong)
        return losses

    def _matching(self, texts: Sequence[list[int]], chosen: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Return "match" less "no match" of BLIP's head for texts ``chosen`` with the images, over and over."""
        ids, mask = padded([texts[n] for n in chosen.tolist()], int(self.model.config.text_config.pad_token_id))
        seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
        fused = self.model.text_encoder(
            input_ids=ids.to(pixels.device),
            attention_mask=mask.to(pixels.device),
            encoder_hidden_states=seen.repeat(len(chosen) // len(pixels), 1, 1),
        ).last_hidden_state
        logits = self.model.itm_head(fused[:, 0])
        difference: torch.Tensor = logits[:, 1] - logits[:, 0]
        return difference


def _tied(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the names whose weights lie where those of an earlier name do, with that name."""
    first: dict[int, str] = {}
    for name, weight in state.items():
        if weight.data_ptr():
            first.setdefault(weight.data_ptr(), name)
    return {name: kept for name, weight in state.items() if (kept := first.get(weight.data_ptr(), name)) != name}


@dataclasses.dataclass(frozen=True)
class AdaptedCollator:
    """Makes the batch of a step with the adapter's own preparation of images and texts."""

    adapter: Adapter
    recipe: Recipe

    def __call__(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """Return ``{"batch": …}``: pixels (b, 3, H, W), and for each objective ids, mask, labels and image numbers."""
        pixels = [self.adapter.prepare_image(draw.example.picture()) for draw in draws]
        batch: dict[str, Any] = {"pixels": torch.stack(pixels)}
        if {"itc", "itm"} & set(self.recipe.objectives):
            batch |= self._captions(draws)
        # In a fixed order: both draw from the same random numbers.
        for name in (name for name in ("caption", "vqa") if name in self.recipe.objectives):
            texts = [(n, *pair) for n, draw in enumerate(draws) for pair in self._texts(name, draw)]
            if texts:
                batch |= self._written(name, texts, pixels)
        return {"batch": batch}

    def _captions(self, draws: Sequence[Draw]) -> dict[str, Any]:
        """One caption an image, with what tells equal ones apart from others."""
        told = [(n, pair[1]) for n, draw in enumerate(draws) for pair in self._texts("caption", draw)]
        groups = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") for _, text in told]
        return {
            "texts": [self.adapter.prepare_text(text) for _, text in told],
            "texts_image": torch.tensor([n for n, _ in told], dtype=torch.long),
            "groups": torch.tensor(groups, dtype=torch.long),
            "uniform": torch.tensor([draws[n].rng.random() for n, _ in told]),
        }

    def _texts(self, name: str, draw: Draw) -> list[tuple[str, str]]:
        """Return what is to be written about an image: (prompt, text)."""
        if name == "caption":
            captions = draw.example.captions
            return [("", captions[int(draw.rng.integers(len(captions)))])] if captions else []
        questions = draw.example.questions
        order = draw.rng.permutation(len(questions))[: self.recipe.questions_per_image]
        return [questions[int(k)][:2] for k in order]

    def _written(
        self, name: str, texts: Sequence[tuple[int, str, str]], pixels: Sequence[torch.Tensor]
    ) -> dict[str, Any]:
        items = [self.adapter.prepare(LogLikelihood((), prompt, text), (pixels[n],)) for n, prompt, text in texts]
        rows = [torch.tensor(item.ids) for item in items]
        # The hidden state at one place predicts the token at the next.
        asked = [
            functional.pad(row[item.prefix :], (item.prefix - 1, 1), value=IGNORED)
            for row, item in zip(rows, items, strict=True)
        ]

        def stacked(parts: Sequence[torch.Tensor], value: int) -> torch.Tensor:
            return nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)

        return {
            f"{name}_ids": stacked(rows, 0),
            f"{name}_mask": stacked([torch.ones_like(row) for row in rows], 0),
            f"{name}_labels": stacked(asked, IGNORED),
            f"{name}_image": torch.tensor([n for n, _, _ in texts]),
        }


def save(adapter: Adapter, output: Path) -> None:
    """Write model, image processor and tokenizer as transformers does; raises ``ModelError``."""
    from transformers import AutoImageProcessor, AutoTokenizer

    try:
        with written_whole(output) as folder:
            adapter.model.save_pretrained(folder)
            for kind in (AutoImageProcessor, AutoTokenizer):
                kind.from_pretrained(adapter.options.checkpoint).save_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot save the model in {output} ({' '.join(str(error).split())[:200]})") from error
