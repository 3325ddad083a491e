"""The adapter `openai_api` against a server that speaks the protocol: faults, order, pace, counts, and the key."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support.chat_server import COMPLETION_TOKENS, PROMPT_TOKENS, Asked, ChatServer, Reply, answer, derived, error
from vlbench.adapter import LoadOptions
from vlbench.adapters import chat_client
from vlbench.adapters.openai_api import OpenAIAPI
from vlbench.data.source import LocalFolder
from vlbench.errors import EvaluationFailed, ModelError, UsageError
from vlbench.testing import adapters as contract
from vlbench.types import Decoding, Failure, Generate, Generated, ImageRef, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

KEY = "sk-test-0123456789abcdef/+=secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(chat_client, "FIRST_WAIT_SECONDS", 0.02)
    with ChatServer().running() as running:
        yield running


def load(server: ChatServer, **arguments: object) -> OpenAIAPI:
    given = {"base_url": server.base_url, **{name: str(value) for name, value in arguments.items()}}
    return OpenAIAPI(LoadOptions(checkpoint="org/model:1", arguments=given))


def pictures(folder: Path, number: int) -> list[ImageRef]:
    for n in range(number):
        Image.new("RGB", (4 + n % 5, 3), (n, 2 * n % 256, 255 - n)).save(folder / f"{n}.png")
    return [ImageRef(LocalFolder(folder), f"{n}.png") for n in range(number)]


def questions(folder: Path, number: int, decoding: Decoding | None = None) -> list[Generate]:
    return [
        Generate((image,), f"Question {n}?", decoding or Decoding(10))
        for n, image in enumerate(pictures(folder, number))
    ]


def expected(request: Generate) -> str:
    return derived([image.source.read(image.name) for image in request.images], request.prompt)


def texts(responses: Sequence[Response]) -> list[str]:
    return [r.text if isinstance(r, Generated) else f"failed: {r.reason}" for r in responses if _known(r)]


def _known(response: Response) -> bool:
    assert isinstance(response, Generated | Failure)
    return True


def once(reply: Reply) -> Callable[[Asked], Reply | None]:
    return lambda asked: reply if asked.attempt == 0 else None


def test_a_request_is_what_the_protocol_says(server: ChatServer, tmp_path: Path) -> None:
    images = pictures(tmp_path, 2)
    contract.answer(load(server), [Generate(tuple(images), "Same?", Decoding(7, stop=("\n",)))])
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert [part["type"] for part in asked.parts] == ["image_url", "image_url", "text"]
    assert asked.parts[0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    without_messages = {name: value for name, value in asked.body.items() if name != "messages"}
    assert without_messages == {"model": "org/model:1", "max_tokens": 7, "temperature": 0.0, "stop": ["\n"]}


def test_sampling_and_thinking_have_parameters_of_their_own(server: ChatServer, tmp_path: Path) -> None:
    contract.answer(load(server), questions(tmp_path, 1, Decoding(5, temperature=0.7, top_p=0.9, seed=3)))
    contract.answer(load(server, reasoning_tokens=1000), questions(tmp_path, 1, Decoding(5)))
    sampled, thought = (asked.body for asked in server.asked)
    assert (sampled["temperature"], sampled["top_p"], sampled["seed"]) == (0.7, 0.9, 3)
    assert thought["max_completion_tokens"] == 1005 and not {"max_tokens", "temperature"} & set(thought)


def test_jpeg_is_sent_where_asked(server: ChatServer, tmp_path: Path) -> None:
    png, jpeg = load(server), load(server, image_format="jpeg")
    contract.answer(jpeg, questions(tmp_path, 1))
    (data,) = server.asked[0].images
    assert data.startswith(b"\xff\xd8\xff") and "data:image/jpeg;" in server.asked[0].parts[0]["image_url"]["url"]
    assert jpeg.preprocessing() != png.preprocessing() and jpeg.fingerprint() != png.fingerprint()


def test_answers_land_on_their_own_requests_at_concurrency_32(server: ChatServer, tmp_path: Path) -> None:
    """Answers come back in quite another order than the requests went out, some after a second attempt."""
    all_at_once = threading.Barrier(32)

    def fault(asked: Asked) -> Reply | None:
        if len(server.asked) <= 32:
            all_at_once.wait(timeout=30)
        number = int(asked.text.split()[1].rstrip("?"))
        if number % 7 == 0 and asked.attempt == 0:
            return Reply(error("again"), 500)
        return Reply(answer(derived(asked.images, asked.text)), seconds=0.05 * (number * 37 % 5) / 5)

    server.fault = fault
    requests = questions(tmp_path, 128)
    adapter = load(server, concurrency=32)
    assert texts(contract.answer(adapter, requests)) == [expected(request) for request in requests]
    assert len({expected(request) for request in requests}) == 128
    assert server.most_at_once == 32
    assert adapter.batch_sizes == {"generate": 128}
    arrived = [asked.text for asked in server.asked]
    assert len(arrived) == 128 + 19 and adapter.counters()["api_retries"] == 19


@pytest.mark.parametrize(
    "reply",
    [
        Reply(error("slow down"), 429, {"Retry-After": "0"}),
        Reply(error("slow down"), 429),
        Reply(error("broken"), 500),
        Reply(b"<html>bad gateway</html>", 502),
        Reply(b"", 503, {"Retry-After": "soon"}),
        Reply(error("late"), 504),
        Reply(error("late"), 408),
        Reply(answer("half an answer"), drop=True),
        Reply(answer("too late"), seconds=3.0),
    ],
    ids=["429 with a time", "429", "500", "502", "503", "504", "408", "dropped connection", "slow answer"],
)
def test_what_may_pass_is_tried_again(server: ChatServer, tmp_path: Path, reply: Reply) -> None:
    server.fault = once(reply)
    requests = questions(tmp_path, 2)
    adapter = load(server, timeout=1)
    assert texts(contract.answer(adapter, requests)) == [expected(request) for request in requests]
    assert len(server.asked) == 4
    assert adapter.counters() == {
        "api_requests": 4,
        "api_retries": 2,
        "prompt_tokens": 2 * PROMPT_TOKENS,
        "completion_tokens": 2 * COMPLETION_TOKENS,
        "answers_without_usage": 0,
    }


def test_the_time_that_a_server_asks_for_is_kept(server: ChatServer, tmp_path: Path) -> None:
    server.fault = once(Reply(error("slow down"), 429, {"Retry-After": "0.4"}))
    contract.answer(load(server), questions(tmp_path, 1))
    first, second = (asked.arrived for asked in server.asked)
    assert second - first >= 0.4


def test_waits_double_up_to_a_limit(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(chat_client, "LONGEST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    server.fault = lambda _: Reply(error("broken"), 500)
    requests = questions(tmp_path, 1)
    assert texts(contract.answer(load(server, retries=4), requests)) == ["failed: answered 500 (broken), in 5 attempts"]
    assert len(waits) == 4
    for wait, longest in zip(waits, (0.02, 0.04, 0.08, 0.1), strict=True):
        assert longest / 2 <= wait <= longest


def test_the_rate_is_kept_and_counts_second_attempts(server: ChatServer, tmp_path: Path) -> None:
    server.fault = lambda asked: Reply(error("again"), 500) if len(server.asked) == 1 else None
    contract.answer(load(server, requests_per_minute=1200), questions(tmp_path, 8))
    arrivals = sorted(asked.arrived for asked in server.asked)
    assert len(arrivals) == 9
    # The first may arrive late on a busy machine; without the rate all come within a few hundredths of a second.
    assert arrivals[-1] - arrivals[0] >= 0.5 * 8 * 60 / 1200


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b'{"choices": [{"mess'), 'answered with something that is not JSON: \'{"choices": [{"mess\''),
        (Reply(b"\xff\xfe\x00garbage"), "not JSON"),
        (Reply(b"[" * 100_000), "not JSON"),
        (Reply([]), "without choices[0].message.content: []"),
        (Reply({"choices": []}), "without choices[0].message.content"),
        (Reply({"choices": [{"message": "hello"}]}), "without choices[0].message.content"),
        (Reply(error("model is loading")), 'without choices[0].message.content: {"error": {"message": "model is'),
        (Reply(answer(None)), "without a text (finish_reason stop)"),
        (Reply(answer([{"type": "text"}])), "without a text"),  # type: ignore[arg-type]
        (Reply(error("image was\nflagged"), 400), "answered 400 (image was flagged)"),
        (Reply({"detail": "no such field"}, 422), 'answered 422 ({"detail": "no such field"})'),
        (Reply(b"", 302, {"Location": "http://example.com/"}), "answered 302"),
    ],
)
def test_a_bad_answer_fails_its_sample_alone_in_one_line(
    server: ChatServer, tmp_path: Path, reply: Reply, reason: str
) -> None:
    server.fault = lambda asked: reply if "Question 1?" in asked.text else None
    requests = questions(tmp_path, 3)
    first, second, third = contract.answer(load(server), requests)
    assert texts([first, third]) == [expected(requests[0]), expected(requests[2])]
    assert isinstance(second, Failure) and reason in second.reason
    assert "\n" not in second.reason and len(second.reason) < 300
    assert len(server.asked) == 3, "what will not pass is not tried again"


def test_a_refusal_is_an_answer_and_half_a_character_is_replaced(server: ChatServer, tmp_path: Path) -> None:
    replies = {"Question 0?": answer(None, refusal="I cannot."), "Question 1?": answer("red \ud83d circle")}
    server.fault = lambda asked: Reply(replies[asked.text])
    assert texts(contract.answer(load(server), questions(tmp_path, 2))) == ["I cannot.", "red ? circle"]


def test_an_answer_without_usage_is_counted(server: ChatServer, tmp_path: Path) -> None:
    whole = answer("yes")
    replies = {
        "Question 0?": whole | {"usage": None},
        "Question 1?": whole | {"usage": {"prompt_tokens": "many"}},
        "Question 2?": whole,
    }
    server.fault = lambda asked: Reply(replies[asked.text])
    adapter = load(server)
    contract.answer(adapter, questions(tmp_path, 3))
    counted = adapter.counters()
    assert counted["answers_without_usage"] == 2 and counted["prompt_tokens"] == PROMPT_TOKENS


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (
            Reply(error("Incorrect API key"), 401),
            ModelError,
            "answered 401 (Incorrect API key); put the right key into",
        ),
        (
            Reply(error("no model org/model:1"), 404),
            ModelError,
            "answered 404 (no model org/model:1); check the model's",
        ),
        (Reply(error("pay", code="insufficient_quota"), 429), EvaluationFailed, "no quota left: answered 429 (pay)"),
        (Reply(error("later"), 429, {"Retry-After": "86400"}), EvaluationFailed, "asks to wait 86400 s; the same"),
    ],
)
def test_what_no_retry_can_help_ends_the_run_at_once(
    server: ChatServer, tmp_path: Path, reply: Reply, kind: type[Exception], message: str
) -> None:
    """Also while another request is answered slowly: it is not waited for."""
    server.fault = lambda asked: reply if "Question 1?" in asked.text else Reply(answer("late"), seconds=20.0)
    started = time.monotonic()
    with pytest.raises(kind) as raised:
        contract.answer(load(server), questions(tmp_path, 3))
    assert time.monotonic() - started < 15
    assert message in str(raised.value) and server.base_url in str(raised.value)
    assert sum("Question 1?" in asked.text for asked in server.asked) == 1


def test_a_server_that_answers_nobody_ends_the_run(server: ChatServer, tmp_path: Path) -> None:
    server.fault = lambda _: Reply(error("too many"), 429)
    with pytest.raises(EvaluationFailed, match=r"429 \(too many\), in 2 attempts; the same command resumes"):
        contract.answer(load(server, retries=1), questions(tmp_path, 1))
    server.fault = lambda _: Reply(error("temperature is not supported"), 400)
    with pytest.raises(EvaluationFailed, match="refuses every request: answered 400"):
        contract.answer(load(server), questions(tmp_path, 2))


def test_a_server_that_is_not_there_ends_the_run(server: ChatServer, tmp_path: Path) -> None:
    with ChatServer().running() as gone:
        adapter = load(gone, retries=1)
    with pytest.raises(EvaluationFailed, match=r"cannot be reached \(.*\), in 2 attempts; the same command resumes"):
        contract.answer(adapter, questions(tmp_path, 1))


def test_it_works_where_an_event_loop_runs_already(server: ChatServer, tmp_path: Path) -> None:
    """As in a notebook."""
    requests = questions(tmp_path, 2)
    adapter = load(server)

    async def cell() -> list[str]:
        return texts(contract.answer(adapter, requests))

    assert asyncio.run(cell()) == [expected(request) for request in requests]


def _echo(asked: Asked) -> dict[str, Any]:
    return error(f"bad key {asked.headers['Authorization']} for {asked.headers['Authorization'][7:]}")


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
@pytest.mark.parametrize("form", ["error", "text", "answer"])
def test_the_key_comes_back_in_no_message(
    server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, form: str
) -> None:
    """Servers do repeat it; the library's own logs are read down to their lowest level."""

    def fault(asked: Asked) -> Reply:
        text = str(_echo(asked))
        body = {"error": _echo(asked), "text": text.encode(), "answer": answer(text)}[form]
        return Reply(body, status)

    server.fault = fault
    caplog.set_level(logging.DEBUG)
    adapter = load(server, retries=0)
    try:
        shown = texts(contract.answer(adapter, questions(tmp_path, 2)))
    except (ModelError, EvaluationFailed) as raised:
        shown = [str(raised)]
    assert any("[key]" in text for text in shown)
    for text in (*shown, caplog.text, adapter.fingerprint(), adapter.preprocessing(), *adapter.notes()):
        assert KEY not in text and KEY[3:] not in text


def test_a_placeholder_key_is_sent_and_changes_no_answer(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "EMPTY")
    server.fault = lambda _: Reply(answer("EMPTY glass"))
    assert texts(contract.answer(load(server, api_key_env="LOCAL_KEY"), questions(tmp_path, 1))) == ["EMPTY glass"]
    assert server.asked[0].headers["Authorization"] == "Bearer EMPTY"


def test_without_a_key_none_is_sent_and_401_says_where_it_belongs(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    server.fault = lambda _: Reply(error("who are you?"), 401)
    with pytest.raises(ModelError, match=r"put the key into OPENAI_API_KEY \(--model-arg api_key_env=NAME\)"):
        contract.answer(load(server), questions(tmp_path, 1))
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": ""}, "needs --model-arg base_url"),
        ({"base_url": "localhost:8000/v1"}, "needs --model-arg base_url"),
        ({"base_url": "http://host:port/v1"}, "needs --model-arg base_url"),
        ({"base_url": f"http://me:{KEY[:12]}@host/v1"}, "must hold no password"),
        ({"base_url": f"http://host/v1?key={KEY}"}, "must hold no password"),
        ({"api_key_env": KEY}, "takes the NAME of an environment variable"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE .* is not set"),
        ({"concurrency": "0"}, "concurrency=0 is not a whole number from 1"),
        ({"concurrency": "1.5"}, "concurrency=1.5 is not a whole number"),
        ({"timeout": "nan"}, "timeout=nan is not a number"),
        ({"timeout": "0"}, "timeout=0 is not a number from 0.001"),
        ({"retries": "inf"}, "retries=inf is not a whole number"),
        ({"requests_per_minute": "-1"}, "requests_per_minute=-1 is not a number from 0"),
        ({"image_format": "gif"}, "neither png nor jpeg"),
    ],
)
def test_wrong_arguments_are_refused_and_never_repeat_a_key(
    server: ChatServer, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(server, **arguments)
    assert KEY[:12] not in str(raised.value)


def test_a_key_that_no_header_carries_is_refused(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\N{LEFT DOUBLE QUOTATION MARK}abc")
    with pytest.raises(UsageError, match="the key in OPENAI_API_KEY has characters") as raised:
        load(server)
    assert "abc" not in str(raised.value)
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    load(server)


def test_what_a_server_cannot_be_asked_is_refused(server: ChatServer, tmp_path: Path) -> None:
    for options, message in (
        (LoadOptions(), "names no model"),
        (LoadOptions(checkpoint="m", revision="main"), "--revision means nothing"),
        (LoadOptions(checkpoint="m", dtype="float16"), "--dtype float16 cannot be asked"),
    ):
        with pytest.raises((ModelError, UsageError), match=message):
            OpenAIAPI(options)
    for decoding in (Decoding(num_beams=3), Decoding(length_penalty=0.5), Decoding(repetition_penalty=1.2)):
        with pytest.raises(UsageError, match="openai_api cannot decode with"):
            contract.answer(load(server), questions(tmp_path, 1, decoding))
    with pytest.raises(UsageError, match="temperature together with reasoning_tokens"):
        contract.answer(load(server, reasoning_tokens=9), questions(tmp_path, 1, Decoding(temperature=1.0)))


def test_the_fingerprint_is_of_address_name_and_options(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load(server).fingerprint()
    assert load(server, concurrency=2, retries=0, timeout=9, requests_per_minute=7).fingerprint() == here
    other = OpenAIAPI(LoadOptions(checkpoint="other", arguments={"base_url": server.base_url}))
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    assert load(server).fingerprint() == here
    moved = load(server, base_url="http://other/v1")
    assert len({here, other.fingerprint(), moved.fingerprint(), load(server, reasoning_tokens=1).fingerprint()}) == 4
