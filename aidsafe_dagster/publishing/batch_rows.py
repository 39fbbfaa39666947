"""What the rows of each format and config are made of, by batch and split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.policy_texts import read_policy
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.publishing.batches import Batch
from aidsafe_dagster.recipe.batch_recipe import POLICIES
from aidsafe_dagster.recipe.counterfactual_formats import (
    PolicyAnswer,
    can_be_paired,
    policy_answers,
)
from aidsafe_dagster.recipe.feedback import (
    Answer,
    PromptFeedback,
    answer_pairs,
    graded_answers,
)
from aidsafe_dagster.recipe.feedback_formats import Assignment
from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.format_types import RowKind
from aidsafe_dagster.recipe.guard import balance, guard_verdicts
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    CotGrades,
    FineTuneRow,
    RefinedCot,
    SingleLlmCot,
    Stage,
    TriedBelief,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.selection.records import SelectionRow

POLICY_ROWS: tuple[RowKind, ...] = ("guard", "grpo")
"""Kinds of rows that hold the text of a policy."""


@dataclass(frozen=True)
class Judging:
    """What verdicts and labels hang on beside the rows."""

    policies: Policies
    """In force now. Rows made under others have theirs from the lake, which keeps their texts."""
    pairs: PairSettings
    """Its floors tell good answers from bad ones."""


@dataclass(frozen=True)
class BatchRows:
    """The fine-tune rows of a batch, and what the stages recorded about their prompts."""

    batch: Batch
    judging: Judging
    selected: Mapping[str, SelectionRow] = field(default_factory=dict)
    """Prompt id → its row in the selection, for the chosen ones."""

    def of(self, kind: RowKind, split: Split) -> Sequence[Any]:
        """Return what rows of a kind are converted from, in one split."""
        return [behind for _, behind in self.with_lineage(kind, split)]

    def with_lineage(
        self, kind: RowKind, split: Split
    ) -> Sequence[tuple[FineTuneRow, Any]]:
        """Return the same, each with the fine-tune row of its prompt."""
        batch = self.batch
        if kind in ("deliberations", "prm"):
            return [pair for pair in batch.deliberations if pair[0].split == split]
        if kind in ("sft", "dpo"):
            rows = batch.dpo if kind == "dpo" else batch.sft
            return [(row, row) for row in rows if row.split == split]
        if kind == "selected":
            chosen = [row for row in batch.sft if row.prompt_id in self.selected]
            of_split = [row for row in chosen if row.split == split]
            return [(row, self.selected[row.prompt_id]) for row in of_split]
        if kind in ("counterfactual_sft", "counterfactual_dpo"):
            answers = self._policy_answers(kind)
            return [(one.row, one) for one in answers if one.row.split == split]
        rows_of_prompts: list[Any] = []
        for prompt in self._prompts:
            if prompt.row.split == split:
                rows_of_prompts += self._feedback(kind, prompt)
        if kind == "guard":
            # Within the batch, since batches are read and written one by one.
            rows_of_prompts = list(balance(rows_of_prompts))
        return [(one.row, one) for one in rows_of_prompts]

    def _policy_answers(self, kind: RowKind) -> Sequence[PolicyAnswer]:
        """Return the answers under two sets of policies, of prompts that have an SFT row.

        So floor, split and decontamination hold for them as for that row.
        """
        answers: list[PolicyAnswer] = []
        for row in self.batch.sft:
            pair = self.batch.counterfactuals.get(row.prompt_id)
            if pair is not None:
                answers += policy_answers(row, pair)
        if kind == "counterfactual_dpo":
            return [answer for answer in answers if can_be_paired(answer)]
        return answers

    def _feedback(self, kind: RowKind, prompt: PromptFeedback) -> Iterable[Any]:
        pairs = self.judging.pairs
        if kind == "kto":
            answers = graded_answers(prompt, pairs)
            return [answer for answer in answers if answer.is_desirable is not None]
        if kind == "reward":
            return answer_pairs(prompt, pairs)
        if kind == "guard":
            return guard_verdicts(prompt, self._policies, pairs)
        return _assignments(prompt, self._policies)

    @cached_property
    def _policies(self) -> Policies:
        """The policies that the refined rows were made under, as far as their texts are known."""
        lake = self.batch.lake
        recipe = read_recipes(lake, self.batch.key).get(str(Stage.REFINED_COTS))
        policies = []
        for part in recipe.parts if recipe else ():
            policy = read_policy(lake, part.value) if part.name == POLICIES else None
            if policy is not None:
                policies.append(policy)
        kept = Policies(policies=tuple(policies))
        versions = {row.policies_version for row in self.batch.sft}
        return kept if kept.version in versions else self.judging.policies

    @cached_property
    def _prompts(self) -> Sequence[PromptFeedback]:
        batch = self.batch
        grades = batch.read_stage(Stage.COT_GRADES, CotGrades)
        single = batch.read_stage(Stage.SINGLE_LLM_COTS, SingleLlmCot)
        tried = self._tried_beliefs()
        prompts = []
        for row, story in batch.stories:
            original = batch.original_of(row)
            feedback = PromptFeedback(
                row=row,
                refined=story.refined,
                deliberated=story.deliberated,
                single_llm=single.get(original),
                grades=grades.get(original),
                tried=tuple(tried.get(original, ())),
                translated=self._translated_answers(row, story.refined),
            )
            prompts.append(feedback)
        return tuple(prompts)

    def _translated_answers(
        self, row: FineTuneRow, refined: RefinedCot
    ) -> Mapping[Answer, Answer] | None:
        """Return which answers of its original a translation has; None of what is none."""
        translation = self.batch.translations.get(row.prompt_id)
        if translation is None:
            return None
        original = join_thoughts(refined.thoughts), refined.response
        answers = {original: (translation.thinking, translation.response)}
        pair = self.batch.pairs.get(row.prompt_id)
        if pair is not None:
            rejected = pair.rejected_cot, pair.rejected_response
            translated = translation.rejected_cot, translation.rejected_response
            answers[rejected] = translated
        return answers

    def _tried_beliefs(self) -> Mapping[str, Sequence[TriedBelief]]:
        batch = self.batch
        if batch.without_dpo or not batch.lake.has(BELIEF_CANDIDATES, batch.key):
            return {}
        frame = batch.lake.rows(BELIEF_CANDIDATES, batch.key)
        ids = {batch.original_of(row) for row in batch.sft}
        frame = frame.filter(pl.col("prompt_id").is_in(list(ids)))
        by_prompt: dict[str, list[TriedBelief]] = {}
        for tried in from_frame(frame, TriedBelief):
            by_prompt.setdefault(tried.prompt_id, []).append(tried)
        return by_prompt


def _assignments(feedback: PromptFeedback, policies: Policies) -> Iterable[Assignment]:
    if feedback.refined.policies_version != policies.version:
        return ()
    rubric = []
    for policy in policies.policies:
        if policy.id in feedback.refined.applicable_policies:
            rules = zip(policy.rule_ids, policy.rules.values(), strict=True)
            rubric += [f"{rule}: {text}" for rule, text in rules]
    return (Assignment(feedback.row, tuple(rubric)),)
