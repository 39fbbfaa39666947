"""Reports on the whole dataset: sections of tables and plots, rendered as Markdown and HTML."""
