"""The turn loop: the policy writes until its first closing tag, the environment searches, answers back, or ends it.

Batched over all rollouts that still run: one decoding session, and one call of the retriever for all queries of a turn.
After `max_searches` turns of the environment, valid or not, what still runs gets one last turn without retrieval
(Search-R1, AutoRefine). What the loop does with a row depends on no other row. Where a method makes several attempts,
this is one of them (see `attempts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from igsearch.config import RolloutConfig
from igsearch.policy import generate
from igsearch.policy.base import Policy, Sampled, Session
from igsearch.records import EndReason, Episode, Hit, Question, SearchStep, Span, SpanKind, Turn
from igsearch.retrieval.base import Retriever, RetrieverError
from igsearch.rollout.attempts import Attempts
from igsearch.rollout.prompts import STYLES, prompt_ids, trusted_ids
from igsearch.rollout.protocol import TurnText, Watch, is_tidy, observation, turn_blocks
from igsearch.seeds import derive_seed


def rollout(
    policy: Policy,
    retriever: Retriever,
    questions: Sequence[Question],
    rollouts: Sequence[int],
    config: RolloutConfig,
    k: int,
    seed_key: tuple[int | str, ...] | None,
) -> list[Episode]:
    """One episode for each question with the rollout number beside it, in that order.

    `k` passages a search. Turn `t` draws from the seed of (*seed_key, uid, rollout, t); None decodes greedily. Rollouts
    run in chunks of `config.batch_size`. Raises ValueError where the two sequences differ in length.
    """
    prompts = {question.text: prompt_ids(policy, question.text, config) for question in questions}
    episodes = [
        Episode(question=question, rollout=number, prompt_ids=list(prompts[question.text]))
        for question, number in zip(questions, rollouts, strict=True)
    ]
    for start in range(0, len(episodes), config.batch_size):
        chunk = episodes[start : start + config.batch_size]
        session = generate.start(policy, [episode.prompt_ids for episode in chunk])
        Loop(policy, session, retriever, chunk, config, k, seed_key).run()
    return episodes


def search_each(retriever: Retriever, queries: Sequence[str], k: int) -> list[list[Hit] | None]:
    """Hits for each query, None where the retriever failed on it: one call."""
    try:
        return list(retriever.search(queries, k)) if queries else []
    except RetrieverError as error:
        return list(error.rows or [None] * len(queries))


def add_step(episode: Episode, query: str, hits: Sequence[Hit], shown: int | None = None) -> int:
    """Record an executed search and return its index. The first `shown` hits were shown (None: all); one of them counts
    as new when no earlier step showed its passage."""
    seen = {hit.passage.id for step in episode.steps for hit in step.shown_hits}
    new = {hit.passage.id for hit in hits[:shown]} - seen
    episode.steps.append(SearchStep(query=query, hits=tuple(hits), new_passages=len(new), shown=shown))
    return len(episode.steps) - 1


def append_sampled(episode: Episode, sampled: Sampled) -> None:
    """Add what the policy wrote."""
    episode.response_ids += sampled.ids
    episode.logprobs += sampled.logprobs
    episode.sampled += [True] * len(sampled.ids)


def append_injected(episode: Episode, ids: Sequence[int]) -> None:
    """Add what the environment wrote."""
    episode.response_ids += ids
    episode.logprobs += [0.0] * len(ids)
    episode.sampled += [False] * len(ids)


@dataclass
class Loop:
    """The rollouts of one session. Row i of the session is `episodes[i]`, which the loop fills in place."""

    policy: Policy
    session: Session
    retriever: Retriever
    episodes: Sequence[Episode]
    config: RolloutConfig
    k: int
    seed_key: tuple[int | str, ...] | None

    def run(self) -> None:
        """Play every episode to its end."""
        rows = list(range(len(self.episodes)))
        while replies := self._reply(self._sample(rows)):
            self.session.drop([row for row in rows if row not in replies])
            rows = sorted(replies)
            written = [row for row in rows if replies[row]]
            self.session.append(written, [replies[row] for row in written])
        for episode in self.episodes:
            self._attempts.fill(episode)

    @cached_property
    def _attempts(self) -> Attempts:
        return Attempts(self.policy, self.config)

    @cached_property
    def _correction(self) -> list[int]:
        return trusted_ids(self.policy, STYLES[self.config.prompt].correction)

    def _room(self, row: int) -> int:
        return self.config.response_tokens - len(self.episodes[row].response_ids)

    def _sample(self, rows: Sequence[int]) -> dict[int, Span | None]:
        """One turn of the policy; for each row the action that ended it, or None."""
        watches = {row: Watch(self.policy.pieces) for row in rows}
        sampled = self.session.generate(
            rows,
            lambda row, token_id: watches[row].closes(token_id),
            [min(self.config.max_turn_tokens, self._room(row)) for row in rows],
            self._seeds(rows),
            self.config.temperature,
        )
        return {row: self._record(self.episodes[row], wrote) for row, wrote in zip(rows, sampled, strict=True)}

    def _seeds(self, rows: Sequence[int]) -> list[int] | None:
        if self.seed_key is None:
            return None
        episodes = [self.episodes[row] for row in rows]
        return [derive_seed(*self.seed_key, each.question.uid, each.rollout, len(each.turns)) for each in episodes]

    def _record(self, episode: Episode, sampled: Sampled) -> Span | None:
        """Append a sampled turn with its spans. Returns its action; a search without a query is none."""
        offset = len(episode.response_ids)
        append_sampled(episode, sampled)
        text = TurnText(self.policy.pieces, sampled.ids, generate.eos_ids(self.policy))
        action = None
        blocks = turn_blocks(text.data)
        for block in blocks:
            step = _refined_step(episode) if block.kind is SpanKind.REFINE else -1
            span = text.span(block, offset, step)
            episode.spans.append(span)
            if span.kind is SpanKind.ANSWER or (span.kind is SpanKind.SEARCH and span.text):
                action = span
        episode.invalid_turns += action is None
        attempt = self._attempts.now(episode)
        wrote = {"valid": action is not None, "tidy": is_tidy(text.data, blocks)}
        episode.turns.append(Turn(offset, len(episode.response_ids), attempt=attempt, **wrote))
        return action

    def _reply(self, actions: Mapping[int, Span | None]) -> dict[int, list[int]]:
        """What the environment writes to each row that goes on (perhaps nothing). The other episodes have ended."""
        queries: dict[int, str] = {}
        replies: dict[int, list[int]] = {}
        for row, action in actions.items():
            ending = self._ending(row, action)
            if action is not None and ending is None:
                queries[row] = action.text
                continue
            reply = self._correction if ending is None else self._end_attempt(row, ending, action)
            if reply is not None and self._inject(row, reply):
                replies[row] = reply
        return {**replies, **self._search(queries)}

    def _ending(self, row: int, action: Span | None) -> EndReason | None:
        """How the attempt ends with this action; None where it goes on."""
        if action is not None and action.kind is SpanKind.ANSWER:
            return EndReason.ANSWERED
        if not self._attempts.is_last_turn(self.episodes[row]):
            return None
        if action is not None:
            return EndReason.TURN_LIMIT
        return EndReason.MALFORMED if self._room(row) else EndReason.TOKEN_BUDGET

    def _end_attempt(self, row: int, ending: EndReason, action: Span | None) -> list[int] | None:
        """Take down the answer, if any. Returns the request for another attempt, None where this was the last."""
        episode = self.episodes[row]
        answer = action.text if action is not None and ending is EndReason.ANSWERED else None
        episode.end = ending
        episode.prediction = episode.prediction if answer is None else answer
        return self._attempts.reflection(episode) if self._attempts.again(episode, answer) else None

    def _inject(self, row: int, ids: Sequence[int]) -> bool:
        """Write `ids` to a row. False, and the episode has ended, where the budget leaves no token to follow them."""
        if self._room(row) <= len(ids):
            self.episodes[row].end = EndReason.TOKEN_BUDGET
            return False
        append_injected(self.episodes[row], ids)
        return True

    def _search(self, queries: Mapping[int, str]) -> dict[int, list[int]]:
        """Execute the queries of a turn. A search whose documents do not fit in the budget does not become a step."""
        replies: dict[int, list[int]] = {}
        for row, hits in zip(queries, search_each(self.retriever, list(queries.values()), self.k), strict=True):
            episode = self.episodes[row]
            if hits is None:
                episode.end = EndReason.RETRIEVER_FAILED
                continue
            seen = observation(self.policy, hits, self.config)
            offset = len(episode.response_ids)
            if self._inject(row, seen.ids):
                replies[row] = seen.ids
                step = add_step(episode, queries[row], hits, seen.shown)
                episode.spans[-1] = replace(episode.spans[-1], step=step)
                episode.turns[-1] = replace(episode.turns[-1], step=step)
                inner, outer = (offset + seen.start, offset + seen.end), (offset, offset + len(seen.ids))
                episode.spans.append(Span(SpanKind.DOCUMENTS, *inner, *outer, step, seen.text))
        return replies


def _refined_step(episode: Episode) -> int:
    """The step of a refine sampled now: that of the documents before it, unless an earlier refine has it; else -1."""
    step = len(episode.steps) - 1
    return -1 if episode.span_at(SpanKind.REFINE, step) else step
