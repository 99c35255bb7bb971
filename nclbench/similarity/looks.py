"""What an operator looked at, as (rows, columns, across): across means that a value mixed several rows."""

Looked = set[tuple[str, str, bool]] | frozenset[tuple[str, str, bool]]


def across(looked: Looked) -> set[str]:
    """The collections that values were learnt from by mixing several of their rows, or columns beside the gallery's."""
    seen = [(rows, columns.split("+")) for rows, columns, mixed in looked if mixed]
    return {rows for rows, _ in seen} | {name for _, names in seen for name in names if name != "items"}


def of_file(fitted_on: str) -> set[tuple[str, str, bool]]:
    """The same for what was read from a file, as the file says: `query-bank`, `test-queries`, …"""
    names = (name if name.startswith("file(") else f"file({name})" for name in fitted_on.split("+") if name)
    return {(name, "items", True) for name in names}
