"""The pages on all rows: an ASGI application of GET requests, which changes nothing.

    /rows?q=…&batch=…        the rows that match, a page at a time; the address is the whole filter
    /prompt/<id>             one prompt's whole story; the beginning of an id is enough
    /prompt/<id>/answer/<stage>
                             the answer that a row failed on

Rendered here, and shown without a script too. Texts are escaped by the template engine, and a
content security policy keeps the page from running or loading anything but its own two scripts.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    UNANSWERED_REASONS,
    Failure,
)
from aidsafe_dagster.reports.html import REPORT_TEMPLATES, page_environment, shown
from aidsafe_dagster.reports.paper import METRIC_NAMES
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failed_answers import failed_answer
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.viewer.batch_rows import SCORES
from aidsafe_dagster.viewer.catalogue import PAGE_ROWS, Catalogue
from aidsafe_dagster.viewer.filters import ORDERS, Filters
from aidsafe_dagster.viewer.folding import passages
from aidsafe_dagster.viewer.prompt_story import PromptStory, read_story
from aidsafe_dagster.viewer.row_index import RowIndex

_HERE = Path(__file__).parent
_STATIC = {
    "report.css": (REPORT_TEMPLATES / "report.css", "text/css"),
    "view.css": (_HERE / "static" / "view.css", "text/css"),
    "view.js": (_HERE / "static" / "view.js", "text/javascript"),
    "htmx.min.js": (_HERE / "static" / "htmx.min.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_REFRESH_S = 2.0
"""A page shows the lake as it was no longer ago than this."""
_FIRST_WAIT_S, _WAIT_S = 1.0, 0.3
"""For the index before a page is sent, the first time and later. With many batches that are new,
the list grows afterwards."""
_MOST_CHOICES = 50
_FILTER_NAMES: Mapping[str, str] = {
    "stage": "came as far as",
    "failed_at": "failed or left out at",
    "kind": "kind of prompt",
    "pair": "kind of pair",
    "policy": "policy cited",
    "outcome": "ended by",
    "refusal": "response declines",
    "translated": "translated into",
    "least": "score from",
    "most": "score to",
}


def is_row_page(path: str) -> bool:
    """Tell whether a path is of these pages. The web UI has none of these."""
    return path == "/rows" or path.startswith(("/rows/", "/prompt/"))


class _Rules(NamedTuple):
    """What the templates of a report look up rules in."""

    rules: Mapping[str, str]


class _ShownFailure(NamedTuple):
    record: Failure
    is_left_out: bool
    call: int
    """The number of the call it failed on."""
    may_have_answer: bool


class RowPages:
    """The pages of one lake.

    Args:
        settings: name the lake, the journal, the policies, and secrets to mask.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lake = Lake(settings.lake)
        self.index = RowIndex(self._lake, settings.home)
        self._catalogue = Catalogue(self.index, self._mask)
        self._refreshed = 0.0
        self._refreshing: threading.Thread | None = None
        self._refresh_lock = threading.Lock()
        self._templates = page_environment(_HERE / "templates")
        self._templates.filters["marked"] = _marked
        self._templates.filters["masked"] = self._mask
        self._templates.globals |= {
            "currency": settings.currency,
            "languages": LANGUAGE_NAMES,
            "filter_names": _FILTER_NAMES,
            "scores": SCORES,
            "score_names": {"policy_score": "policy score"}
            | {str(metric): METRIC_NAMES[metric] for metric in METRICS},
            "orders": ORDERS,
            "page_rows": PAGE_ROWS,
            "words": (),
        }

    def app(self) -> ASGIApp:
        """Return the application."""
        routes = [
            Route("/", self._go_to_rows),
            Route("/rows", self._rows),
            Route("/rows/static/{name}", self._file),
            Route("/prompt/{prompt_id}", self._prompt),
            Route("/prompt/{prompt_id}/answer/{stage}", self._answer),
        ]
        return _Protected(Starlette(routes=routes))

    def bring_up_to_date(self) -> None:
        """Start a refresh unless one is under way or only just over, and wait a little for it.

        With many batches that are new it goes on in the background, and the list grows.
        """
        with self._refresh_lock:
            is_running = self._refreshing is not None and self._refreshing.is_alive()
            if not is_running and time.monotonic() - self._refreshed > _REFRESH_S:
                self._refreshing = threading.Thread(target=self._refresh, daemon=True)
                self._refreshing.start()
            refreshing = self._refreshing
        if refreshing:
            refreshing.join(_WAIT_S if self._refreshed else _FIRST_WAIT_S)

    # Starlette runs what is not a coroutine in a thread, so a slow question delays no other.
    def _go_to_rows(self, _: Request) -> Response:
        return RedirectResponse("/rows", status_code=303)

    def _file(self, request: Request) -> Response:
        if request.path_params["name"] not in _STATIC:
            return self._problem("There is no such file", "", status=404)
        path, media_type = _STATIC[request.path_params["name"]]
        return FileResponse(path, media_type=media_type)

    def _rows(self, request: Request) -> Response:
        filters = Filters.from_query(request.query_params)
        address = f"/rows?{filters.address(page=filters.page)}".rstrip("?")
        is_partial = request.headers.get("HX-Request") == "true"
        if not is_partial and _has_empty_values(request):
            # A form sends all its fields, and the address is to be sent on.
            return RedirectResponse(address, status_code=303)
        self.bring_up_to_date()
        page = self._catalogue.page(filters)
        facets = self._catalogue.facets()
        words = filters.words
        link_query = filters.address()
        html = self._render(
            "rows.html.jinja",
            filters=filters,
            facets=facets,
            page=page,
            all=sum(count for _, count in facets["batch"]),
            simulated_all=page.simulated,
            link_query=f"?{link_query}" if link_query else "",
            without=lambda name: filters.address(**{name: ""}),
            words=words,
            known=self.index.batches_known,
            missing=self.index.batches_missing,
            problems=self.index.problems,
        )
        headers = {"HX-Push-Url": address} if is_partial else {}
        return HTMLResponse(html, headers=headers)

    def _prompt(self, request: Request) -> Response:
        self.bring_up_to_date()
        wanted = request.path_params["prompt_id"]
        matches = self._catalogue.ids_with_prefix(wanted, _MOST_CHOICES)
        exact = [match for match in matches if match[0] == wanted]
        if not matches:
            return self._unknown(wanted)
        if not exact and len(matches) > 1:
            title = f"The ids of several prompts begin with {wanted}"
            return self._problem(title, "", choices=matches, status=300)
        prompt_id, batch, _ = (exact or matches)[0]
        if prompt_id != wanted:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/prompt/{prompt_id}{query}", status_code=303)
        filters = Filters.from_query(request.query_params)
        story = read_story(self._lake, batch, prompt_id)
        return HTMLResponse(self._story_page(story, filters))

    def _story_page(self, story: PromptStory, filters: Filters) -> str:
        list_query = filters.address()
        return self._render(
            "prompt.html.jinja",
            story=story,
            origin=_origin(story),
            failures=[self._shown_failure(failure) for failure in story.failures],
            untranslated=[self._shown_failure(one) for one in story.untranslated],
            responses=_responses(story),
            neighbours=self._catalogue.neighbours(filters, story.prompt_id),
            list_query=list_query,
            link_query=f"?{list_query}" if list_query else "",
            batch_query=Filters(batch=story.batch).address(),
            words=filters.words,
            # Read anew, since a policy may be edited meanwhile.
            report=_Rules(_rules(self._settings)),
        )

    def _answer(self, request: Request) -> Response:
        prompt_id = request.path_params["prompt_id"]
        stage = request.path_params["stage"]
        self.bring_up_to_date()
        matches = self._catalogue.ids_with_prefix(prompt_id, 1)
        if not matches or matches[0][0] != prompt_id:
            return self._unknown(prompt_id)
        story = read_story(self._lake, matches[0][1], prompt_id)
        answer = None
        for failure in (*story.failures, *story.untranslated):
            if failure.stage == stage:
                answer = failed_answer(failure, self._settings)
        html = self._render(
            "answer.html.jinja", prompt_id=prompt_id, stage=stage, answer=answer
        )
        return HTMLResponse(html)

    def _shown_failure(self, failure: Failure) -> _ShownFailure:
        # A detail quotes servers and models, which may have quoted a key.
        masked = failure.model_copy(update={"detail": self._mask(failure.detail)})
        is_unanswered = failure.reason in UNANSWERED_REASONS
        return _ShownFailure(
            record=masked,
            is_left_out=failure.reason in EXCLUSION_REASONS,
            call=failure.turn + is_unanswered,
            may_have_answer=bool(failure.turn) and not is_unanswered,
        )

    def _unknown(self, prompt_id: str) -> Response:
        text = f"No prompt of the lake has an id that begins with '{prompt_id}'."
        if not self.index.batches_missing:
            return self._problem("There is no such prompt", text, status=404)
        # A viewer that has just begun: the link that it printed leads there in a moment.
        waiting = (
            "Not all batches are read yet. This page looks again every two seconds."
        )
        reply = self._problem("Reading the batches …", waiting, status=404)
        reply.headers["Refresh"] = "2"
        return reply

    def _problem(
        self,
        title: str,
        text: str,
        *,
        choices: Sequence[tuple[str, str, str]] = (),
        status: int,
    ) -> Response:
        html = self._render(
            "problem.html.jinja", title=title, text=text, choices=choices
        )
        return HTMLResponse(html, status_code=status)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(**values)

    def _mask(self, text: str) -> str:
        return mask_secrets(text, self._settings)

    def _refresh(self) -> None:
        try:
            self.index.refresh()
        finally:
            self._refreshed = time.monotonic()


class _Protected:
    """Adds the headers that confine a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                # Rows are not to stay in a browser after they were taken back.
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_protected)


@pass_context
def _marked(context: Context, text: str) -> Markup:
    """Mark what was searched for."""
    marked = Markup()
    for passage in passages(shown(text), context.get("words", ())):
        piece = escape(passage.text)
        marked += Markup("<mark>{}</mark>").format(piece) if passage.is_match else piece
    return marked


def _rules(settings: Settings) -> Mapping[str, str]:
    try:
        policies = settings.load_policies()
    except SetupError:
        # Rows can be read while somebody works on a policy.
        return {}
    return {rule: policies.rule(rule) for rule in policies.rule_ids}


def _origin(story: PromptStory) -> Mapping[str, str]:
    """Return where a prompt comes from, with a name for each part."""
    record = story.origin
    if record is None:
        return {}
    names = {
        "source": "Source",
        "source_row": "Place",
        "own_id": "Own id",
        "category": "Category",
        "licence": "Licence",
        "cluster": "Near to",
    }
    parts = {}
    for column, name in names.items():
        value = getattr(record, column)
        # A prompt is mostly in a cluster of its own.
        if value and value != story.prompt_id:
            parts[name] = value
    return parts


def _responses(story: PromptStory) -> Sequence[tuple[str, str]]:
    """Return the responses, the last one first; one that did not change stands once."""
    titles = {
        "Final response": story.refined,
        "Response after deliberation": story.deliberated,
        "First response": story.seed,
    }
    responses: dict[str, str] = {}
    for title, row in titles.items():
        if row is not None and row.response not in responses:
            responses[row.response] = title
    return [(title, response) for response, title in responses.items()]


def _has_empty_values(request: Request) -> bool:
    return any(not value for value in request.query_params.values())
