"""Everything wired together: the code location that Dagster loads."""

from itertools import chain

import dagster as dg

from aidsafe_dagster.assets.adapters import dpo_adapter, sft_adapter, train_adapters
from aidsafe_dagster.assets.cot_grades import cot_grades
from aidsafe_dagster.assets.decontamination_report import decontamination_report
from aidsafe_dagster.assets.deliberated_cots import deliberated_cots
from aidsafe_dagster.assets.fine_tune_splits import fine_tune_splits
from aidsafe_dagster.assets.policy_counterfactuals import policy_counterfactuals
from aidsafe_dagster.assets.preference_pairs import preference_pairs
from aidsafe_dagster.assets.prompts import prompts
from aidsafe_dagster.assets.published_dataset import publish, published_dataset
from aidsafe_dagster.assets.quality_report import quality_report
from aidsafe_dagster.assets.refined_cots import refined_cots
from aidsafe_dagster.assets.safety_eval import evaluate_models, safety_eval
from aidsafe_dagster.assets.seed_cots import seed_cots
from aidsafe_dagster.assets.selected_rows import select_rows_job, selected_rows
from aidsafe_dagster.assets.single_llm_cots import single_llm_cots
from aidsafe_dagster.assets.split_report import (
    no_cluster_spans_two_splits,
    split_report,
)
from aidsafe_dagster.assets.training_comparisons import (
    COMPARISONS,
    compare_over_refusal,
    compare_trainings,
)
from aidsafe_dagster.assets.translations import translate, translations
from aidsafe_dagster.assets.warehouse import every_policy_cited, warehouse
from aidsafe_dagster.automation.jobs import (
    ABLATIONS,
    ablation_jobs,
    build_reports,
    make_batch,
)
from aidsafe_dagster.automation.recovery import recovery
from aidsafe_dagster.automation.schedules import nightly_ingest
from aidsafe_dagster.automation.sensors import new_batches, reports
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.hub import HubResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.resources.warehouse import WarehouseResource
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.project import refuse_half_a_project
from aidsafe_dagster.stages.checks import stage_checks
from aidsafe_dagster.stages.ingestion import ingest_sources

refuse_half_a_project()
# Schedules and sensors take their defaults here, once. A run reads the settings for itself.
_settings = load_settings().settings
# Configured at launch, so that the launchpad can change settings for one run. All resources share
# the one object, and with it the run's snapshot.
_from_launchpad = SettingsResource.configure_at_launch()
_vllm = VLLMResource.configure_at_launch()

defs = dg.Definitions(
    assets=[
        prompts,
        single_llm_cots,
        seed_cots,
        deliberated_cots,
        refined_cots,
        cot_grades,
        preference_pairs,
        fine_tune_splits,
        policy_counterfactuals,
        selected_rows,
        sft_adapter,
        dpo_adapter,
        safety_eval,
        translations,
        published_dataset,
        warehouse,
        quality_report,
        decontamination_report,
        split_report,
        *ABLATIONS,
        *COMPARISONS,
    ],
    asset_checks=[
        # A stage that was added from outside brings its own asset and checks.
        *chain.from_iterable(stage_checks(stage) for stage in Stage),
        every_policy_cited,
        no_cluster_spans_two_splits,
    ],
    jobs=[
        make_batch,
        ingest_sources,
        build_reports,
        select_rows_job,
        *ablation_jobs,
        translate,
        train_adapters,
        compare_trainings,
        compare_over_refusal,
        evaluate_models,
        publish,
    ],
    schedules=[nightly_ingest(_settings)],
    sensors=[new_batches(_settings), recovery, reports()],
    resources={
        "settings": _from_launchpad,
        "engine": EngineResource(settings=_from_launchpad, vllm=_vllm),
        "vllm": _vllm,
        "lake": LakeResource(settings=_from_launchpad),
        "hub": HubResource(settings=_from_launchpad),
        "warehouse": WarehouseResource(settings=_from_launchpad),
    },
    # One process per run: a process per step costs four times the CPU, and would take its own
    # snapshot of the settings.
    executor=dg.in_process_executor,
)
