"""The bytes behind token ids, so that text can be followed token by token while it is sampled.

A token of a byte-level vocabulary may hold half a character, and may hold the end of one thing and the start of another
(`?</`): only bytes concatenate. Decoding token ids one by one as text would lose both.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level BPE vocabulary stands for (the table of GPT-2).

    Printable Latin-1 bytes stand for themselves; the other 68, in order, are the characters from U+0100 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _byte_level(token: str) -> bytes:
    table = byte_of_character()
    return bytes(table[character] for character in token)


def _word_piece(prefix: str) -> Callable[[str], bytes]:
    def convert(token: str) -> bytes:
        return token.removeprefix(prefix).encode() if token.startswith(prefix) else f" {token}".encode()

    return convert


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()


def _decoders(tokenizer: Any) -> list[dict[str, Any]]:
    """The tokenizer's decoder as a flat list of steps, in the JSON form of the `tokenizers` library."""
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"] or {}
    return decoder["decoders"] if decoder.get("type") == "Sequence" else [decoder]


def _converter(tokenizer: Any) -> Callable[[str], bytes]:
    """How a vocabulary entry becomes bytes, read off the tokenizer's decoder."""
    steps = {step.get("type"): step for step in _decoders(tokenizer)}
    if "ByteLevel" in steps:
        return _byte_level
    if "WordPiece" in steps:
        return _word_piece(steps["WordPiece"]["prefix"])
    return _sentence_piece


class Pieces:
    """The bytes behind each token id of a fast tokenizer.

    Byte-level BPE: the exact bytes. WordPiece: a word's first piece with a space before it, the others bare.
    SentencePiece: the marked space as a space, byte tokens as their byte. Added tokens (special or not) give their
    literal text, ids without a vocabulary entry (a padded embedding has some) none.
    """

    def __init__(self, tokenizer: Any) -> None:
        convert = _converter(tokenizer)
        added = {token_id: str(token) for token_id, token in tokenizer.added_tokens_decoder.items()}
        vocabulary = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
        self._bytes = {i: convert(token) for i, token in vocabulary.items() if i not in added}
        self._bytes.update({i: text.encode() for i, text in added.items()})

    def bytes(self, token_id: int) -> bytes:
        """The bytes that `token_id` adds to the text."""
        return self._bytes.get(token_id, b"")

    def text(self, ids: Iterable[int]) -> str:
        """The text of a sequence; bytes that are no UTF-8 become replacement characters."""
        return b"".join(map(self.bytes, ids)).decode(errors="replace")
