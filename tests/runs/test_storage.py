"""Dagster's storage with kept engines: the same files, and events that are seen as they come."""

import threading
from pathlib import Path

import dagster as dg

from aidsafe_dagster.runs import storage
from tests.site import a_site

OF_DAGSTER = """
storage:
  sqlite:
    base_dir: data/dagster
"""


@dg.op
def say(context: dg.OpExecutionContext) -> None:
    context.log.info("said")


@dg.job
def speak() -> None:
    say()


def test_a_project_keeps_engines_and_finds_the_runs_of_dagsters_own_storage(
    tmp_path: Path,
) -> None:
    with a_site(tmp_path) as site:
        assert keeps_engines(site.instance)
        shipped = (tmp_path / "dagster.yaml").read_text()
        first = speak.execute_in_process(instance=site.instance).run_id
        (tmp_path / "dagster.yaml").write_text(OF_DAGSTER)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            assert not keeps_engines(instance)
            second = speak.execute_in_process(instance=instance).run_id
            assert said(instance, first)
        (tmp_path / "dagster.yaml").write_text(shipped)
        runs = {run.run_id for run in site.instance.get_runs()}
        assert runs == {first, second}
        assert said(site.instance, second)


def test_a_watcher_is_told_of_each_event_while_the_run_goes_on(tmp_path: Path) -> None:
    with (
        a_site(tmp_path) as site,
        dg.DagsterInstance.from_config(str(tmp_path)) as watching,
    ):
        run = site.instance.create_run_for_job(speak)
        site.instance.report_engine_event("first", dagster_run=run)
        messages: list[str] = []
        told = threading.Event()

        def note(entry: dg.EventLogEntry, _: str) -> None:
            messages.append(entry.message)
            told.set()

        watching.watch_event_logs(run.run_id, None, note)
        for message in ("second", "third"):
            told.clear()
            site.instance.report_engine_event(message, dagster_run=run)
            assert told.wait(20), messages
            assert messages[-1] == message
        watching.end_watch_event_logs(run.run_id, note)


def keeps_engines(instance: dg.DagsterInstance) -> bool:
    return type(instance.event_log_storage).__module__ == storage.__name__


def said(instance: dg.DagsterInstance, run_id: str) -> bool:
    return any(entry.user_message == "said" for entry in instance.all_logs(run_id))
