"""The server, over real sockets: OpenAI's own client, plain HTTP, and what happens when things go wrong."""

import hashlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_fakes import ABOUT, Shouter, serving, wait_for

from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.records import Conversation, Labelled, Message, Pair, Question
from formtune.serving.app import api, create_app, health
from formtune.serving.engine import ChatTurn
from formtune.serving.engine_thread import EngineThread
from formtune.serving.guard import PUBLIC
from formtune.serving.inputs import record_of_input, record_of_turns
from formtune.serving.launch import open_socket
from formtune.serving.launch import run as run_server
from formtune.serving.problems import Problem
from formtune.serving.settings import Key, Limits, Notice, check_host, read_key
from formtune.serving.text_stream import TextStream
from formtune.tokenizers import byte_tokenizer

SECRET = "correct-horse-battery-staple"
KEY = Key(hashlib.sha256(SECRET.encode()).digest())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Give the address of a server that most tests share."""
    with serving(Shouter) as (address, _):
        yield address


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    """Give the address of a server that asks for a key."""
    with serving(Shouter, key=KEY) as (address, _):
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """Give OpenAI's own client."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(url: str, path: str, body: object, **headers: str) -> httpx.Response:
    """Post JSON, with ASCII escapes for what UTF-8 cannot hold."""
    content = json.dumps(body).encode()
    return httpx.post(url + path, content=content, headers={"Content-Type": "application/json"} | headers, timeout=10)


def chat(url: str, text: str, **more: object) -> httpx.Response:
    """Ask for a chat completion of one message."""
    return ask(url, "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **more})


class TestOpenAIClient:
    """OpenAI's client talks to it as to OpenAI."""

    def test_it_lists_the_model_by_name_and_digest(self, client: openai.OpenAI) -> None:
        assert [model.id for model in client.models.list()] == ["shouter@0123456789ab"]
        assert client.models.retrieve("shouter@0123456789ab").owned_by == "formtune"

    def test_a_chat_answers_with_text_usage_and_reason(self, client: openai.OpenAI) -> None:
        found = client.chat.completions.create(model=ABOUT.id, messages=[{"role": "user", "content": "good film"}])
        assert found.choices[0].message.content == "GOOD FILM"
        assert found.choices[0].finish_reason == "stop"
        assert found.usage is not None
        assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (9, 9, 18)
        assert (found.model, found.system_fingerprint) == (ABOUT.id, "0123456789ab")

    def test_an_answer_can_be_sent_back_as_history(self, client: openai.OpenAI) -> None:
        first = client.chat.completions.create(model="shouter", messages=[{"role": "user", "content": "one"}])
        history = [{"role": "user", "content": "one"}, first.choices[0].message, {"role": "user", "content": "two"}]
        second = client.chat.completions.create(model="shouter", messages=history)
        assert second.choices[0].message.content == "TWO"

    def test_a_streamed_chat_is_the_same_text_in_pieces(self, client: openai.OpenAI) -> None:
        stream = client.chat.completions.create(
            model=ABOUT.id,
            messages=[{"role": "user", "content": "good"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert chunks[0].choices[0].delta.role == "assistant"
        assert all(c.choices[0].delta.role is None for c in chunks[1:-1])
        assert [c.choices[0].delta.content for c in chunks[1:-1]] == ["G", "O", "O", "D", ""]
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 8)
        assert len({c.id for c in chunks}) == 1

    def test_a_completion_goes_on_and_stops_at_a_stop_string(self, client: openai.OpenAI) -> None:
        found = client.completions.create(model=ABOUT.id, prompt="abcdef", stop=["DE", "X"])
        assert (found.choices[0].text, found.choices[0].finish_reason) == ("ABC", "stop")

    def test_a_streamed_completion_never_shows_a_part_of_the_stop_string(self, client: openai.OpenAI) -> None:
        stream = client.completions.create(model=ABOUT.id, prompt="abcdef", stop="DE", stream=True)
        assert [chunk.choices[0].text for chunk in stream] == ["A", "B", "C", ""]

    def test_max_tokens_cuts_and_says_so(self, client: openai.OpenAI) -> None:
        found = client.completions.create(model=ABOUT.id, prompt="abcdef", max_tokens=2)
        assert (found.choices[0].text, found.choices[0].finish_reason) == ("AB", "length")

    def test_a_prompt_may_be_token_ids(self, client: openai.OpenAI) -> None:
        assert client.completions.create(model=ABOUT.id, prompt=[97, 98]).choices[0].text == "AB"

    def test_another_model_is_not_found(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="shouter@0123456789ab") as caught:
            client.completions.create(model="gpt-4", prompt="a")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    def test_a_prompt_longer_than_the_context_is_refused_as_openai_does(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="at most 64 tokens") as caught:
            client.chat.completions.create(model=ABOUT.id, messages=[{"role": "user", "content": "x" * 64}])
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")

    def test_an_answer_that_would_not_fit_is_refused_even_as_a_stream(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model=ABOUT.id, prompt="x" * 60, max_tokens=5, stream=True)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")

    def test_a_bug_of_ours_is_a_server_error_and_the_next_request_is_served(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model=ABOUT.id, prompt="a bug")
        assert "this engine" not in caught.value.message
        assert client.completions.create(model=ABOUT.id, prompt="a").choices[0].text == "A"


class TestBodies:
    """A request is answered as it was meant, or refused with the name of the field."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("tools", []),
            ("logit_bias", {}),
            ("logprobs", True),
            ("response_format", {"type": "json_object"}),
            ("user", "me"),
            ("chat_template", "{{ x }}"),
            ("top_k", 5),
        ],
    )
    def test_a_field_that_is_not_supported_is_named(self, url: str, field: str, value: object) -> None:
        error = chat(url, "a", **{field: value}).json()["error"]
        assert error["message"] == f"{field}: This server does not support '{field}'. Leave it out."
        assert (error["param"], error["code"], error["type"]) == (
            field,
            "unsupported_parameter",
            "invalid_request_error",
        )

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("n", 2),
            ("presence_penalty", 0.5),
            ("temperature", 3),
            ("temperature", "0.5"),
            ("top_p", 0),
            ("max_tokens", 0),
            ("seed", 2**63),
            ("stop", ["a", "b", "c", "d", "e"]),
            ("stop", "x" * 65),
            ("stream_options", {"include_usage": True}),
            ("max_tokens", 100_000),
        ],
    )
    def test_a_value_out_of_range_is_refused(self, url: str, field: str, value: object) -> None:
        answer = chat(url, "a", **{field: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].split(".")[0] == field

    @pytest.mark.parametrize("more", [{"n": 1, "presence_penalty": 0, "stream": False}, {"temperature": None}])
    def test_values_that_change_nothing_are_taken(self, url: str, more: dict[str, object]) -> None:
        assert chat(url, "a", **more).json()["choices"][0]["message"]["content"] == "A"

    @pytest.mark.parametrize(
        "message",
        [
            {"role": "tool", "content": "a"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]},
            {"role": "user", "content": "a", "name": "me"},
            {"role": "user", "content": "\ud800"},
        ],
    )
    def test_a_message_of_another_sort_is_refused(self, url: str, message: dict[str, object]) -> None:
        answer = ask(url, "/v1/chat/completions", {"messages": [message]})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("messages.0")

    def test_parts_of_text_are_joined(self, url: str) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        answer = ask(url, "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]})
        assert answer.json()["choices"][0]["message"]["content"] == "AB"

    def test_two_names_for_one_limit_must_agree(self, url: str) -> None:
        assert chat(url, "abc", max_tokens=2, max_completion_tokens=2).json()["usage"]["completion_tokens"] == 2
        assert chat(url, "abc", max_tokens=1, max_completion_tokens=2).status_code == 400

    @pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"prompt": NaN}'])
    def test_a_body_that_is_not_an_object_is_refused(self, url: str, body: bytes) -> None:
        answer = httpx.post(f"{url}/v1/completions", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    def test_an_unknown_path_and_method_are_told_in_the_same_shape(self, url: str) -> None:
        assert ask(url, "/v1/embeddings", {}).json()["error"]["code"] == "not_found"
        wrong = httpx.get(f"{url}/v1/completions")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")

    def test_the_schema_types_every_body(self, url: str) -> None:
        schema = httpx.get(f"{url}/openapi.json").json()
        parts = schema["components"]["schemas"]
        posts = {path: item["post"] for path, item in schema["paths"].items() if "post" in item}
        assert set(posts) == {"/v1/chat/completions", "/v1/completions", "/v1/classify"}
        for operation in posts.values():
            asked = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            given = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            assert parts[asked]["additionalProperties"] is False
            assert all(parts[given]["properties"].values())
            assert "4XX" in operation["responses"]
            assert "422" not in operation["responses"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
FIELDS = (
    "model",
    "messages",
    "role",
    "content",
    "prompt",
    "input",
    "stop",
    "stream",
    "seed",
    "max_tokens",
    "type",
    "text",
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
)


class TestAnything:
    """No body makes the server fail."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(path=st.sampled_from(["chat/completions", "completions", "classify"]), body=ANYTHING)
    def test_every_body_is_answered_or_refused_in_openai_s_shape(self, url: str, path: str, body: object) -> None:
        answer = ask(url, f"/v1/{path}", body)
        assert answer.status_code in (200, 400, 404)
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


class TestClassify:
    """Labels with probabilities, one for each input."""

    def test_one_text_has_one_answer(self, url: str) -> None:
        answer = ask(url, "/v1/classify", {"input": "AB"}).json()
        assert answer["data"] == [
            {"index": 0, "label": "loud", "confidence": 1.0, "probabilities": {"loud": 1.0, "quiet": 0.0}}
        ]
        assert (answer["model"], answer["usage"]["prompt_tokens"]) == (ABOUT.id, 2)

    def test_a_list_is_answered_in_order(self, url: str) -> None:
        answer = ask(url, "/v1/classify", {"input": ["ab", {"text": "AB"}, "a"]}).json()
        assert [item["label"] for item in answer["data"]] == ["quiet", "loud", "quiet"]
        assert [item["index"] for item in answer["data"]] == [0, 1, 2]

    @pytest.mark.parametrize("value", [[], 1, None, {}, [["a"]], ["a"] * 65, {"\ud800": "a"}])
    def test_anything_else_is_refused(self, url: str, value: object) -> None:
        answer = ask(url, "/v1/classify", {"input": value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("input")


class TestInputs:
    """What a client sends becomes the kind of record that the run was trained on."""

    def test_a_text_is_a_record_of_the_run_s_kind(self) -> None:
        said = [ChatTurn("user", "Good.")]
        assert record_of_turns(said, Task("labelled", inputs=("review",))) == Labelled(inputs={"review": "Good."})
        assert record_of_turns(said, Task("pair")) == Pair(source="Good.")
        assert record_of_turns(said, Task("question")) == Question(question="Good.")

    def test_named_texts_come_in_the_order_of_training(self) -> None:
        task = Task("labelled", inputs=("premise", "hypothesis"))
        found = record_of_input({"hypothesis": "B", "premise": "A"}, task, param="input.0")
        assert isinstance(found, Labelled)
        assert list(found.inputs.items()) == [("premise", "A"), ("hypothesis", "B")]

    @pytest.mark.parametrize("value", ["A", {"premise": "A"}, {"premise": "A", "hypothesis": "B", "x": "C"}])
    def test_texts_that_are_missing_or_unknown_are_refused(self, value: str | dict[str, str]) -> None:
        with pytest.raises(Problem, match="the texts premise, hypothesis"):
            record_of_input(value, Task("labelled", inputs=("premise", "hypothesis")), param="input.0")

    def test_turns_are_kept_where_the_run_was_trained_on_turns(self) -> None:
        said = [ChatTurn("system", "Be brief."), ChatTurn("user", "Hi")]
        assert record_of_turns(said, Task("conversation")) == Conversation(
            messages=(Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", ""))
        )

    def test_turns_that_would_be_ignored_are_refused(self) -> None:
        said = [ChatTurn("system", "Be brief."), ChatTurn("user", "Hi")]
        with pytest.raises(Problem, match="Send one user message"):
            record_of_turns(said, Task("labelled"))

    def test_the_last_word_is_the_user_s(self) -> None:
        with pytest.raises(Problem, match="last message must be the user's"):
            record_of_turns([ChatTurn("user", "Hi"), ChatTurn("assistant", "He")], Task("conversation"))

    def test_a_question_is_an_object_with_context_and_choices(self) -> None:
        task = Task("question", labels=("A", "B"), letters=True)
        asked = {"question": "Where?", "context": "Here.", "choices": ["here", "there"]}
        assert record_of_input(asked, task, param="input") == Question(
            question="Where?", context="Here.", choices=("here", "there")
        )

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"question": "Where?", "lang": "x"}, "unknown field `lang`"),
            ({"context": "x"}, "missing required field `question`"),
            ({"question": ["x"]}, "Expected `str`"),
            ({"question": "Where?", "choices": ["a", "a"]}, "Two choices are the same"),
        ],
    )
    def test_an_object_that_is_no_question_is_refused(self, asked: dict[str, str | list[str]], said: str) -> None:
        with pytest.raises(Problem, match=said):
            record_of_input(asked, Task("question", letters=True), param="input.0")

    def test_choices_that_differ_from_the_trained_ones_are_refused(self) -> None:
        with pytest.raises(Problem, match=r"fixed \(no, yes\)"):
            record_of_input({"question": "?", "choices": ["maybe"]}, Task("question", ("no", "yes")), param="input.0")


class TestTextStream:
    """Pieces of text are settled when they are given out."""

    @given(st.text(), st.lists(st.text(min_size=1, max_size=3), max_size=3))
    def test_the_pieces_joined_are_the_text_up_to_the_first_stop_string(self, text: str, stops: list[str]) -> None:
        tokenizer = byte_tokenizer()
        stream = TextStream(tokenizer.decode, stops)
        pieces = []
        for token in tokenizer.encode([text])[0][0].tolist():
            pieces.append(stream.push(token))
            if stream.stopped:
                break
        pieces.append(stream.finish())
        ends = [at for at in map(text.find, stops) if at >= 0]
        assert "".join(pieces) == text[: min(ends, default=len(text))]

    def test_a_character_of_several_tokens_comes_whole(self) -> None:
        tokenizer = byte_tokenizer()
        stream = TextStream(tokenizer.decode, ())
        assert [stream.push(token) for token in tokenizer.encode(["好!"])[0][0].tolist()] == ["", "", "好", "!"]

    def test_a_blank_before_the_answer_is_left_out(self) -> None:
        stream = TextStream(lambda ids: "".join(map(chr, ids)), (), skips_blank=True)
        assert [stream.push(ord(c)) for c in "  a b"] == ["", "", "a", " ", "b"]


class TestLimits:
    """Nobody can ask for more than there is."""

    def test_a_long_body_is_refused_by_its_announced_length(self, url: str) -> None:
        answer = chat(url, "x" * (1 << 20))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")

    def test_a_long_body_is_refused_while_it_comes(self, url: str) -> None:
        blocks = (b"x" * 65536 for _ in range(40))  # sent in chunks, without a length
        assert httpx.post(f"{url}/v1/completions", content=blocks).status_code == 413

    def test_a_compressed_body_is_not_read(self, url: str) -> None:
        assert ask(url, "/v1/completions", {"prompt": "a"}, **{"Content-Encoding": "gzip"}).status_code == 415

    def test_long_headers_are_refused(self, url: str) -> None:
        answer = httpx.get(f"{url}/v1/models", headers={"X-Long": "x" * 17_000})
        assert (answer.status_code, answer.json()["error"]["code"]) == (431, "headers_too_large")

    def test_a_full_queue_says_when_to_come_back(self) -> None:
        engine = Shouter()
        with serving(lambda: engine, limits=Limits(queue_size=2)) as (url, server):
            engine.gate.clear()
            waiting = [threading.Thread(target=chat, args=(url, "a")) for _ in range(2)]
            for one in waiting:
                one.start()
            wait_for(lambda: server.thread.state == "full")
            refused = chat(url, "a")
            ready = httpx.get(f"{url}/readyz")
            engine.gate.set()
            for one in waiting:
                one.join()
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            assert int(refused.headers["Retry-After"]) > 0
            assert ready.status_code == 503
            assert chat(url, "a").status_code == 200

    def test_the_openai_client_gets_through_a_full_queue_by_its_own_retries(self) -> None:
        with serving(lambda: Shouter(step_s=0.01), limits=Limits(queue_size=1)) as (url, _):
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=5)
            found: list[str] = []

            def ask_once() -> None:
                found.append(client.completions.create(model="shouter", prompt="abc").choices[0].text)

            asking = [threading.Thread(target=ask_once) for _ in range(2)]
            for one in asking:
                one.start()
            for one in asking:
                one.join()
            client.close()
        assert found == ["ABC"] * 2

    def test_an_answer_that_takes_too_long_is_given_up(self) -> None:
        engine = Shouter(step_s=0.02)
        with serving(lambda: engine, limits=Limits(timeout_s=0.1)) as (url, _):
            answer = chat(url, "x" * 30)
            assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                stream = client.completions.create(model="shouter", prompt="x" * 30, stream=True)
                with pytest.raises(openai.APIError, match="took too long"):
                    list(stream)


class TestLeaving:
    """Work ends when nobody waits for it."""

    def test_a_stream_that_the_client_leaves_is_stopped_within_a_step(self) -> None:
        engine = Shouter(step_s=0.1)
        with serving(lambda: engine) as (url, server):
            body = {"prompt": "x" * 30, "stream": True}
            with httpx.stream("POST", f"{url}/v1/completions", json=body) as answer:
                assert next(answer.iter_lines()).startswith("data: ")
                n_before = engine.n_steps
            wait_for(lambda: server.thread.n_jobs == 0)
            assert engine.n_steps <= n_before + 1

    def test_an_answer_that_the_client_leaves_is_stopped_within_a_step(self) -> None:
        engine = Shouter(step_s=0.1)
        with serving(lambda: engine) as (url, server):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/completions", json={"prompt": "x" * 30}, timeout=0.25)
            n_before = engine.n_steps
            wait_for(lambda: server.thread.n_jobs == 0)
            assert engine.n_steps <= n_before + 1

    def test_a_request_that_still_waits_is_never_begun(self) -> None:
        engine = Shouter()
        with serving(lambda: engine) as (url, server):
            engine.gate.clear()
            running = threading.Thread(target=chat, args=(url, "ab"))
            running.start()
            wait_for(lambda: server.thread.n_jobs == 1)
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/completions", json={"prompt": "x" * 30}, timeout=0.2)
            wait_for(lambda: server.thread.n_jobs == 1)
            engine.gate.set()
            running.join()
            wait_for(lambda: server.thread.n_jobs == 0)
            assert engine.n_steps == 2


class TestHealth:
    """Alive is not ready."""

    def test_a_server_that_loads_is_alive_and_not_ready(self) -> None:
        may_load = threading.Event()

        def load() -> Shouter:
            may_load.wait(10)
            return Shouter()

        with serving(load, ready=False) as (url, server):
            assert httpx.get(f"{url}/livez").json() == {"status": "alive"}
            for path in ("/readyz", "/health", "/v1/models"):
                answer = httpx.get(url + path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_loading")
            assert int(chat(url, "a").headers["Retry-After"]) > 0
            may_load.set()
            wait_for(lambda: server.thread.state == "ready")
            assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
            assert httpx.get(f"{url}/health").status_code == 200

    def test_a_run_that_cannot_be_loaded_ends_the_server_with_the_reason(self) -> None:
        def load() -> Shouter:
            raise DataError("It is broken.", "Train it again.", at="runs/x")

        with serving(load, ready=False) as (_, server):
            wait_for(lambda: server.should_exit)
        assert str(server.thread.failure) == "runs/x: It is broken. Train it again."


class TestStopping:
    """A signal lets running answers end, and nothing else begin."""

    def test_running_answers_end_and_new_ones_are_refused(self) -> None:
        engine = Shouter()
        with serving(lambda: engine) as (url, server):
            engine.gate.clear()
            running: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: running.append(chat(url, "abc")))
            asking.start()
            wait_for(lambda: server.thread.n_jobs == 1)
            server.handle_exit(signal.SIGTERM, None)
            refused = chat(url, "a")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_draining")
            assert "Retry-After" in refused.headers
            assert httpx.get(f"{url}/readyz").status_code == 503
            assert httpx.get(f"{url}/livez").status_code == 200
            engine.gate.set()
            asking.join()
            assert running[0].json()["choices"][0]["message"]["content"] == "ABC"

    def test_answers_that_outlast_the_deadline_end_in_an_error(self) -> None:
        engine = Shouter(step_s=0.05)
        with serving(lambda: engine, limits=Limits(drain_s=0.1)) as (url, server):
            events: list[str] = []
            with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "x" * 30, "stream": True}) as answer:
                for line in filter(None, answer.iter_lines()):
                    events.append(line.removeprefix("data: "))
                    if len(events) == 1:
                        server.handle_exit(signal.SIGTERM, None)
        assert json.loads(events[-1])["error"]["code"] == "server_draining"

    def test_sigterm_ends_the_process_with_0_after_the_running_stream_and_no_text_is_logged(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, str(Path(__file__).with_name("serving_fakes.py")), str(port)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(url), 60)
            events: list[str] = []
            with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "xyzzy" * 3, "stream": True}) as answer:
                for line in filter(None, answer.iter_lines()):
                    events.append(line)
                    if len(events) == 1:
                        process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert events[-1] == "data: [DONE]"
        assert process.returncode == 0
        assert "POST /v1/completions" in logged
        assert "xyzzy" not in logged.lower()
        assert "readyz" not in logged


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


class TestAccess:
    """Who may ask."""

    def test_every_route_but_health_needs_the_key(self, locked_url: str) -> None:
        app = create_app(EngineThread(Shouter, queue_size=1, timeout_s=1), limits=Limits())
        paths = {*app.openapi()["paths"], "/openapi.json"}
        assert paths == {"/v1/models", "/v1/models/{model}", "/v1/chat/completions", "/v1/completions"} | {
            "/v1/classify",
            "/openapi.json",
            *PUBLIC,
        }
        with httpx.Client(base_url=locked_url) as client:
            for path in [*paths, "/nowhere", "/livez/", "//livez", "/readyz/../v1/models"]:
                for method in ("GET", "POST", "HEAD", "OPTIONS"):
                    answer = client.request(method, path)
                    assert (answer.status_code == 401) == (path not in PUBLIC), (method, path)

    def test_there_is_no_route_that_the_schema_hides(self) -> None:
        app = create_app(EngineThread(Shouter, queue_size=1, timeout_s=1), limits=Limits())
        shown = app.openapi()["paths"]
        assert len(shown) == len(api.routes) + len(health.routes) == 8
        assert len(app.routes) == 3  # the two routers and the schema

    @pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {SECRET}", f"Bearer {SECRET}x", SECRET])
    def test_a_wrong_key_is_refused(self, locked_url: str, header: str) -> None:
        answer = httpx.get(f"{locked_url}/v1/models", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_the_openai_client_is_let_in_with_the_key(self, locked_url: str) -> None:
        with openai.OpenAI(base_url=f"{locked_url}/v1", api_key=SECRET) as client:
            assert len(client.models.list().data) == 1
        stranger = openai.OpenAI(base_url=f"{locked_url}/v1", api_key="wrong")
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()

    def test_without_a_key_only_names_of_this_machine_are_answered(self, url: str) -> None:
        port = url.rsplit(":", 1)[1]
        for name, status in [("evil.example", 403), (f"evil.example:{port}", 403), ("localhost", 200), ("[::1]", 200)]:
            assert httpx.get(f"{url}/v1/models", headers={"Host": name}).status_code == status

    def test_another_page_of_the_browser_is_not_let_in(self, url: str) -> None:
        answer = httpx.options(
            f"{url}/v1/completions", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        )
        assert "access-control-allow-origin" not in answer.headers
        plain = httpx.post(f"{url}/v1/completions", content='{"prompt": "a"}', headers={"Content-Type": "text/plain"})
        assert plain.status_code == 400

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
    def test_an_open_host_needs_a_key(self, host: str) -> None:
        with pytest.raises(SettingError, match="no API key is set"):
            check_host(host, None)
        check_host(host, KEY)
        check_host("127.0.0.1", None)

    def test_the_key_comes_from_the_file_else_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("FORMTUNE_API_KEY", raising=False)
        assert read_key(None) is None
        monkeypatch.setenv("FORMTUNE_API_KEY", SECRET)
        assert read_key(None) == KEY
        (tmp_path / "key").write_text("another-long-enough-key\n")
        found = read_key(tmp_path / "key")
        assert found is not None
        assert found.matches("another-long-enough-key")
        assert not found.matches(SECRET)

    @pytest.mark.parametrize("text", ["", "short", "two words that are long", "clé-assez-longue-pour-tout"])
    def test_a_key_that_is_none_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "key").write_text(text)
        with pytest.raises(SettingError, match="at least 16"):
            read_key(tmp_path / "key")
        with pytest.raises(SettingError, match="cannot be read"):
            read_key(tmp_path)

    def test_a_taken_port_is_told(self) -> None:
        with (
            open_socket("127.0.0.1", 0) as taken,
            pytest.raises(SettingError, match="Choose another --port"),
        ):
            taken.listen()
            open_socket("127.0.0.1", taken.getsockname()[1])


def test_the_example_asks_for_everything_that_a_run_can_answer(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what a reader copies."""
    runpy.run_path(str(Path(__file__).parent.parent / "examples" / "client.py"))["main"](url, "good")
    assert capsys.readouterr().out.splitlines() == [
        "shouter@0123456789ab answers chat, completions, classify",
        "label: quiet {'loud': 0.0, 'quiet': 1.0}",
        "answer: GOOD",
        "goes on: GOOD",
    ]


def test_the_code_of_the_guide_runs_against_a_server(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the address of this server in the place of the page's."""
    page = (Path(__file__).parent.parent / "docs" / "guide" / "serving.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    names: dict[str, object] = {}
    exec(code.replace("http://127.0.0.1:8000", url), names)
    client = names["client"]
    assert isinstance(client, openai.OpenAI)
    client.close()
    assert capsys.readouterr().out == "A FINE FILM.\n"


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_server_tells_its_address_to_the_program_alone(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """An error is raised all the same."""

    def load() -> Shouter:
        raise SettingError("No voice.", "Drink something.", at="engine")

    urls: list[str] = []
    notice = Notice(quiet=quiet, listening=urls.append)
    with pytest.raises(SettingError, match="No voice"):
        run_server(load, host="127.0.0.1", port=0, limits=Limits(drain_s=1), key=None, notice=notice)
    assert len(urls) == 1
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", urls[0])
    assert capfd.readouterr().err == ("" if quiet else f"Listening on {urls[0]}. The model is being loaded.\n")


def test_the_web_half_knows_no_torch() -> None:
    """The server's own modules start without torch and transformers."""
    code = "import sys, formtune.serving.launch; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_about_can_be_changed_without_touching_the_engine() -> None:
    """The model is answered to by its id and by its run's name."""
    with serving(lambda: Shouter(about=replace(ABOUT, id="other@1", name="other"))) as (url, _):
        assert ask(url, "/v1/completions", {"prompt": "a", "model": "other"}).json()["model"] == "other@1"
        assert ask(url, "/v1/completions", {"prompt": "a", "model": "other@1"}).status_code == 200
        assert ask(url, "/v1/completions", {"prompt": "a", "model": "shouter"}).status_code == 404
