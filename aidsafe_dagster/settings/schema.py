"""All settings, as one typed, frozen object."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from aidsafe_dagster.ablations.settings import AblationSettings
from aidsafe_dagster.engines.driver.settings import DriverSettings
from aidsafe_dagster.engines.prices import common_currency
from aidsafe_dagster.engines.rehearsal.faults import RehearsalSettings
from aidsafe_dagster.engines.roles import RoleSettings, is_speaker, settings_by_speaker
from aidsafe_dagster.engines.settings import (
    EmbeddingSettings,
    EndpointSettings,
    ServerSettings,
)
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.evaluation.settings import EvaluationSettings
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.answers import AnswerBounds
from aidsafe_dagster.recipe.cot_grades import GradingSettings
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import Sampling
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.fine_tune_splits import (
    NO_FLOOR,
    ScoreGate,
    SplitSettings,
)
from aidsafe_dagster.recipe.grown_prompts import GrowthSettings
from aidsafe_dagster.recipe.policies import (
    Policies,
    load_policies,
    load_policy_set,
)
from aidsafe_dagster.recipe.policy_counterfactuals import CounterfactualSettings
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.recipe.records import Record, Role
from aidsafe_dagster.recipe.row_gate import CheckSettings
from aidsafe_dagster.reports.settings import ReportSettings
from aidsafe_dagster.selection.settings import SelectionSettings
from aidsafe_dagster.settings.launchpad import LaunchpadSettings
from aidsafe_dagster.sources.settings import DecontaminationSettings, IngestSettings
from aidsafe_dagster.sources.source import SourceSpec
from aidsafe_dagster.training.generation import GenerationSettings
from aidsafe_dagster.training.settings import TrainingSettings

PACKAGE = Path(__file__).parent.parent


class AutomationSettings(Record):
    nightly_ingest: bool = False
    """Start the schedule of the nightly ingestion; otherwise it is switched on in the UI."""
    ingest_cron: str = Field(default="0 2 * * *", pattern=r"^\S+( \S+){4}$")
    start_new_batches: bool = False
    """Start the sensor that runs each new batch once; otherwise it is switched on in the UI."""
    lost_after_s: float = Field(default=300.0, gt=0)
    """Silence after which a run on another host counts as dead and its batch is restarted."""


class BackfillSettings(Record):
    ask: Literal["terminal", "always", "never"] = "terminal"
    """When `aidsafe backfill` asks before it begins: at a terminal; always, and so it refuses to
    begin where there is no terminal and no `--yes`; or never. A rehearsal costs nothing and is
    never asked about."""


class Settings(Record):
    home: Path = Path("data")
    """The folder of everything that is produced: lake, journal, warehouse."""
    lake_url: str = ""
    """Any fsspec URL; empty: `<home>/lake`."""
    journal_url: str = ""
    """Any SQLAlchemy URL; empty: SQLite at `<home>/journal.sqlite`."""
    # The default needs no server, no GPU and no key, so the first run works anywhere.
    engine: Literal["rehearsal", "vllm", "endpoint"] = "rehearsal"
    policies: Path = PACKAGE / "policies"
    use_policies: tuple[str, ...] = ()
    """Ids of the policies in that folder to use; empty: all."""
    prompts: Path = PACKAGE / "prompts"
    tokenizer: Path | None = None
    """A tokenizer.json, or a folder with one; without it token counts are estimates."""
    seed: int = 0
    keep_recipe: bool = False
    """Go on with batches whose finished stages were made under another recipe, and so mix recipes
    in a batch. Otherwise what differs is made again."""
    keep_versions: int = Field(default=3, ge=0)
    """Versions of a batch that are kept, for comparisons, when it is made again under another
    recipe; 0: none."""
    sources: tuple[SourceSpec, ...] = ()
    """What is ingested; empty: the bundled samples."""
    ingest: IngestSettings = IngestSettings()
    decontamination: DecontaminationSettings = DecontaminationSettings()
    embeddings: EmbeddingSettings = EmbeddingSettings()
    """A model to find paraphrases of evaluation prompts with, and to tell meanings apart by in a
    selection; none without a model."""
    sampling: Sampling = Sampling()
    answers: AnswerBounds = AnswerBounds()
    deliberation: DeliberationSettings = DeliberationSettings()
    grading: GradingSettings = GradingSettings()
    pairs: PairSettings = PairSettings()
    counterfactuals: CounterfactualSettings = CounterfactualSettings()
    score_gate: ScoreGate = ScoreGate()
    splits: SplitSettings = SplitSettings()
    selection: SelectionSettings = SelectionSettings()
    grow: GrowthSettings = GrowthSettings()
    checks: CheckSettings = CheckSettings()
    driver: DriverSettings = DriverSettings()
    endpoint: EndpointSettings = EndpointSettings()
    vllm: VLLMSettings = VLLMSettings()
    servers: Mapping[str, ServerSettings] = {}
    """Further servers, by a name of your own; roles choose one."""
    roles: Mapping[str, RoleSettings] = {}
    """Roles with a model of their own, and agents: `deliberator_2`."""
    rehearsal: RehearsalSettings = RehearsalSettings()
    automation: AutomationSettings = AutomationSettings()
    backfill: BackfillSettings = BackfillSettings()
    training: TrainingSettings = TrainingSettings()
    generation: GenerationSettings = GenerationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    ablation: AblationSettings = AblationSettings()
    report: ReportSettings = ReportSettings()
    launchpad: LaunchpadSettings = LaunchpadSettings()
    rows_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where `aidsafe view` is reached, for links to rows. Empty: links of the web UI lead to the
    rows that `aidsafe dev` serves beside it, those of reports to port 3100 of this machine."""
    publish: PublishSettings = PublishSettings()

    @field_validator("tokenizer", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        # TOML and environment variables cannot say None.
        return None if value == "" else value

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        for speaker, role in self.roles.items():
            if not is_speaker(speaker):
                raise unknown(
                    "role", speaker, [*Role, "deliberator_<number>"], "[roles]"
                )
            if role.server and role.server not in self.servers:
                place = f"roles.{speaker}.server"
                raise unknown("server", role.server, self.servers, place)
        return self

    @model_validator(mode="after")
    def _check_generation(self) -> Self:
        for speaker in self.generation.roles:
            if not is_speaker(speaker):
                known = [*Role, "deliberator_<number>"]
                raise unknown("role", speaker, known, "generation.roles")
        server = self.generation.server
        if server and server not in self.servers:
            raise unknown("server", server, self.servers, "generation.server")
        return self

    @model_validator(mode="after")
    def _check_graded_share(self) -> Self:
        floors = self.score_gate.floors
        if self.grading.share < 1 and floors:
            named = ", ".join(f"{name} {floor:g}" for name, floor in floors.items())
            off = "\n".join(f"{name} = {NO_FLOOR:g}" for name in floors)
            raise SetupError(
                f"grading.share is {self.grading.share:g}, and [score_gate] has floors ({named}): "
                "a row without a grade meets none, so no such row would be trained on. Either "
                "grade every row (grading.share = 1.0), or do without the floors:\n"
                f"[score_gate]\n{off}"
            )
        return self

    @model_validator(mode="after")
    def _check_currencies(self) -> Self:
        # A mistake here must not wait for the first row that adds up two currencies.
        _ = self.currency
        return self

    @property
    def currency(self) -> str:
        """The currency of all prices; empty if no server has prices.

        Raises:
            SetupError: they are in several.
        """
        prices = {"endpoint": self.endpoint.prices}
        for name, server in self.servers.items():
            prices[f"servers.{name}"] = server.prices
        return common_currency(prices)

    @property
    def speakers(self) -> Mapping[str, RoleSettings]:
        """The settings of roles and agents, with what an agent takes from its role."""
        return settings_by_speaker(self.roles)

    def load_policies(self) -> Policies:
        """The policies in force.

        Raises:
            SetupError: see `recipe.policies.load_policies`.
        """
        return load_policies(self.policies, self.use_policies)

    def load_second_policies(self) -> Policies | None:
        """The policies of the counterfactuals; None where there are none.

        Raises:
            SetupError: they cannot be read; see `recipe.policies.load_policies`.
        """
        second = self.counterfactuals
        if second.policies is None:
            return None
        try:
            return load_policy_set(second.policies, second.use_policies)
        except SetupError as error:
            raise SetupError(f"counterfactuals.policies: {error}") from error

    @property
    def lake(self) -> str:
        return self.lake_url or str(self.home / "lake")

    @property
    def journal(self) -> str:
        return self.journal_url or f"sqlite:///{self.home / 'journal.sqlite'}"

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def reports(self) -> Path:
        return self.home / "reports"
