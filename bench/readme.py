"""`python -m bench.readme`: puts what `make bench` measured last into the README, between its markers."""

import re
import sys
from pathlib import Path

LAST = Path(__file__).with_name("results") / "last.md"
README = Path(__file__).parents[1] / "README.md"
_MARKED = re.compile(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", re.DOTALL)


def with_tables(readme: str, report: str) -> str:
    """The README with a report's first lines, which say on what machine it was, and its table of ratios.

    Args:
        readme: the README's text, with the two markers. report: what `bench.report.write` wrote as Markdown.
    Raises:
        ValueError: the markers are missing, or the report has no ratios.
    """
    parts = report.strip().split("\n\n")
    ratios = next((part for part in parts if part.startswith("| work | asked |")), None)
    if ratios is None:
        raise ValueError("the report has no ratios: run `make bench` without naming parts")
    heading = [parts[0]] if not parts[0].startswith("|") else []
    text, count = _MARKED.subn(lambda _: "\n\n".join([*heading, ratios]) + "\n", readme)
    if count != 1:
        raise ValueError("the README lacks the markers <!-- bench --> and <!-- /bench -->")
    return text


def main() -> int:
    """Replace the table; 1 where there is nothing to put there."""
    if not LAST.exists():
        print("Nothing was measured yet: run make bench first.", file=sys.stderr)
        return 1
    README.write_text(with_tables(README.read_text(encoding="utf-8"), LAST.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote the table of {LAST.name} into {README.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
