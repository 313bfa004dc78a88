"""A policy small enough to train from nothing on one core: the Qwen2 architecture and a tokenizer of its own.

The tokenizer knows a fixed lexicon. Common words are whole tokens; a name is a stem and a suffix ("kar" + "##vik"), so
that it has to be copied from what was read. The tags of the search protocol are single special tokens.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from igsearch.config import PolicyConfig
from igsearch.policy.base import Policy
from igsearch.records import SpanKind

PAD, END, UNKNOWN = "<pad>", "<eos>", "[UNK]"
TAGS = (
    *(tag for kind in SpanKind for tag in (f"<{kind.value}>", f"</{kind.value}>")),
    *("<information>", "</information>", "<reflect>"),
)
MAX_POSITIONS = 1024


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _backend(words: Sequence[str], stems: Sequence[str], suffixes: Sequence[str]) -> Any:
    """The `tokenizers` pipeline. Special tokens follow the model's vocabulary, so the model itself can never emit one.

    Words are split at white space and punctuation before they are looked up, so no text can spell a tag either.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece

    splitter = pre_tokenizers.BertPreTokenizer()
    pieces = [piece for word in words for piece, _ in splitter.pre_tokenize_str(word.lower())]
    vocabulary = _unique([UNKNOWN, *pieces, *stems, *(f"##{suffix}" for suffix in suffixes)])
    model = WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token=UNKNOWN, max_input_chars_per_word=40)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (PAD, END, UNKNOWN, *TAGS)]
    )
    return backend


def _check_names(backend: Any, stems: Sequence[str], suffixes: Sequence[str]) -> None:
    """A name must be exactly its two pieces; ValueError for a lexicon in which greedy matching reads it otherwise."""
    names = [(stem, suffix) for stem in stems for suffix in suffixes]
    for (stem, suffix), encoding in zip(names, backend.encode_batch([a + b for a, b in names]), strict=True):
        if encoding.tokens != [stem, f"##{suffix}"]:
            raise ValueError(f"the name {stem + suffix!r} splits into {encoding.tokens}, not into stem and suffix")


def tokenizer(words: Sequence[str], stems: Sequence[str], suffixes: Sequence[str]) -> Any:
    """The tokenizer of a lexicon, as a Hugging Face fast tokenizer."""
    from transformers import PreTrainedTokenizerFast

    backend = _backend(words, stems, suffixes)
    _check_names(backend, stems, suffixes)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        extra_special_tokens=list(TAGS),
        model_max_length=MAX_POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _model(config: PolicyConfig, vocabulary: int, pad: int, end: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    architecture = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=end,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Qwen2ForCausalLM(architecture).eval()  # in float32: it is trained, by the warm start


def build(words: Sequence[str], stems: Sequence[str], suffixes: Sequence[str], config: PolicyConfig) -> Policy:
    """An untrained tiny policy whose weights depend on the lexicon's size, the sizes in `config` and its seed alone.

    `words` may hold punctuation: each is split as text is. Raises ValueError where a name would not be stem + suffix.
    """
    fast = tokenizer(words, stems, suffixes)
    model = _model(config, len(fast), fast.pad_token_id, fast.eos_token_id)
    return Policy(model=model, tokenizer=fast, name="tiny")
