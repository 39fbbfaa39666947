"""Items below a heading, broken between words: for keys and reasons that fit no table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

_MOST_ITEMS = 20


@dataclass
class Paragraphs:
    """A heading with items; each has a first line and further ones.

    Attributes:
        title: the heading.
        items: in order. What is in them is not ours, and is shown as it is.
    """

    title: str
    items: list[tuple[str, ...]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.items)

    def add(self, first: str, more: Iterable[str] = ()) -> None:
        """Add an item."""
        self.items.append((first, *filter(None, more)))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Yield the lines, as wide as the terminal allows."""
        yield Text(self.title, "italic")
        for first, *more in self.items[:_MOST_ITEMS]:
            yield Padding(Text(first), (0, 0, 0, 2))
            for line in more:
                yield Padding(Text(line), (0, 0, 0, 4))
        hidden = len(self.items) - _MOST_ITEMS
        if hidden > 0:
            yield Padding(Text(f"and {hidden:,} more"), (0, 0, 0, 2))
        yield ""
