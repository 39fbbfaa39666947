"""What `dg` takes for this project's own module. The pipeline itself is in the package."""

from aidsafe_dagster.definitions import defs

__all__ = ["defs"]
