"""TriviaQA: the RC files (`{"Data": [{"Question", "QuestionId", "Answer": {"Value", "Aliases", …}}]}`) and hub rows.

Accepted are the value, its aliases and what humans answered, as in FlashRAG; not the normalised aliases, which another
normalisation than ours made. mandarjoshi/trivia_qa, `unfiltered.nocontext`, has 11,313 questions for evaluation.
"""

from igsearch.benchmarks.files import Parsed, Record, unique


def hops(record: Record) -> int | None:
    """Not known."""
    return None


def _answers(record: Record) -> tuple[str, ...]:
    answer = record.inside("Answer", "answer")
    listed = [answer.get(*names) or [] for names in (("Aliases", "aliases"), ("HumanAnswers", "human_answers"))]
    if not all(isinstance(aliases, list) and all(isinstance(alias, str) for alias in aliases) for aliases in listed):
        raise record.error('"Aliases" must be a list of strings')
    return unique([answer.text("Value", "value"), *listed[0], *listed[1]])


def parse(record: Record) -> Parsed:
    """One question."""
    return Parsed(record.identity("QuestionId", "question_id"), record.text("Question", "question"), _answers(record))
