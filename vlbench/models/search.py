"""Greedy search, beam search and sampling over any model that scores the next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlbench.types import Decoding

    NextLogits = Callable[["Texts"], torch.Tensor]


@dataclass
class Texts:
    """Texts that grow.

    ``ids`` (b, n) are padded at the end with 0, ``lengths`` (b,) tell how far they go, ``prefixes`` (b,) how much of
    them is the prompt, and ``owners`` (b,) which prompt it is: a search drops texts and repeats them.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    prefixes: torch.Tensor
    owners: torch.Tensor

    def extended(self, tokens: torch.Tensor) -> Texts:
        """Return the texts with one more token each (b,)."""
        ids = self.ids
        if int(self.lengths.max()) == ids.shape[1]:
            ids = torch.nn.functional.pad(ids, (0, 1))
        ids = ids.scatter(1, self.lengths[:, None], tokens[:, None])
        return Texts(ids, self.lengths + 1, self.prefixes, self.owners)

    def select(self, rows: torch.Tensor) -> Texts:
        """Return the texts of ``rows``."""
        return Texts(self.ids[rows], self.lengths[rows], self.prefixes[rows], self.owners[rows])


def search(
    next_logits: NextLogits, prompts: torch.Tensor, lengths: torch.Tensor, end: int, decoding: Decoding, steps: int
) -> list[list[int]]:
    """Return the tokens written after each prompt, ``steps`` at most, without the end mark ``end``.

    ``prompts`` int64 (b, n) are padded at the end, ``lengths`` (b,) their lengths. ``next_logits`` returns
    (b, vocabulary) for the token after each text, -inf where a token is never written.
    """
    if steps <= 0:
        return [[] for _ in lengths]
    texts = Texts(prompts, lengths, lengths.clone(), torch.arange(len(lengths), device=prompts.device))
    if decoding.num_beams > 1:
        return _beam_search(next_logits, texts, end, decoding, steps)
    return _sample(next_logits, texts, end, decoding, steps)


def _next_log_probabilities(next_logits: NextLogits, texts: Texts, decoding: Decoding) -> torch.Tensor:
    """Return natural-log probabilities (b, vocabulary) of the token after each text."""
    logits = next_logits(texts).float()
    if decoding.repetition_penalty != 1.0:
        logits = _penalised(logits, texts, decoding.repetition_penalty)
    return logits.log_softmax(dim=-1)


def _penalised(logits: torch.Tensor, texts: Texts, penalty: float) -> torch.Tensor:
    """Divide the scores of tokens that were written already (Keskar et al. 2019, section 4.1)."""
    position = torch.arange(texts.ids.shape[1], device=logits.device)[None]
    written = (position >= texts.prefixes[:, None]) & (position < texts.lengths[:, None])
    seen = torch.zeros_like(logits).scatter_add(1, texts.ids, written.to(logits.dtype)) > 0
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def _sample(next_logits: NextLogits, texts: Texts, end: int, decoding: Decoding, steps: int) -> list[list[int]]:
    """Take the likeliest token at each step, or draw one where the temperature is above 0."""
    written: list[list[int]] = [[] for _ in texts.lengths]
    # One generator a text, so that what is drawn does not depend on the batch it is in.
    generators = [torch.Generator().manual_seed(decoding.seed) for _ in written]
    for _ in range(steps):
        scores = _next_log_probabilities(next_logits, texts, decoding)
        if decoding.temperature > 0:
            chosen = _drawn(
                scores / decoding.temperature, decoding.top_p, [generators[k] for k in texts.owners.tolist()]
            )
        else:
            chosen = scores.argmax(dim=-1)
        for row, token in zip(texts.owners.tolist(), chosen.tolist(), strict=True):
            if token != end:
                written[row].append(token)
        going = (chosen != end).nonzero()[:, 0]
        if not len(going):
            break
        texts = texts.extended(chosen).select(going)
    return written


def _drawn(scores: torch.Tensor, top_p: float, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw from the smallest set of tokens with a probability of ``top_p`` together (Holtzman et al. 2020)."""
    probabilities, order = scores.softmax(dim=-1).cpu().sort(dim=-1, descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    kept = probabilities.masked_fill(before >= top_p, 0.0)
    kept[:, 0] = probabilities[:, 0]
    places = torch.cat([torch.multinomial(row, 1, generator=g) for row, g in zip(kept, generators, strict=True)])
    return order.gather(1, places[:, None])[:, 0].to(scores.device)


def _beam_search(next_logits: NextLogits, texts: Texts, end: int, decoding: Decoding, steps: int) -> list[list[int]]:
    """Keep the ``num_beams`` likeliest texts; the winner has the highest log-probability / length ** penalty."""
    count, beams = len(texts.lengths), decoding.num_beams
    texts = texts.select(texts.owners.repeat_interleave(beams))
    totals = torch.full((count, beams), -torch.inf, device=texts.ids.device)
    totals[:, 0] = 0.0
    done: list[list[tuple[float, list[int]]]] = [[] for _ in range(count)]
    prefixes = texts.prefixes[::beams].tolist()
    for step in range(1, steps + 1):
        scores = totals.flatten()[:, None] + _next_log_probabilities(next_logits, texts, decoding)
        # Twice as many as beams: if that many end here, there are still enough to go on.
        best = scores.view(count, -1).topk(2 * beams, dim=-1)
        parents, tokens = best.indices // scores.shape[-1], best.indices % scores.shape[-1]
        keep_rows = torch.zeros(count, beams, dtype=torch.long, device=texts.ids.device)
        keep_tokens = torch.full((count, beams), end, dtype=torch.long, device=texts.ids.device)
        totals = torch.full_like(totals, -torch.inf)
        for k in range(count):
            kept = 0
            for total, parent, token in zip(
                best.values[k].tolist(), parents[k].tolist(), tokens[k].tolist(), strict=True
            ):
                row = k * beams + parent
                if total == -torch.inf:
                    break
                if token == end:
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
