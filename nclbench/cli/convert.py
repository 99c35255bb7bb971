import typer


def convert(file: str) -> None:
    """Placeholder (helper writes it)."""
