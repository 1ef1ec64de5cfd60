"""What answers requests: the border between the web half, which knows no torch, and the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Input = str | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One message of a chat request, its parts already joined."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads before it answers.

    Attributes:
        ids: token ids; for an encoder-decoder those of the source.
        skips_blank: white space before the answer is the format's layout, not part of the answer.
    """

    ids: list[int]
    skips_blank: bool = False


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        max_tokens: the most tokens.
        stop: strings that end the answer and are not part of it.
        temperature: 0 takes the likeliest token each time.
        top_p: draw from the smallest set of tokens that holds this share of the mass.
        seed: for the draw; None draws differently each time.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of an answer: the text that it settled (often empty), and on the last step why it ended."""

    text: str
    n_tokens: int
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True, slots=True)
class Classified:
    """One classified input; ``probabilities`` names every class, and they add up to 1."""

    label: str
    probabilities: Mapping[str, float]
    confidence: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class About:
    """What ``/v1/models`` says of a model.

    Attributes:
        id: run name, ``@``, digest.
        name: run name alone; requests may use either.
        created: Unix time of the run.
        format: the run's format.
        kind: the kind of record that it was trained on.
        labels: class names; empty where answers are free text.
        context: most tokens of one prompt with its answer.
        answers: the routes that it can answer.
    """

    id: str
    name: str
    created: int
    format: str
    kind: str
    labels: tuple[str, ...]
    context: int
    answers: tuple[Literal["chat", "completions", "classify"], ...]


class Engine(Protocol):
    """A model behind the server; every method but ``about`` runs on the engine's own thread.

    Each raises :class:`~formtune.serving.problems.Problem` for what the client can put right.
    """

    @property
    def about(self) -> About:
        """Say what is served."""

    def chat_prompt(self, turns: Sequence[ChatTurn], reasons: bool | None = None) -> Prompt:
        """Build what the model saw before an answer to these turns in training.

        ``reasons`` says whether the answer is to begin with reasoning; None: as the trained answers did.
        """

    def text_prompt(self, text: str) -> Prompt:
        """Build plain text to continue; control tokens typed in it stay text."""

    def ids_prompt(self, ids: Sequence[int]) -> Prompt:
        """Take token ids as they are, but none that no text of a user could have given."""

    def room(self, n_prompt: int) -> int:
        """Count the tokens that an answer to such a prompt may have; 0 or less where the prompt does not fit."""

    def generate(self, prompt: Prompt, sampling: Sampling) -> Iterator[Piece]:
        """Continue a prompt, one piece a step; closing the iterator stops the work."""

    def classify(self, inputs: Sequence[Input]) -> list[Classified]:
        """Choose a label for each input, as the run's own format presents it."""
