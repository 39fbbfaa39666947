"""Running the test cases of policies through the recipe, and keeping what came of them.

    <home>/policy_tests/20261129-031500/cases.json   what came of each case
    <home>/policy_tests/20261129-031500/lake/…       the rows behind it, as of a tryout

The baseline and the preference pairs are not made: a case says nothing of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from aidsafe_dagster.policy_work.asking import OnPoll, PolicyEditor
from aidsafe_dagster.primitives.atomic_write import write_text
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_cases import (
    CaseFile,
    CheckResult,
    PolicyCase,
    StatementFinding,
    check_citations,
    check_refusal,
    check_statements,
    check_texts,
    judge_statements,
    statements_conversation,
)
from aidsafe_dagster.recipe.records import (
    Failure,
    Prompt,
    Record,
    Role,
    Stage,
    Usage,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.tryout.prompts import prompts_from_texts
from aidsafe_dagster.tryout.redraws import is_asked_again
from aidsafe_dagster.tryout.results import TriedPrompt, Tryout
from aidsafe_dagster.tryout.run import TryoutRun
from aidsafe_dagster.tryout.store import kept, store

RESULTS = "cases.json"
_COT_STAGES = (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS)


class CaseOutcome(Record):
    """What came of one case."""

    name: str
    file: str = Field(description="name of the file that it is in")
    rule: str
    prompt: str
    prompt_id: str
    drafted: bool
    failed: str = Field(
        description="where and why there is no response to look at; empty if there is one"
    )
    asked_again: bool = Field(
        default=False,
        description="it failed on an answer of the model, and the next run asks for another",
    )
    held_back: str = Field(
        description="where and why a run would hold the row back; empty if it would not"
    )
    checks: tuple[CheckResult, ...]
    cited: tuple[str, ...] = Field(
        description="rules that the final chain of thought cites"
    )
    response: str

    @property
    def passed(self) -> bool:
        return not self.failed and all(check.passed for check in self.checks)


class CaseRun(Record):
    """All cases under one wording of the policies. Its file `cases.json`."""

    made: str = Field(description="local time, ISO 8601 with its offset from UTC")
    policies_version: str
    rules: Mapping[str, str] = Field(description="the text of each rule, by its id")
    models: tuple[str, ...]
    simulated: bool
    outcomes: tuple[CaseOutcome, ...]
    usage: Usage = Field(description="of the calls that were made")
    replayed: int = Field(description="calls that the journals answered")

    @property
    def failures(self) -> list[CaseOutcome]:
        return [outcome for outcome in self.outcomes if not outcome.passed]


@dataclass(frozen=True)
class KeptRun:
    run: CaseRun
    folder: Path


@dataclass(frozen=True)
class CaseRunner:
    """Runs cases.

    Args:
        settings: with the folder of the policies.
        policies: in that folder.
        editor: asks what holds for a response.
        log: takes what there is to say of servers.
    """

    settings: Settings
    policies: Policies
    editor: PolicyEditor
    log: Callable[[str], None]

    def run(self, files: Sequence[CaseFile], on_poll: OnPoll) -> KeptRun:
        """Take every case through the recipe, and keep the results.

        Args:
            files: with a case at least.
            on_poll: is called several times a second while the recipe runs.

        Raises:
            SetupError: a prompt is no good, or no call can succeed. What was answered is in the
                journals.
        """
        prompts = prompts_of_cases(files, self.settings)
        tryout = self._try(files, prompts, on_poll)
        tried = {one.prompt.prompt_id: one for one in tryout.prompts}
        cases = []
        for file in files:
            for case in file.cases:
                cases.append((file, case, tried[prompts[case.name].prompt_id]))
        findings, usage, replayed = self._judge(cases)
        outcomes = []
        for file, case, one in cases:
            outcomes.append(_outcome(file, case, one, findings.get(case.name)))
        tryout = store(tryout, self.settings, tests_folder(self.settings))
        assert tryout.folder is not None
        run = CaseRun(
            made=tryout.facts.made,
            policies_version=self.policies.version,
            rules={rule: self.policies.rule(rule) for rule in self.policies.rule_ids},
            models=_models(tryout),
            simulated=tryout.facts.simulated,
            outcomes=tuple(outcomes),
            usage=tryout.new_usage + usage,
            replayed=tryout.replayed + replayed,
        )
        # Last: a folder without it was cut off, and is no run.
        write_text(tryout.folder / RESULTS, run.model_dump_json(indent=1))
        return KeptRun(run, tryout.folder)

    def _try(
        self,
        files: Sequence[CaseFile],
        prompts: Mapping[str, Prompt],
        on_poll: OnPoll,
    ) -> Tryout:
        unique = {prompt.prompt_id: prompt for prompt in prompts.values()}
        # Only the refined version: a case says nothing of the others.
        every_case = {"compared": 0.0, "share": 1.0}
        grading = self.settings.grading.model_copy(update=every_case)
        snapshot = take_snapshot(self.settings).with_settings(grading=grading)
        run = TryoutRun(tuple(unique.values()), snapshot, self.log, _stages_for(files))
        run.on_poll = lambda: on_poll(run.progress)
        for _ in run:
            # Judged together, once all are done.
            pass
        return run.result(with_gates=False)

    def _judge(
        self, cases: Sequence[tuple[CaseFile, PolicyCase, TriedPrompt]]
    ) -> tuple[dict[str, tuple[StatementFinding, ...] | Failure], Usage, int]:
        """Return what holds for each response whose case says what must hold, by case."""
        asked_cases = []
        for _, case, tried in cases:
            if case.statements and tried.refined is not None:
                asked_cases.append((case, tried.refined.response))
        if not asked_cases:
            return {}, Usage(), 0

        def make(
            context: DialogueContext,
        ) -> list[DialogueTask[tuple[StatementFinding, ...]]]:
            tasks = []
            for case, response in asked_cases:
                conversation = statements_conversation(context, case, response)
                dialogue = judge_statements(conversation, case, response)
                tasks.append(DialogueTask(conversation, dialogue))
            return tasks

        asked = self.editor.ask(make, Role.JUDGE)
        findings = {}
        for (case, _), result in zip(asked_cases, asked.results, strict=True):
            findings[case.name] = result
        return findings, asked.usage, asked.replayed


def prompts_of_cases(
    files: Sequence[CaseFile], settings: Settings
) -> dict[str, Prompt]:
    """Return the prompt of each case, by the case's name.

    Raises:
        SetupError: a prompt is no good, or two cases give one prompt two categories.
    """
    prompts: dict[str, Prompt] = {}
    by_id: dict[str, tuple[PolicyCase, Path]] = {}
    for file in files:
        for case in file.cases:
            try:
                (prompt,) = prompts_from_texts([case.prompt], settings).prompts
            except SetupError as error:
                raise SetupError(f"{file.path}: case '{case.name}': {error}") from error
            other, _ = by_id.setdefault(prompt.prompt_id, (case, file.path))
            if other.category != case.category:
                raise SetupError(
                    f"{file.path}: the cases '{other.name}' and '{case.name}' have the same prompt "
                    f"in two categories, '{other.category}' and '{case.category}'; change one"
                )
            prompts[case.name] = prompt.model_copy(update={"category": case.category})
    return prompts


def tests_folder(settings: Settings) -> Path:
    return settings.home / "policy_tests"


def latest_run(settings: Settings) -> KeptRun | None:
    """Return the latest run that was kept; None if there is none."""
    for folder in reversed(kept(tests_folder(settings))):
        if (folder / RESULTS).is_file():
            return load_run(folder)
    return None


def load_run(folder: Path) -> KeptRun:
    """Read a run that was kept.

    Raises:
        SetupError: the folder holds none, or one of another release.
    """
    try:
        text = (folder / RESULTS).read_text("utf-8")
        return KeptRun(CaseRun.model_validate_json(text), folder)
    except FileNotFoundError as error:
        raise SetupError(f"{folder}: no run of policy tests is kept here") from error
    except (OSError, ValidationError) as error:
        raise SetupError(
            f"{folder}: not a run of policy tests that this release can read"
        ) from error


def _stages_for(files: Sequence[CaseFile]) -> tuple[str, ...]:
    """Return the stages that the cases need: grades only where one says how far to decline."""
    for file in files:
        if any(case.refusal for case in file.cases):
            return (*_COT_STAGES, Stage.COT_GRADES)
    return _COT_STAGES


def _outcome(
    file: CaseFile,
    case: PolicyCase,
    tried: TriedPrompt,
    findings: tuple[StatementFinding, ...] | Failure | None,
) -> CaseOutcome:
    checks: list[CheckResult] = []
    cited: list[str] = []
    refined = tried.refined
    if refined is not None:
        for thought in refined.thoughts:
            cited.extend(thought.rules)
        checks.extend(check_citations(case, cited))
        refusals = _refusals(tried)
        checks.extend(check_refusal(case, refusals))
        checks.extend(check_texts(case, refined.response))
        checks.extend(_statement_checks(case, findings))
    return CaseOutcome(
        name=case.name,
        file=file.path.name,
        rule=case.rule,
        prompt=case.prompt,
        prompt_id=tried.prompt.prompt_id,
        drafted=case.drafted,
        failed="" if refined is not None else _first(tried.failures),
        asked_again=_is_asked_again(tried, findings),
        held_back=_first(tried.held_back),
        checks=tuple(checks),
        cited=tuple(dict.fromkeys(cited)),
        response=refined.response if refined is not None else "",
    )


def _statement_checks(
    case: PolicyCase, findings: tuple[StatementFinding, ...] | Failure | None
) -> list[CheckResult]:
    if findings is None:
        return []
    if isinstance(findings, Failure):
        # A judge that says nothing has not found that anything holds.
        detail = f"not judged: {findings.reason}: {findings.detail}"
        unjudged = [StatementFinding(one, False, "") for one in case.statements]
        checks = check_statements(case, unjudged)
        return [
            check.model_copy(update={"passed": False, "detail": detail})
            for check in checks
        ]
    return list(check_statements(case, findings))


def _is_asked_again(
    tried: TriedPrompt, findings: tuple[StatementFinding, ...] | Failure | None
) -> bool:
    # What the judge gave no valid answer on, the editor's journal has forgotten already.
    if isinstance(findings, Failure):
        return True
    return any(map(is_asked_again, tried.failures.values()))


def _refusals(tried: TriedPrompt) -> list[str]:
    if tried.grades is None:
        return []
    return [one.refusal for one in tried.grades.grades if one.version == "refined"]


def _first(failures: Mapping[str, Failure]) -> str:
    for stage, failure in failures.items():
        return f"{stage}: {failure.reason}: {failure.detail}"
    return ""


def _models(tryout: Tryout) -> tuple[str, ...]:
    models: dict[str, None] = {}
    for tried in tryout.prompts:
        for row in tried.rows.values():
            models.update(dict.fromkeys(row.model.split(", ")))
    return tuple(models)
