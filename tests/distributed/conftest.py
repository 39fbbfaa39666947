"""These tests need the extra `cluster`. Without it they cannot be imported, and are left out."""

from importlib.util import find_spec

from tests.faults.conftest import undisturbed, undisturbed_backfill

__all__ = ["undisturbed", "undisturbed_backfill"]
_NEEDED = ("psycopg2", "dagster_postgres", "dagster_celery", "s3fs", "moto")
_IS_INSTALLED = all(find_spec(module) for module in _NEEDED)
collect_ignore_glob = [] if _IS_INSTALLED else ["test_*.py"]
