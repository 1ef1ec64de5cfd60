"""Names → loaded models: the right class for the output, heads, freezing, and the proof that packing is exact."""

import os
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from formtune import attention, processes
from formtune.adapters import Lora, add_lora, renew
from formtune.batches import Batch, branched
from formtune.dropout import quicken
from formtune.errors import DataError, SettingError
from formtune.examples import Output, Shape
from formtune.freezing import freeze, frozen_bottom
from formtune.fusing import fuse
from formtune.keeping import round_boundary, trunk_of
from formtune.machine import keep_memory, processors
from formtune.model_files import check_weights, folder_digest, max_length_in, read_json, resolve, shape_in
from formtune.models import HEADS, ClassHead, Model, width_in
from formtune.rounding import round_products
from formtune.template_options import NO_OPTIONS, TemplateOptions
from formtune.tokens import Tokenizer, byte_tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is prepared for training.

    Attributes:
        freeze: see :func:`formtune.freezing.freeze`.
        lora: adapters, or None.
        max_length: most tokens of one example; None for the model's own limit.
        pooling: ``"mean"``, ``"first"``, ``"last"``; None for what the model was trained with.
        precision: ``"float32"`` or ``"bfloat16"``; ``"auto"`` until :func:`formtune.precision.settled` has measured.
        cache_trunk: keep what a frozen bottom computes.
        cache_gb: how large everything that is kept may become.
        template_options: what its chat template is told besides conversations.
    """

    freeze: str = "none"
    lora: Lora | None = None
    max_length: int | None = None
    pooling: str | None = None
    precision: str = "float32"
    cache_trunk: bool = True
    cache_gb: float = 10.0
    template_options: TemplateOptions = NO_OPTIONS

    def lasting(self) -> dict[str, Any]:
        """Give, as plain values, what a training depends on: all but how much room what is kept may take."""
        return {name: value for name, value in asdict(self).items() if name != "cache_gb"}


def load_model(name: str, *, output: Output, n_classes: int = 0, seed: int = 0, options: Options = Options()) -> Model:
    """Load a pretrained model for one output.

    Args:
        name: see :func:`formtune.model_files.resolve`.
        output: ``"head"`` adds a class head; ``"mask"`` loads a masked-LM head; the others an LM head.
        n_classes: classes of the head.
        seed: draws what is new.
        options: freezing, adapters, length, precision.

    Raises:
        SettingError: where the model cannot serve the output, or an option does not fit it.
    """
    if options.precision == "auto":
        raise ValueError("The precision is not settled.")
    _use_machine()
    folder = resolve(name)
    tokenizer = load_tokenizer(folder, template_options=options.template_options)
    shape = shape_in(folder)
    module, fresh = _load_module(folder, shape, output=output, name=name)
    model = Model(
        module,
        tokenizer,
        name=name,
        shape=shape,
        output=output,
        max_length=max_length_in(folder, options.max_length),
        class_head=_class_head(module, n_classes) if output == "head" else None,
        pooling=options.pooling or _pooling(folder, shape),
    )
    model.base_digest = folder_digest(folder)
    model.fresh = fresh
    return prepared(model, seed=seed, options=options)


def _use_machine() -> None:
    """Keep freed memory, and start no more threads than there are processors; what the environment says goes first."""
    keep_memory()
    n_processors = max(1, processors() // processes.local_count())
    if not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys() and torch.get_num_threads() > n_processors:
        torch.set_num_threads(n_processors)  # torch knows of affinity, but not of a container's quota


def prepared(model: Model, *, seed: int, options: Options) -> Model:
    """Freeze, adapt, prove packing and set up the trunk's cache of a model just made."""
    model.precision = options.precision
    attention.install()
    _forget_habits(model)
    quicken(model.module)
    _place(model)
    prove(model)
    freeze(model, options.freeze)
    if options.lora:
        add_lora(model, options.lora)
    renew(model, seed)
    if options.precision == "bfloat16" and not (options.lora and options.lora.kind == "dora"):  # it measures weights
        round_products(model)
    model.quiet = frozen_bottom(model)
    round_boundary(model)
    if options.cache_trunk:
        model.trunk = trunk_of(model, probe=_probe(model), limit_gb=options.cache_gb)
    model.train(False)
    return model


def _place(model: Model) -> None:
    """Put a model where this process computes."""
    device = processes.device()
    if device.type != "cpu":
        for module in filter(None, (model.module, model.class_head)):
            module.to(device)
    fuse(model)


def _forget_habits(model: Model) -> None:
    """Drop what a model's files say of how to write (a repetition penalty, a least length): greedy is greedy.

    Nor are keys and values kept where nothing is written: that copies them in every block.
    """
    from transformers import GenerationConfig, PreTrainedModel

    for part in model.module.modules():  # the stacks of an encoder-decoder have configurations of their own
        if isinstance(part, PreTrainedModel):
            part.config.use_cache = False
    if getattr(model.module, "generation_config", None) is not None:
        model.module.generation_config = GenerationConfig()


def _load_module(folder: Path, shape: Shape, *, output: Output, name: str) -> tuple[Any, frozenset[str]]:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    loader = {
        ("encoder", "head"): transformers.AutoModel,
        ("encoder", "mask"): transformers.AutoModelForMaskedLM,
    }.get((shape, output)) or {
        "encoder": None,
        "decoder": transformers.AutoModelForCausalLM,
        "encoder-decoder": transformers.AutoModelForSeq2SeqLM,
    }[shape]
    if loader is None:
        raise SettingError(
            f"{name!r} is an encoder: it has no head that writes text.",
            "Choose the format classification or masked_lm, or a decoder model.",
            at="--model",
        )
    module, missing = _pretrained(loader, folder)
    tied = {n for n, _ in module.named_parameters(remove_duplicate=False)} - {n for n, _ in module.named_parameters()}
    return module, frozenset(missing - tied)


def _pretrained(loader: Any, folder: Path) -> tuple[Any, set[str]]:
    """Load a module, and name the parameters that its files do not hold; nothing is unpickled, no foreign code run."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig

    check_weights(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise DataError(
            f"The installed transformers cannot use this configuration ({_gist(error)}).",
            "Give a model of another type, copy the file again, or run: pip install -U transformers.",
            at=folder / "config.json",
        ) from error
    try:
        module, report = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told below, by name
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise DataError(
            f"The model cannot be loaded ({_gist(error)}).", "Copy the folder again, or give another model.", at=folder
        ) from error
    missing = set(report["missing_keys"])
    _check_fit(module, missing, mismatched=[key for key, *_ in report["mismatched_keys"]], folder=folder)
    return module, missing


def _gist(error: Exception) -> str:
    """Give the first sentence of what a library says."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first.split(". ")[0].rstrip(".:")[:200]


def _check_fit(module: Any, missing: set[str], *, mismatched: list[str], folder: Path) -> None:
    if mismatched:
        problem = f"The size of {min(mismatched)!r} in the weights is not the one in config.json."
    elif {name for name, _ in module.named_parameters()} <= missing:
        problem = f"The weights hold no parameter of the type {module.config.model_type!r} that config.json names."
    else:
        return
    raise DataError(problem, "Copy config.json and the weights from the same model.", at=folder)


def _class_head(module: Any, n_classes: int) -> ClassHead:
    if n_classes < 2:
        raise ValueError("A class head needs at least two classes.")
    config = module.config
    dropout = getattr(config, "classifier_dropout", None)
    dropout = getattr(config, "hidden_dropout_prob", 0.0) if dropout is None else dropout
    return ClassHead(width_in(config), n_classes, dropout=float(dropout or 0.0))


def _pooling(folder: Path, shape: Shape) -> str:
    path = folder / "1_Pooling" / "config.json"  # sentence-transformers say how their models were trained
    if path.is_file():
        return "mean" if read_json(path).get("pooling_mode_mean_tokens") else "first"
    if shape == "encoder-decoder":
        return "mean"
    return "first" if shape == "encoder" else "last"


def prove(model: Model) -> None:
    """Show on a probe that our own path through the model gives its own numbers, and choose packing if it does too.

    Raises:
        SettingError: where not even separate rows give the model's own scores (a head we do not know).
    """
    model.train(False)
    if model.shape == "encoder" and model.output == "mask" and model.family not in HEADS:
        raise SettingError(
            f"The masked-LM head of the model type {model.family!r} is not known.",
            f"Choose one of: {', '.join(HEADS)}; or the format classification.",
            at="--model",
        )
    batch = _probe(model)
    expected = _own_scores(model, batch)
    if _same(model, batch, expected):
        _try_packing(model, batch, expected)
        return
    raise SettingError(
        f"The scores of {model.name!r} ({model.family}) are not what its last states and head give.",
        "Use a model of a supported type: BERT, RoBERTa, GPT-2, Llama, Qwen, XLNet, T5 and their kin.",
        at="--model",
    )


def _probe(model: Model) -> Batch:
    top = max(2, min(model.tokenizer.n_vocabulary, 1000))
    ids = (np.arange(1, 16) * 37) % top
    batch = branched([ids[:7], ids[7:12], ids[12:]], [[], [], []])
    if model.shape != "encoder-decoder" or model.class_head:
        return batch
    return replace(batch, decoder=branched([ids[:3], ids[3:5], ids[5:9]], [[], [], []]))


@torch.no_grad()
def _own_scores(model: Model, batch: Batch) -> Tensor | None:
    """Run the model's own forward pass row by row; XLNet's left-to-right use is ours, so it has nothing to equal."""
    if model.family == "xlnet" or (model.shape == "encoder-decoder" and model.class_head):
        return None
    rows = []
    for segment in range(batch.n_segments):
        inputs = {"input_ids": _row(batch, segment, model)}
        if batch.decoder is not None:
            inputs["decoder_input_ids"] = _row(batch.decoder, segment, model)
        rows.append(model.module(**inputs)[0][0])
    return torch.cat(rows).float()


def _row(batch: Batch, segment: int, model: Model) -> Tensor:
    return torch.from_numpy(batch.ids_T[batch.starts_S[segment] : batch.ends_S[segment]])[None].to(model.device)


@torch.no_grad()
def _scores(model: Model, batch: Batch) -> Tensor:
    hidden_TD = model.hidden(batch)
    return hidden_TD.float() if model.output == "head" and model.shape == "encoder" else model.logits(hidden_TD)


def _same(model: Model, batch: Batch, expected: Tensor | None) -> bool:
    if expected is None:
        return True
    error = (_scores(model, batch) - expected).abs().max()
    return bool(error <= 1e-3 * expected.abs().max().clamp(min=1.0))


def _try_packing(model: Model, batch: Batch, expected: Tensor | None) -> None:
    before = model.module.config._attn_implementation
    if expected is None or batch.decoder is not None or not _takes_segments(model):
        return
    for offset in (0, (model.tokenizer.pad_id or 0) + 1):  # RoBERTa counts from behind its padding id
        model.packs, model.position_offset = True, offset
        try:
            model.module.set_attn_implementation(attention.NAME)
            if _same(model, batch, expected):
                return
        except (TypeError, ValueError, IndexError, RuntimeError):  # a family that cannot be asked this way
            pass
        model.packs, model.position_offset = False, 0
        model.module.set_attn_implementation(before)


def _takes_segments(model: Model) -> bool:
    """Tell whether the family's layers go through the attention interface (else the switch would be ignored)."""
    return bool(
        getattr(model.module, "_supports_attention_backend", False) or getattr(model.module, "_supports_sdpa", False)
    )


def tiny(
    family: str,
    *,
    output: Output = "text",
    n_classes: int = 0,
    seed: int = 0,
    options: Options = Options(),
    tokenizer: Tokenizer | None = None,
) -> Model:
    """Make a small randomly initialised model of a family, with a byte tokenizer: for tests and trying out.

    Args:
        family: ``"bert"``, ``"gpt2"``, ``"llama"``, ``"qwen3"``, ``"t5"`` or ``"xlnet"``.
        output: as in :func:`load_model`.
        n_classes: classes of the head.
        seed: draws every weight.
        options: as in :func:`load_model`.
        tokenizer: instead of the byte tokenizer.
    """
    import transformers

    tokenizer = tokenizer or byte_tokenizer()
    config = _tiny_config(family, tokenizer)
    torch.manual_seed(seed)
    shape: Shape = {"bert": "encoder", "t5": "encoder-decoder"}.get(family, "decoder")  # type: ignore[assignment]
    if shape == "encoder":
        loader = transformers.AutoModel if output == "head" else transformers.AutoModelForMaskedLM
    else:
        loader = transformers.AutoModelForSeq2SeqLM if family == "t5" else transformers.AutoModelForCausalLM
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = loader.from_config(config)
    model = Model(
        module,
        tokenizer,
        name=f"tiny-{family}",
        shape=shape,
        output=output,
        max_length=options.max_length or 512,
        class_head=_class_head(module, n_classes) if output == "head" else None,
        pooling=options.pooling or ("last" if shape == "decoder" else "mean"),
    )
    return prepared(model, seed=seed, options=options)


def _tiny_config(family: str, tokenizer: Tokenizer) -> Any:
    import transformers

    ids = {
        "vocab_size": tokenizer.n_vocabulary,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    wide = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    match family:
        case "bert":
            return transformers.BertConfig(**ids, **wide, max_position_embeddings=512, initializer_range=0.2)
        case "llama":
            return transformers.LlamaConfig(
                **ids, **wide, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2
            )
        case "qwen3":
            return transformers.Qwen3Config(
                **ids,
                **wide,
                num_key_value_heads=2,
                head_dim=16,
                max_position_embeddings=512,
                tie_word_embeddings=True,
                initializer_range=0.2,
            )
        case "gpt2":
            return transformers.GPT2Config(
                **ids, n_embd=32, n_layer=3, n_head=4, n_positions=512, initializer_range=0.2
            )
        case "xlnet":
            return transformers.XLNetConfig(**ids, d_model=32, n_layer=3, n_head=4, d_inner=64, initializer_range=0.2)
        case "t5":
            return transformers.T5Config(
                **ids, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=tokenizer.pad_id
            )
        case _:
            raise ValueError(f"There is no tiny model of the family {family!r}.")
