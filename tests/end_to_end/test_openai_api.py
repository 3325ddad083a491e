"""`vlbench run --model openai_api:…` as a user types it, against a server that is slow, busy, broken and indiscreet."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.support.chat_server import COMPLETION_TOKENS, PROMPT_TOKENS, Asked, ChatServer, Reply, answer, derived, error
from tests.support.cli import vlbench
from vlbench import letters
from vlbench.capabilities import Expander
from vlbench.runner.driver import load_dataset
from vlbench.task import Protocol
from vlbench.tasks.vcr import Vcr
from vlbench.tasks.vqa import Vqa
from vlbench.types import Generate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-live-9876543210zyxwvutsrqponm"
SAMPLES = 48


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as running:
        yield running


def run(server: ChatServer, output: Path, *arguments: object, model: str = "m") -> subprocess.CompletedProcess[str]:
    # With the device named, torch is not imported to look for one.
    command = ("run", "--device", "cpu", "--model", f"openai_api:{model}", "--output", output, "--json")
    address = ("--model-arg", f"base_url={server.base_url}", "--model-arg", "api_key_env=SECRET_KEY")
    return vlbench(*command, *address, "--limit", SAMPLES, *arguments, SECRET_KEY=KEY)


def rows(output: Path, task: str) -> list[dict[str, Any]]:
    (file,) = output.glob(f"*.{task}.*.parquet")
    table: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return table


def no_key_in(output: Path, *texts: str) -> None:
    files = [path for path in output.rglob("*") if path.is_file()]
    columns = [str(pq.read_table(path).to_pylist()).encode() for path in files if path.suffix == ".parquet"]
    for data in (*(path.read_bytes() for path in files), *columns, *(text.encode() for text in texts)):
        assert KEY.encode() not in data and KEY[3:].encode() not in data


def refused(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("vlbench: ")]
    assert done.returncode == code and done.stdout == "", done.stderr
    assert len(errors) == 1 and message in errors[0] and "Traceback" not in done.stderr, done.stderr


def test_every_answer_lands_on_its_own_sample_whatever_the_server_does(server: ChatServer, tmp_path: Path) -> None:
    dataset = load_dataset(Vqa(), None, None, SAMPLES)
    broken = dataset.samples[5]

    def fault(asked: Asked) -> Reply | None:
        number = int(derived(asked.images, asked.text + "!"), 16) if "letter" not in asked.text else 5
        if asked.text.startswith(broken.question) and asked.images[0] == png(broken):
            return Reply(f'{{"choices": [{{"message": "{asked.headers["Authorization"]}'.encode())
        if asked.attempt == 0 and number % 6 < 3:
            body = error(f"not now, {asked.headers['Authorization']}")
            return (Reply(body, 429, {"Retry-After": "0"}), Reply(body, 500), Reply(body, drop=True))[number % 6]
        return Reply(answer(derived(asked.images, asked.text)), seconds=number % 5 / 50)

    server.fault = fault
    done = run(server, tmp_path, "--tasks", "vqa,vcr", "--model-arg", "concurrency=32")
    assert done.returncode == 4, done.stderr
    results = {result["task"]["name"]: result for result in json.loads(done.stdout)}

    by_id = {row["sample_id"]: row for row in rows(tmp_path, "vqa")}
    for sample in dataset.samples:
        text = f"{sample.question}\nAnswer the question with a single word or phrase."
        expected = "" if sample is broken else derived([png(sample)], text)
        assert by_id[sample.question_id]["response"] == expected
    (failure,) = results["vqa"]["samples"]["failures"]
    assert failure.startswith(f"{broken.question_id}: answered with something that is not JSON") and "[key]" in failure
    assert "1 samples failed" in done.stderr and failure in done.stderr

    chosen = {row["sample_id"]: row["response"] for row in rows(tmp_path, "vcr")}
    protocol = Protocol("choose", routes={"choose": letters.ROUTE}, template=letters.TEMPLATE)
    for item in load_dataset(Vcr(), None, None, SAMPLES).samples:
        asked = [Expander(protocol, 1.0).expand(request)[0] for request in Vcr().requests(item, protocol)]
        named = [derived([png(item)], request.prompt) for request in asked if isinstance(request, Generate)]
        assert chosen[item.annot_id] == " ".join(str("ABCD".index(letter)) for letter in named)
    assert results["vcr"]["task"]["protocol"] == "choose/letters-v1"
    assert "template:{prompt}\\n{choices}\\nAnswer with the letter" in results["vcr"]["signature"]
    assert "prompt:{question}\\nAnswer the question with a single word" in results["vqa"]["signature"]

    cost = results["vqa"]["cost"]
    answered = cost["requests_computed"] - 1
    assert (cost["prompt_tokens"], cost["completion_tokens"]) == (
        PROMPT_TOKENS * answered,
        COMPLETION_TOKENS * answered,
    )
    assert cost["api_requests"] == len(server.asked) == cost["requests_computed"] + cost["api_retries"]
    assert cost["api_retries"] > 5 and server.most_at_once <= 32
    model = results["vqa"]["model"]
    assert (model["provenance"], model["dtype"]) == ("unverified", "unknown")
    assert any("weights behind" in note and "unknown" in note for note in results["vqa"]["notes"])
    assert all(asked.headers["Authorization"] == f"Bearer {KEY}" for asked in server.asked)
    no_key_in(tmp_path, done.stdout, done.stderr)


def png(sample: Any) -> bytes:
    """Return the image as it is sent."""
    encoded = io.BytesIO()
    sample.image.load().save(encoded, "PNG")
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("status", "message"), [(401, "put the right key into SECRET_KEY"), (404, "check the model's name and")]
)
def test_a_wrong_key_or_model_is_one_line(server: ChatServer, tmp_path: Path, status: int, message: str) -> None:
    server.fault = lambda asked: Reply(error(f"no access with {asked.headers['Authorization']}"), status)
    done = run(server, tmp_path, "--tasks", "vqa", "--model-arg", "concurrency=4", model="wrong")
    refused(done, 2, message)
    assert f"answered {status} (no access with Bearer [key])" in done.stderr
    assert len(server.asked) <= 8 and not list(tmp_path.glob("*.json"))
    no_key_in(tmp_path, done.stderr)


def test_a_traceback_does_not_show_the_key(server: ChatServer, tmp_path: Path) -> None:
    server.fault = lambda _: Reply(error("who?"), 401)
    command = ("--debug", "run", "--device", "cpu", "--model", "openai_api:m", "--tasks", "vqa", "--limit", "2")
    address = ("--model-arg", f"base_url={server.base_url}", "--output", tmp_path)
    done = vlbench(*command, *address, OPENAI_API_KEY=KEY)
    assert "Traceback" in done.stderr
    no_key_in(tmp_path, done.stderr)


def test_the_key_in_place_of_its_variable_is_not_repeated(server: ChatServer, tmp_path: Path) -> None:
    done = run(server, tmp_path, "--tasks", "vqa", "--model-arg", f"api_key_env={KEY}")
    refused(done, 2, "takes the NAME of an environment variable")
    no_key_in(tmp_path, done.stderr)


def test_a_quota_that_runs_out_loses_nothing_and_another_pace_resumes(server: ChatServer, tmp_path: Path) -> None:
    """How fast is asked is not part of what is asked: the journal of the broken run serves the slower one."""
    arguments = ("--tasks", "vqa", "--batch-size", "8")
    server.fault = lambda _: Reply(error("pay", code="insufficient_quota"), 429) if len(server.asked) > 24 else None
    refused(run(server, tmp_path, *arguments, "--model-arg", "concurrency=8"), 4, "no quota left: answered 429 (pay)")
    assert list((tmp_path / ".journal").glob("*.records"))
    no_key_in(tmp_path)
    server.fault = lambda _: None
    done = run(server, tmp_path, *arguments, "--model-arg", "concurrency=2", "--model-arg", "timeout=60")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["cost"]["requests_replayed"] == 24
    assert result["cost"]["api_requests"] == SAMPLES - 24
    assert result["settings"]["model_arguments"] == {"base_url": server.base_url}


def test_a_user_says_how_to_ask(server: ChatServer, tmp_path: Path) -> None:
    given = ("--task-arg", "coco_caption:prompt=Say what you see.", "--task-arg", "coco_caption:meteor=off")
    done = run(
        server, tmp_path, "--tasks", "coco_caption,vcr", *given, "--task-arg", "vcr:template={prompt} {choices} letter?"
    )
    assert done.returncode == 0, done.stderr
    texts = {asked.text for asked in server.asked}
    assert "Say what you see." in texts and any(text.endswith(" letter?") for text in texts)
    assert all(text == "Say what you see." or text.endswith(" letter?") for text in texts)


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with ChatServer().running() as gone:
        pass
    refused(run(gone, tmp_path, "--tasks", "vqa", "--model-arg", "retries=0"), 4, "cannot be reached")
