"""Decoding: greedy search, beam search and sampling from a built-in model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vlbench.models.tokenizer import EOS, PAD, SPECIAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.models.model import VisionLanguageModel
    from vlbench.types import Decoding

NEVER = [token for token in range(len(SPECIAL)) if token != EOS]


@dataclass
class _Texts:
    """Texts that grow: ids (b, n) padded at the end, lengths (b,), prefixes (b,)."""

    ids: torch.Tensor
    lengths: torch.Tensor
    prefixes: torch.Tensor

    def extended(self, tokens: torch.Tensor) -> _Texts:
        """Return the texts with one more token each (b,)."""
        ids = self.ids
        if int(self.lengths.max()) == ids.shape[1]:
            ids = torch.nn.functional.pad(ids, (0, 1), value=PAD)
        ids = ids.scatter(1, self.lengths[:, None], tokens[:, None])
        return _Texts(ids, self.lengths + 1, self.prefixes)

    def select(self, rows: torch.Tensor) -> _Texts:
        """Return the texts of ``rows``."""
        return _Texts(self.ids[rows], self.lengths[rows], self.prefixes[rows])


@torch.inference_mode()
def generate(
    model: VisionLanguageModel,
    prompts: torch.Tensor,
    lengths: torch.Tensor,
    image: torch.Tensor,
    decoding: Decoding,
) -> list[list[int]]:
    """Return the tokens written after each prompt, without the end mark.

    ``prompts`` int64 (b, n) are ``[BOS] … [SEP]`` padded at the end, ``lengths`` (b,) their lengths, ``image``
    (b, m, width) the image tokens.
    """
    room = model.config.max_length - int(lengths.max())
    steps = max(0, min(decoding.max_new_tokens, room))
    if steps == 0:
        return [[] for _ in lengths]
    texts = _Texts(prompts, lengths, lengths.clone())
    if decoding.num_beams > 1:
        return _beam_search(model, texts, image, decoding, steps)
    return _sample(model, texts, image, decoding, steps)


def _next_log_probabilities(
    model: VisionLanguageModel, texts: _Texts, image: torch.Tensor, decoding: Decoding
) -> torch.Tensor:
    """Return natural-log probabilities (b, vocabulary) of the token after each text."""
    hidden = model.decode(texts.ids, texts.prefixes, image)
    last = hidden[torch.arange(len(hidden), device=hidden.device), texts.lengths - 1]
    logits = model.words(last).float()
    logits[:, NEVER] = -torch.inf
    if decoding.repetition_penalty != 1.0:
        logits = _penalised(logits, texts, decoding.repetition_penalty)
    return logits.log_softmax(dim=-1)


def _penalised(logits: torch.Tensor, texts: _Texts, penalty: float) -> torch.Tensor:
    """Divide the scores of tokens that were written already (Keskar et al. 2019, section 4.1)."""
    position = torch.arange(texts.ids.shape[1], device=logits.device)[None]
    written = (position >= texts.prefixes[:, None]) & (position < texts.lengths[:, None])
    seen = torch.zeros_like(logits).scatter_add(1, texts.ids, written.to(logits.dtype)) > 0
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _sample(
    model: VisionLanguageModel, texts: _Texts, image: torch.Tensor, decoding: Decoding, steps: int
) -> list[list[int]]:
    """Take the likeliest token at each step, or draw one where the temperature is above 0."""
    written: list[list[int]] = [[] for _ in texts.lengths]
    alive = torch.arange(len(written), device=texts.ids.device)
    # One generator a text, so that what is drawn does not depend on the batch it is in.
    generators = [torch.Generator().manual_seed(decoding.seed) for _ in written]
    for _ in range(steps):
        scores = _next_log_probabilities(model, texts, image, decoding)
        if decoding.temperature > 0:
            chosen = _drawn(scores / decoding.temperature, decoding.top_p, [generators[k] for k in alive.tolist()])
        else:
            chosen = scores.argmax(dim=-1)
        for row, token in zip(alive.tolist(), chosen.tolist(), strict=True):
            if token != EOS:
                written[row].append(token)
        going = (chosen != EOS).nonzero()[:, 0]
        if not len(going):
            break
        texts, image, alive = texts.extended(chosen).select(going), image[going], alive[going]
    return written


def _drawn(scores: torch.Tensor, top_p: float, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw from the smallest set of tokens with a probability of ``top_p`` together (Holtzman et al. 2020)."""
    probabilities, order = scores.softmax(dim=-1).cpu().sort(dim=-1, descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = probabilities.masked_fill(before >= top_p, 0.0)
    kept[:, 0] = probabilities[:, 0]
    places = torch.cat([torch.multinomial(row, 1, generator=g) for row, g in zip(kept, generators, strict=True)])
    return order.gather(1, places[:, None])[:, 0].to(scores.device)


def _beam_search(
    model: VisionLanguageModel, texts: _Texts, image: torch.Tensor, decoding: Decoding, steps: int
) -> list[list[int]]:
    """Keep the ``num_beams`` likeliest texts; the winner has the highest log-probability / length ** penalty."""
    count, beams = len(texts.lengths), decoding.num_beams
    rows = torch.arange(count, device=texts.ids.device).repeat_interleave(beams)
    texts, image = texts.select(rows), image[rows]
    totals = torch.full((count, beams), -torch.inf, device=image.device)
    totals[:, 0] = 0.0
    done: list[list[tuple[float, list[int]]]] = [[] for _ in range(count)]
    prefixes = texts.prefixes[::beams].tolist()
    for step in range(1, steps + 1):
        scores = totals.flatten()[:, None] + _next_log_probabilities(model, texts, image, decoding)
        # Twice as many as beams: if that many end here, there are still enough to go on.
        best = scores.view(count, -1).topk(2 * beams, dim=-1)
        parents, tokens = best.indices // scores.shape[-1], best.indices % scores.shape[-1]
        keep_rows = torch.zeros(count, beams, dtype=torch.long, device=image.device)
        keep_tokens = torch.full((count, beams), EOS, dtype=torch.long, device=image.device)
        totals = torch.full_like(totals, -torch.inf)
        for k in range(count):
            kept = 0
            for total, parent, token in zip(
                best.values[k].tolist(), parents[k].tolist(), tokens[k].tolist(), strict=True
            ):
                row = k * beams + parent
                if total == -torch.inf:
                    break
                if token == EOS:
                    text = texts.ids[row, prefixes[k] : int(texts.lengths[row])].tolist()
                    done[k].append((total / step**decoding.length_penalty, text))
                elif kept < beams:
                    keep_rows[k, kept], keep_tokens[k, kept], totals[k, kept] = row, token, total
                    kept += 1
                if kept == beams:
                    break
        texts = texts.select(keep_rows.flatten()).extended(keep_tokens.flatten())
        if all(_settled(done[k], totals[k], step, steps, decoding) for k in range(count)):
            break
    for k in range(count):
        if not done[k]:
            row, written = k * beams, int(texts.lengths[k * beams]) - prefixes[k]
            text = texts.ids[row, prefixes[k] : prefixes[k] + written].tolist()
            done[k].append((float(totals[k, 0]), text))
    return [max(found, key=lambda item: item[0])[1] for found in done]


def _settled(
    done: Sequence[tuple[float, list[int]]], totals: torch.Tensor, step: int, steps: int, decoding: Decoding
) -> bool:
    """Tell whether no text that is still being written can win any more."""
    if len(done) < decoding.num_beams:
        return False
    # The total only falls; what dividing by the length can still win is most at the greatest length, or at the next.
    length = steps if decoding.length_penalty > 0 else step + 1
    best = max(score for score, _ in done)
    return bool(best >= float(totals.max()) / length**decoding.length_penalty)


def loglikelihood(
    model: VisionLanguageModel, ids: torch.Tensor, lengths: torch.Tensor, prefixes: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """Return the natural-log probability (b,) of what stands behind each prefix, the end mark included.

    ``ids`` (b, n) are prompt and continuation, padded at the end; ``lengths`` and ``prefixes`` (b,).
    """
    hidden = model.decode(ids, prefixes, image)
    scores = model.words(hidden[:, :-1]).float().log_softmax(dim=-1)
    each = scores.gather(2, ids[:, 1:, None])[..., 0]
    position = torch.arange(1, ids.shape[1], device=ids.device)[None]
    counted = (position >= prefixes[:, None]) & (position < lengths[:, None])
    return (each * counted).sum(dim=-1)
