import typer


def inspect(file: str) -> None:
    """Placeholder (helper writes it)."""
