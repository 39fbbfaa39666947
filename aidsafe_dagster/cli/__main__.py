"""`python -m aidsafe_dagster.cli` is the command `aidsafe`."""

from aidsafe_dagster.cli.app import app

if __name__ == "__main__":
    app()
