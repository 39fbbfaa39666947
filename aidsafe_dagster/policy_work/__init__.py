"""The policy as a program: drafted from a document, checked, and tested. Knows no Dagster."""
