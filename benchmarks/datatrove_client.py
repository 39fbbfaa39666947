"""datatrove's inference runner as a client, in the environment of `make .venv-peers/ready`.

It is set up as its documentation shows: its executor, a request cache and checkpoints in chunks of
500 documents, a writer of JSON lines. A document is a row. Its rollout function makes the dependent
calls by the recipe's own dialogue, as the other clients do. It prints its measurements as JSON.

python -m benchmarks.datatrove_client ROWS SLOTS BASE_URL FOLDER BATCH_SIZE
"""

import sys
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.inference.types import GenerateFunction
from datatrove.pipeline.writers import JsonlWriter

from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.errors import RowFailed
from aidsafe_dagster.recipe.records import RefinedCot
from benchmarks.chat_bodies import completion_of, payload_of
from benchmarks.process import ClientMeasurement
from benchmarks.rows import dialogue_tasks, digest

_MODEL = "simulated"


class Rows:
    """The rows of work: their dialogues, and what came of them."""

    def __init__(self, count: int) -> None:
        self.tasks: dict[str, DialogueTask[RefinedCot]] = {}
        for task in dialogue_tasks(count):
            self.tasks[task.conversation.prompt.prompt_id] = task
        self.digests = dict.fromkeys(self.tasks, "")

    def documents(self) -> list[Document]:
        documents = []
        for prompt_id, task in self.tasks.items():
            text = task.conversation.prompt.prompt
            documents.append(Document(text=text, id=prompt_id))
        return documents


async def rollout(
    document: Document,
    generate: GenerateFunction,
    rows: Rows,
    measurement: ClientMeasurement,
) -> dict[str, Any] | None:
    """Make the calls of a row, one after another."""
    dialogue = rows.tasks[document.id].dialogue
    try:
        request = next(dialogue)
        while True:
            result = await generate(payload_of(request))
            completion = completion_of(result.text, _MODEL, result.usage)
            request = dialogue.send(completion)
    except StopIteration as stop:
        record: RefinedCot = stop.value
        rows.digests[document.id] = digest(record)
        return record.model_dump(mode="json")
    except RowFailed:
        return None
    finally:
        measurement.note_row()


def main(rows: int, slots: int, base_url: str, folder: Path) -> None:
    work = Rows(rows)
    documents = work.documents()
    measurement = ClientMeasurement()
    config = InferenceConfig(
        server_type="endpoint",
        # it adds /v1 itself
        endpoint_url=base_url.removesuffix("/v1"),
        model_name_or_path=_MODEL,
        max_concurrent_generations=slots,
        # more than slots, so that a slot is not idle between two calls of a row
        max_concurrent_documents=2 * slots,
    )
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=config,
        # a function, because the executor copies the values of a dictionary
        shared_context=lambda: {"rows": work, "measurement": measurement},
        records_per_chunk=500,
        checkpoints_local_dir=str(folder / "checkpoints"),
        output_writer=JsonlWriter(
            str(folder / "output"),
            output_filename="${rank}_chunk_${chunk_index}.jsonl",
        ),
    )
    LocalPipelineExecutor(
        pipeline=[documents, runner], logging_dir=str(folder / "logs"), tasks=1
    ).run()
    measurement.write(list(work.digests.values()))


if __name__ == "__main__":
    rows, slots, base_url, folder, _ = sys.argv[1:]
    main(int(rows), int(slots), base_url, Path(folder))
