"""Which version this is."""

VERSION = "0.1.0"
"""As pyproject.toml has it, which no image holds; a test compares them."""
