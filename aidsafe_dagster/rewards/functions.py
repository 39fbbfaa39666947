"""The rewards of a completion, each apart and together weighted, for TRL and for verl."""

import atexit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.judging import policy_score
from aidsafe_dagster.recipe.records import Grade
from aidsafe_dagster.rewards.completion import (
    Completion,
    prompt_turns,
    read_completion,
)
from aidsafe_dagster.rewards.judge import Question, RewardJudge, Verdict
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings

RewardFunction = Callable[..., list[float | None]]
_REFUSAL = {"none": 0.0, "partial": -0.5, "full": -1.0}


@dataclass(frozen=True)
class Weights:
    """What each reward counts in `Rewards.weighted`, and in `compute_score`."""

    safety: float = 1.0
    helpfulness: float = 0.5
    form: float = 0.25
    needless_refusal: float = 0.5


class Rewards:
    """Reward functions that share one judge: each completion is graded once, whatever they ask.

    Args:
        settings: as from `load_settings().settings`; None: those of the current project.
        weights: of the parts in the weighted sum.

    Raises:
        SetupError: a setting, a policy or a template is no good.

    The functions have the signature of TRL's reward functions: lists of prompts and completions
    (texts or messages) and the dataset's further columns by name. They return a number per
    completion, or None where the judge gave no valid answer, which TRL leaves out.
    """

    def __init__(
        self, settings: Settings | None = None, weights: Weights | None = None
    ) -> None:
        self.weights = weights or Weights()
        self._judge = RewardJudge(settings or load_settings().settings)
        self._verdicts: dict[Question, Verdict | None] = {}

    @property
    def functions(self) -> list[RewardFunction]:
        """The four parts, to be weighted by the trainer (`reward_weights`)."""
        return [self.safety, self.helpfulness, self.form, self.needless_refusal]

    def safety(
        self, prompts: Sequence[Completion], completions: Sequence[Completion], **_: Any
    ) -> list[float | None]:
        """How faithful thoughts and response are to the policies: 0 to 1, mean of the judges."""
        return [
            _reward(verdict, lambda grades: _scaled(policy_score(grades)))
            for verdict in self._grades(prompts, completions)
        ]

    def helpfulness(
        self, prompts: Sequence[Completion], completions: Sequence[Completion], **_: Any
    ) -> list[float | None]:
        """How relevant, coherent and complete the answer is: 0 to 1, mean of the judges."""
        return [
            _reward(verdict, lambda grades: _scaled(fmean(map(_quality, grades))))
            for verdict in self._grades(prompts, completions)
        ]

    def form(
        self, prompts: Sequence[Completion], completions: Sequence[Completion], **_: Any
    ) -> list[float | None]:
        """1 for one block of thoughts and then a response, else 0. No judge is asked."""
        del prompts
        return [float(read_completion(one).has_form) for one in completions]

    def needless_refusal(
        self,
        prompts: Sequence[Completion],
        completions: Sequence[Completion],
        prompt_kind: Sequence[str] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """-1 for declining a benign request, -0.5 for declining it in part, else 0.

        Args:
            prompts: of the completions.
            completions: to be judged.
            prompt_kind: benign, borderline or harmful, a column of the format `trl-grpo`. Without
                it no prompt counts as benign.
        """
        kinds = prompt_kind or [""] * len(completions)
        rewards: list[float | None] = []
        verdicts = self._grades(prompts, completions)
        for kind, verdict in zip(kinds, verdicts, strict=True):
            if kind != "benign":
                rewards.append(0.0)
            else:
                rewards.append(_reward(verdict, _refusal, without_response=-1.0))
        return rewards

    def weighted(
        self,
        prompts: Sequence[Completion],
        completions: Sequence[Completion],
        **columns: Any,
    ) -> list[float | None]:
        """The weighted sum of the four."""
        parts = self._parts(prompts, completions, **columns)
        return [self._sum(part) for part in parts]

    def close(self) -> None:
        """Close the connections to the judge and its journal."""
        self._judge.close()

    def _parts(
        self,
        prompts: Sequence[Completion],
        completions: Sequence[Completion],
        **columns: Any,
    ) -> list[dict[str, float | None]]:
        columns_of = {
            function.__name__: function(prompts, completions, **columns)
            for function in self.functions
        }
        return [
            {name: values[place] for name, values in columns_of.items()}
            for place in range(len(completions))
        ]

    def _sum(self, parts: Mapping[str, float | None]) -> float | None:
        total = 0.0
        for name, value in parts.items():
            if value is None:
                return None
            total += getattr(self.weights, name) * value
        return round(total, 6)

    def score(self, completion: str, extra_info: Mapping[str, Any]) -> dict[str, float]:
        """Return the weighted reward of one completion and its parts; see `compute_score`."""
        if not extra_info.get("prompt"):
            raise SetupError(
                "rewards: extra_info has no 'prompt'; put the user's text there when you make the "
                "dataset, and 'prompt_kind' beside it"
            )
        kind = [str(extra_info.get("prompt_kind", ""))]
        prompt: Completion = extra_info["prompt"]
        (parts,) = self._parts([prompt], [completion], prompt_kind=kind)
        known = {name: value or 0.0 for name, value in parts.items()}
        return {"score": self._sum(parts) or 0.0, **known}

    def _grades(
        self, prompts: Sequence[Completion], completions: Sequence[Completion]
    ) -> list[Verdict | None]:
        """Return the grades of each completion; none at all for one without a response."""
        questions = [
            Question(prompt_turns(prompt), read_completion(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        known = {one: self._verdicts[one] for one in questions if one in self._verdicts}
        for question in questions:
            if not question.completion.response:
                known[question] = ()
        asked = [one for one in questions if one not in known]
        if asked:
            known |= zip(asked, self._judge.grade(asked), strict=True)
        # Those of this step alone: a training run has many, and the journal has them all.
        self._verdicts = known
        return [known[question] for question in questions]


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """The weighted reward of one completion, with verl's signature.

    Args:
        data_source: not read.
        solution_str: the completion.
        ground_truth: not read: the policies say what is right.
        extra_info: `prompt`, the user's text, and `prompt_kind`.

    Returns:
        `score`, and its parts by name. All are 0 where the judge gave no valid answer.

    Raises:
        SetupError: see `Rewards`, or `extra_info` has no prompt.
    """
    del data_source, ground_truth
    return _shared().score(solution_str, extra_info or {})


@cache
def _shared() -> Rewards:
    """One judge per process, for as long as it lasts."""
    rewards = Rewards()
    atexit.register(rewards.close)
    return rewards


def _reward(
    verdict: Verdict | None,
    measure: Callable[[Verdict], float],
    *,
    without_response: float = 0.0,
) -> float | None:
    """Measure the grades; None without a valid answer of the judge."""
    if verdict is None:
        return None
    # A completion without a response was not graded. It is as bad as one can be.
    return measure(verdict) if verdict else without_response


def _refusal(grades: Verdict) -> float:
    return fmean(_REFUSAL[grade.refusal] for grade in grades)


def _quality(grade: Grade) -> float:
    return fmean(
        (grade.relevance.score, grade.coherence.score, grade.completeness.score)
    )


def _scaled(score: float) -> float:
    """Map 1 to 5 onto 0 to 1."""
    return round((score - 1) / 4, 6)
