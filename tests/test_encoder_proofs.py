"""A library encodes where it was held to the ids of the reference, and nowhere else."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from trained_tokenizers import TRAINED, byte_level, few_probes, unigram

from formtune import encoder_probes, proof_store
from formtune.encoder_probes import alone, between, characters, probes
from formtune.encoder_proofs import SAMPLE_CHARACTERS, SAMPLE_TEXTS, admitted, drawn, holds, smallest
from formtune.flat_encoders import Fast, Flat, Library, Reference
from formtune.model_files import cache_folder

ENCODER = byte_level()._encoders.get("text")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a proof take a hundredth of a second; what the real probes are is tested below."""
    few_probes(monkeypatch)


@dataclass
class Twisted:
    """The reference, but for one id of each text in which something stands.

    Attributes:
        calls: how many texts were asked for at a time.
    """

    wrong: str
    encoder: tokenizers.Tokenizer
    calls: list[int] = field(default_factory=list)

    def __call__(self, texts: list[str]) -> Flat:
        self.calls.append(len(texts))
        found = Reference(self.encoder).encode(texts)
        ids_T = found.ids_T.copy()
        for n, text in enumerate(texts):
            if self.wrong and self.wrong in text:
                ids_T[found.ends_N[n] - 1] ^= 1
        return Flat(ids_T, found.ends_N)


@dataclass
class Named:
    """A function as an encoder."""

    function: Twisted
    name: str = "twisted"
    version: str = "1"

    def encode(self, texts: list[str]) -> Flat:
        return self.function(texts)


def planted(wrong: str = "", package: str = "numpy") -> tuple[Library, list[Twisted]]:
    """Make a library that is as installed as a package is, and the list of what it will have built."""
    made: list[Twisted] = []

    def build(spec: str) -> Twisted:
        made.append(Twisted(wrong, tokenizers.Tokenizer.from_str(spec)))
        return made[-1]

    return Library(package, build), made


def proof_files() -> list[Path]:
    return sorted((cache_folder() / "encoders").glob("*"))


def test_a_library_that_is_right_is_taken() -> None:
    """With its version, and the digest under which the proof is kept."""
    library, _ = planted()
    engine, choice = admitted(ENCODER, sample=["a"], libraries=[library])
    assert isinstance(engine, Fast)
    assert (choice.name, choice.version) == ("numpy", np.__version__)
    assert [path.name for path in proof_files()] == [f"{choice.proof}.json"]
    assert choice.to_dict() == {
        "name": "numpy",
        "version": np.__version__,
        "proof": choice.proof,
        "n_disputed": 0,
        "others": {},
    }


def test_a_library_that_alters_one_id_is_refused_with_the_text() -> None:
    """Cut down to what makes the difference; the reference encodes."""
    library, _ = planted("rock'n'roll")
    engine, choice = admitted(ENCODER, libraries=[library])
    assert (choice.name, choice.version, choice.proof) == ("tokenizers", tokenizers.__version__, "")
    assert isinstance(engine, Reference)
    right = Reference(ENCODER).encode(["rock'n'roll"]).ids_T.tolist()
    wrong = [*right[:-1], right[-1] ^ 1]
    assert choice.others == {"numpy": f"""it encodes "rock'n'roll" as {wrong} and not as {right}"""}


def test_the_next_library_is_tried() -> None:
    """And the first is told."""
    _, choice = admitted(ENCODER, libraries=[planted("rock")[0], planted(package="pytest")[0]])
    assert choice.name == "pytest"
    assert list(choice.others) == ["numpy"]


def test_a_library_that_is_not_installed_is_told() -> None:
    """And nothing is kept of it."""
    _, choice = admitted(ENCODER, libraries=[planted(package="no_such_package")[0]])
    assert choice.others == {"no_such_package": "it is not installed"}
    assert not proof_files()


def test_a_proof_is_kept_and_the_sample_compared_every_time() -> None:
    """The second time only the texts at hand are encoded."""
    library, made = planted()
    for _ in range(2):
        admitted(ENCODER, sample=["x", "y"], libraries=[library])
    first, second = made
    assert max(first.calls) > 1_000
    assert second.calls == [2, 2]


def test_a_refusal_is_kept_too() -> None:
    """The library is not even built."""
    library, made = planted("rock'n'roll")
    first, second = (admitted(ENCODER, libraries=[library])[1] for _ in range(2))
    assert first == second
    assert len(made) == 1


def test_data_at_hand_can_refuse_a_library_for_good() -> None:
    """What was found on them is remembered for others."""
    library, made = planted("Quetzalcoatlus")
    assert admitted(ENCODER, libraries=[library])[1].name == "numpy"
    _, choice = admitted(ENCODER, sample=["the Quetzalcoatlus flew"], libraries=[library])
    assert choice.others["numpy"].startswith("it encodes 'Quetzalcoatlus' as ")
    assert admitted(ENCODER, libraries=[library])[1].others == choice.others
    assert len(made) == 2


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b'{"digest": 1}', b"\xff", b'{"digest": "a", "library": "b", "version": "c"}']
)
def test_a_damaged_proof_is_made_anew(damaged: bytes) -> None:
    """And written over."""
    library, made = planted()
    admitted(ENCODER, libraries=[library])
    (path,) = proof_files()
    whole = path.read_bytes()
    path.write_bytes(damaged)
    admitted(ENCODER, libraries=[library])
    assert path.read_bytes() == whole
    assert [max(one.calls) > 1_000 for one in made] == [True, True]


def test_proofs_are_made_anew_for_another_version_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the probes, of the library; libraries have code of their own for some processors."""
    library, made = planted()
    admitted(ENCODER, libraries=[library])
    monkeypatch.setattr(encoder_probes, "VERSION", encoder_probes.VERSION + 1)
    admitted(ENCODER, libraries=[library])
    monkeypatch.setattr(proof_store, "_CPU", Path("no such file"))
    admitted(ENCODER, libraries=[library])
    assert [max(one.calls) > 1_000 for one in made] == [True] * 3
    assert len(proof_files()) == 3


def test_where_nothing_can_be_kept_it_is_proved_every_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that cannot be written stops nobody."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path / "file"))
    library, made = planted()
    for _ in range(2):
        assert admitted(ENCODER, libraries=[library])[1].name == "numpy"
    assert [max(one.calls) > 1_000 for one in made] == [True, True]


class Panic(BaseException):
    """What a library written in Rust ends in is no Exception."""


def test_a_library_that_panics_is_refused() -> None:
    """While it is built, and while it encodes."""

    def build(_: str) -> Twisted:
        raise Panic("called `unwrap()`\non a None value")

    _, choice = admitted(ENCODER, libraries=[Library("numpy", build)])
    assert choice.others == {"numpy": "it refuses the vocabulary (called `unwrap()` on a None value)"}

    def encode(_: list[str]) -> Flat:
        raise Panic("out of bounds")

    _, choice = admitted(ENCODER, libraries=[Library("pytest", lambda _: encode)])
    assert choice.others == {"pytest": "it fails to encode (out of bounds)"}


def test_nobody_is_kept_from_stopping() -> None:
    """Ctrl-C is not a fault of the library."""

    def build(_: str) -> Twisted:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        admitted(ENCODER, libraries=[Library("numpy", build)])


def test_a_library_that_loses_a_text_is_refused() -> None:
    """However right the ids are."""

    def encode(texts: list[str]) -> Flat:
        return Reference(ENCODER).encode([text for text in texts if text != "a b"])

    library = Library("numpy", lambda _: encode)
    _, choice = admitted(ENCODER, sample=["a", "a b"], libraries=[library])
    assert choice.others == {"numpy": "it gives 1 answers to 2 texts"}


def test_a_library_that_takes_letters_of_every_day_for_others_is_refused() -> None:
    """Their texts are too many."""
    library, _ = planted("é")
    _, choice = admitted(ENCODER, libraries=[library])
    assert choice.others["numpy"].startswith("it encodes 'é' as ")


@pytest.mark.parametrize("character", ["\u0ece", "\U00010d6d"])
def test_characters_that_a_library_takes_for_others_are_left_to_the_reference(character: str) -> None:
    """As where it has another version of Unicode; texts without them are its own, and that is kept with the proof."""
    library, made = planted(character)
    for _ in range(2):
        engine, choice = admitted(ENCODER, libraries=[library])
        assert (choice.name, choice.n_disputed) == ("numpy", 1)
        texts = [f"a{character}b", "c", f"{character}", "é", "\U00020000"]
        right = Reference(ENCODER).encode(texts)
        asked = len(made[-1].calls)
        found = engine.encode(texts)
        assert (found.ids_T.tolist(), found.ends_N.tolist()) == (right.ids_T.tolist(), right.ends_N.tolist())
        assert made[-1].calls[asked:] == [5]
    assert len(proof_files()) == 1


def test_a_sample_is_small_and_can_be_encoded() -> None:
    """Whatever the data are."""
    assert drawn([]) == []
    assert drawn(["a", "b\ud800"]) == ["a", "b?"]
    few = drawn([str(n) for n in range(10_000)])
    assert few == drawn([str(n) for n in range(10_000)])
    assert len(few) == len(set(few)) == SAMPLE_TEXTS
    assert sum(map(len, drawn(["x" * 10_000] * 1_000))) == SAMPLE_CHARACTERS


@pytest.mark.parametrize("name", ["byte-level with runs of spaces", "WordPiece", "Unigram"])
def test_probes_hold_what_libraries_get_wrong(name: str) -> None:
    """For every kind of vocabulary: its control tokens, its added tokens, every character in use, the long and the empty."""
    tokenizer = TRAINED[name]()
    encoder = tokenizer._encoders.get("text")
    texts = probes(encoder, tokenizer.controls)
    assert texts == probes(encoder, tokenizer.controls)
    for token in (*tokenizer.controls, *(one.content for one in encoder.get_added_tokens_decoder().values())):
        assert {token, f"a{token}b", f" {token}"} <= set(texts)
    assert "" in texts
    assert max(map(len, texts)) >= 1_000_000
    "".join(texts).encode()  # no surrogate


def test_every_character_in_use_stands_between_others_of_each_class() -> None:
    """But surrogates, which are none."""
    blocks = characters()
    assert not {*map(chr, range(0xD800)), *map(chr, range(0xE000, 0x20000))} - set("".join(blocks))
    assert not any("\ud800" <= one <= "\udfff" for block in blocks for one in block)
    assert between("xy") == ["xy", "x y", "xay", "x1y", "x.y", "x\ny", "x\u0301\u0323y"]
    assert alone("x") == "xx  x x  axaxa 1x1x1 .x.x. \nx\nx\n \u0301\u0323x\u0301\u0323x\u0301\u0323"


def test_a_text_is_cut_down_to_what_matters() -> None:
    """From both sides, to the smallest part that still does."""
    assert smallest("x" * 100_000 + "needle" + "y" * 7, lambda part: "needle" in part) == "needle"
    assert smallest("aXbXc", lambda part: part.count("X") == 2) == "XbX"
    assert smallest("", lambda _: True) == ""


def test_choosing_tells_what_encodes() -> None:
    """For each thing that can stand before a text."""
    tokenizer = unigram()
    assert {choice.name for choice in tokenizer.engines.choices.values()} == {"tokenizers"}
    tokenizer.engines.choose(["Some words."])
    assert set(tokenizer.engines.choices) == {"nothing", "control", "text"}
    for choice in tokenizer.engines.choices.values():
        assert json.loads(json.dumps(choice.to_dict()))["name"] == choice.name


def test_an_engine_is_built_once_in_a_process_and_held_to_every_sample() -> None:
    """What other data do not speak against is kept; what they do is chosen anew."""
    tokenizer = byte_level()
    tokenizer.engines.choose(["Some words."])
    first = dict(tokenizer.engines._chosen)
    tokenizer.engines.choose(["Other words."])
    encoder = tokenizer._encoders.get("text")
    twisted = Twisted("words", encoder)

    assert all(tokenizer.engines._chosen[follows] is engine for follows, engine in first.items())
    assert not holds(Named(twisted), encoder, ["Other words."])
    assert holds(Named(twisted), encoder, ["Other."])
