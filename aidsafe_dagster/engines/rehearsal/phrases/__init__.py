"""The words of the rehearsal, a module a role, by part and stance ("decline" or "help").

None speaks of the making-of, and none begins like an apology. Fields in braces are filled by `lines.Speaker`.
"""
