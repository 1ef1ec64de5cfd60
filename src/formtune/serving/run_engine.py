"""A trained run as the engine behind the server.

Prompts are built by the run's own format and tokenizer, the same code that built its training text; a record without
an answer is laid out as the record with one was.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from formtune.answers import Prediction
from formtune.errors import FormtuneError
from formtune.examples import Example
from formtune.records import Question, Record
from formtune.runs import OpenRun, open_run
from formtune.serving.engine import About, ChatTurn, Classified, Input, Piece, Prompt, Sampling
from formtune.serving.inputs import record_of_input, record_of_turns
from formtune.serving.problems import Problem, invalid, too_long
from formtune.serving.text_stream import TextStream
from formtune.tokens import Tokens, prompt

Route = Literal["chat", "completions", "classify"]


class RunEngine:
    """Answers requests with a run.

    Args:
        run: an open run.
    """

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._model = run.model
        self._tokenizer = run.model.tokenizer
        self._about = About(
            id=f"{run.name}@{run.digest}",
            name=run.name,
            created=int(time.time()),
            format=run.format.name,
            kind=run.task.kind,
            labels=run.task.labels,
            context=run.model.max_length,
            answers=self._answers(),
        )

    def _answers(self) -> tuple[Route, ...]:
        writes = self._model.shape != "encoder" and self._run.output in ("words", "text")
        answers: list[Route] = ["chat"] if writes and self._run.task.kind != "plain" else []
        answers += ["completions"] if writes and self._model.shape == "decoder" else []
        return (*answers, *(("classify",) if self._run.task.labels else ()))

    @property
    def about(self) -> About:
        """Say what is served."""
        return self._about

    def chat_prompt(self, turns: Sequence[ChatTurn], reasons: bool | None = None) -> Prompt:
        """Present the turns as the run's format presented its training records.

        Raises:
            Problem: when the run writes no text, was not trained on what is sent, or cannot be asked to reason or not to.
        """
        self._need("chat")
        example = self._example(record_of_turns(turns, self._run.task), param="messages")
        # Without turns, or in the plain template of a model that brings none, a blank stands before the answer.
        blank = not example.turns or self._tokenizer.chat_template.is_default
        ids = self._tokens(example).ids_T.tolist()
        if reasons not in (None, example.reasons):
            asked = self._tokens(replace(example, reasons=reasons)).ids_T.tolist()
            if asked == ids:
                raise self._no_switch(example)
            ids = asked
        return Prompt(ids, skips_blank=blank)

    def text_prompt(self, text: str) -> Prompt:
        """Encode text as the beginning of a text.

        Raises:
            Problem: when the run does not continue texts, or the text has no tokens.
        """
        self._need("completions")
        tokenizer = self._tokenizer
        ids_T, _ = tokenizer.encode([text], "control" if tokenizer.prefix_ids else "nothing", offsets=False)[0]
        ids = [*tokenizer.prefix_ids, *ids_T.tolist()]
        if not ids:
            raise invalid("prompt: It is empty. Send some text.", "prompt")
        return Prompt(ids)

    def ids_prompt(self, ids: Sequence[int]) -> Prompt:
        """Take ids that text could have given, and what the tokenizer puts before it.

        Raises:
            Problem: when the run does not continue texts, or an id is unknown or a control token.
        """
        self._need("completions")
        n_prefix = len(self._tokenizer.prefix_ids)
        begins = tuple(ids[:n_prefix]) == tuple(self._tokenizer.prefix_ids)
        for token in ids[n_prefix if begins else 0 :]:
            if token >= self._tokenizer.n_vocabulary or token in self._tokenizer.control_ids:
                raise invalid(f"prompt: {token} is no token that text can give. Send ids of text.", "prompt")
        return Prompt(list(ids))

    def room(self, n_prompt: int) -> int:
        """Count the tokens that an answer to such a prompt may have."""
        context = self._model.max_length
        if self._model.shape == "encoder-decoder":
            return context if n_prompt <= context else 0
        return context - n_prompt

    def generate(self, prompt: Prompt, sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt, one piece a token."""
        text = TextStream(self._tokenizer.decode, sampling.stop, skips_blank=prompt.skips_blank)
        tokens = self._model.stream(
            prompt.ids,
            max_new_tokens=sampling.max_tokens,
            stop_ids=sorted(self._tokenizer.stop_ids),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
        )
        n_tokens = 0
        for n_tokens, token in enumerate(tokens, 1):
            settled = text.push(token)
            if text.stopped:
                break
            yield Piece(settled, n_tokens)
        cut = n_tokens == sampling.max_tokens and not text.stopped
        yield Piece(settled if text.stopped else text.finish(), n_tokens, "length" if cut else "stop")

    def classify(self, inputs: Sequence[Input]) -> list[Classified]:
        """Choose a label for each input.

        Raises:
            Problem: when the run has no labels, or an input is not what it was trained on.
        """
        self._need("classify")
        records = [record_of_input(value, self._run.task, param=f"input.{n}") for n, value in enumerate(inputs)]
        for n, record in enumerate(records):
            self._check_fits(record, param=f"input.{n}")
        found = self._run.predict(records)
        return [self._classified(record, one) for record, one in zip(records, found, strict=True)]

    def _need(self, route: Route) -> None:
        if route in self._about.answers:
            return
        paths = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "classify": "/v1/classify"}
        can = " or ".join(paths[answer] for answer in self._about.answers)
        raise Problem(
            400,
            f"This run ({self._about.format} over {self._about.kind} records, {self._model.shape}) does not answer "
            f"{paths[route]}. Use {can}.",
            "unsupported_by_model",
        )

    def _example(self, record: Record, *, param: str) -> Example:
        try:
            return self._run.present([record])[0]
        except FormtuneError as error:
            raise invalid(f"{param}: {error}", param) from error

    def _tokens(self, example: Example) -> Tokens:
        return prompt(example, self._tokenizer, shape=self._model.shape)

    def _check_fits(self, record: Record, *, param: str) -> None:
        """Refuse a text that would be cut: the label could depend on what is missing."""
        tokens = self._tokens(self._example(record, param=param))
        in_line = self._model.shape == "decoder"
        n_answer = max((len(ids) for ids in tokens.candidates), default=0) if in_line else 0
        if len(tokens.ids_T) + n_answer > self._model.max_length:
            raise too_long(len(tokens.ids_T), n_answer, self._model.max_length, param=param)

    def _no_switch(self, example: Example) -> Problem:
        """Refuse to be asked otherwise where the prompt would be the same: the answer would not be what was asked for."""
        field = "chat_template_kwargs.enable_thinking"
        told = self._tokenizer.chat_template.options.variables
        if example.turns and "enable_thinking" in told:
            problem = f"This run was trained with the template option enable_thinking set to {json.dumps(told['enable_thinking'])}"
            return invalid(f"{field}: {problem}, and keeps it. Leave the field out.", field)
        how = "with" if example.reasons else "without"
        what = "chat template has no switch for reasoning" if example.turns else "prompts have no chat template"
        return invalid(f"{field}: This run's {what}; it answers {how} it. Leave the field out.", field)

    def _classified(self, record: Record, found: Prediction) -> Classified:
        assert found.label is not None
        # Where choices differ from record to record, the classes are letters; a client wants its own choices back.
        names = self._run.task.labels
        if isinstance(record, Question) and self._run.task.letters:
            names = record.choices
        chances = dict(zip(names, found.probabilities, strict=True))
        label = names[found.label]
        return Classified(label, chances, confidence=chances[label], n_tokens=found.n_tokens_in)


def open_engine(run: str | Path) -> RunEngine:
    """Load a run and make it answer requests."""
    return RunEngine(open_run(Path(run)))
