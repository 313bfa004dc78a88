"""Bytes behind tokens: exact for byte-level BPE, words and their pieces for WordPiece, text for SentencePiece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from igsearch.policy.base import Policy
from igsearch.policy.pieces import Pieces, byte_of_character


def byte_level(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows all bytes and a few merges."""
    tokens = [*byte_of_character(), *(a + b for a, b in merges)]
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    backend.add_tokens([AddedToken("<tool_call>", special=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


BYTE_LEVEL = byte_level(("?", "<"), ("?<", "/"), ("Ġ", "a"))


def test_the_table_is_a_bijection_between_characters_and_bytes() -> None:
    assert sorted(byte_of_character().values()) == list(range(256))
    assert byte_of_character()["Ġ"] == ord(" ")
    assert byte_of_character()["Ċ"] == ord("\n")


@given(st.text())
def test_byte_level_pieces_join_to_the_exact_text(text: str) -> None:
    ids = BYTE_LEVEL.encode(text, add_special_tokens=False, split_special_tokens=True)
    pieces = Pieces(BYTE_LEVEL)
    assert b"".join(map(pieces.bytes, ids)) == text.encode()
    assert pieces.text(ids) == text


def test_a_byte_level_token_may_hold_the_end_of_one_thing_and_the_start_of_another() -> None:
    pieces = Pieces(BYTE_LEVEL)
    assert [pieces.bytes(i) for i in BYTE_LEVEL.encode("who?</")][-1] == b"?</"


def test_a_token_may_be_half_a_character() -> None:
    pieces = Pieces(BYTE_LEVEL)
    assert [pieces.bytes(i) for i in BYTE_LEVEL.encode("é")] == [b"\xc3", b"\xa9"]


def test_added_tokens_give_their_literal_text() -> None:
    pieces = Pieces(BYTE_LEVEL)
    assert [pieces.bytes(i) for i in BYTE_LEVEL.encode("<|im_end|><tool_call>")] == [b"<|im_end|>", b"<tool_call>"]


def test_no_text_can_spell_an_added_token_that_is_markup_without_being_special() -> None:
    text = "a <tool_call>?</<|im_end|>\n\n  <tool_call"
    policy = Policy(model=None, tokenizer=BYTE_LEVEL, name="added")
    ids = policy.encode(text)
    assert not set(ids) & set(BYTE_LEVEL.added_tokens_decoder)
    assert policy.pieces.text(ids) == text
    assert BYTE_LEVEL.convert_tokens_to_ids("<tool_call>") in BYTE_LEVEL.encode(text)


def test_added_words_and_white_space_stay_whole() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["karvik", "    "])
    ids = Policy(model=None, tokenizer=tokenizer, name="words").encode("a    karvik")
    assert [tokenizer.convert_ids_to_tokens(i) for i in ids] == ["a", "    ", "karvik"]


def test_ids_of_a_padded_embedding_have_no_bytes() -> None:
    assert Pieces(BYTE_LEVEL).bytes(10**6) == b""


def test_word_pieces_carry_one_space_per_word(policy: Policy) -> None:
    ids = policy.tokenizer.encode("where was karvik<search>born")
    assert [policy.pieces.bytes(i) for i in ids] == [b" where", b" was", b" kar", b"vik", b"<search>", b" born"]


@pytest.mark.parametrize(("token", "expected"), [("▁the", b" the"), ("<0x0A>", b"\n"), ("born", b"born")])
def test_sentence_pieces(token: str, expected: bytes) -> None:
    backend = Tokenizer(models.BPE({"<unk>": 0, token: 1}, [], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    assert Pieces(PreTrainedTokenizerFast(tokenizer_object=backend)).bytes(1) == expected
