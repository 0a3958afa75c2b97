"""The README's table of speeds comes from a run of the benchmark, and nothing around it changes."""

import pytest

from bench.comparisons import RATIOS
from bench.readme import with_tables
from bench.report import Compared, _heading, _ratio_row
from tests.docs.pages import README

REPORT = (
    _heading({"processor": "a", "cores": "2"})
    + "| work | asked | aim | measured | spread | met |\n| --- | --- | --- | --- | --- | --- |\n"
    + _ratio_row(Compared(RATIOS[0], 1.5, 1.4, 1.6))
    + "\n\n| work | target | a second | median ms | p99 ms |\n| --- | --- | --- | --- | --- |\n| get | Portico | 1 | 1 | 1 |\n"
)


def test_the_table_of_ratios_replaces_what_is_between_the_markers():
    readme = README.read_text(encoding="utf-8")
    written = with_tables(readme, REPORT)
    before, _, rest = readme.partition("<!-- bench -->\n")
    assert written.startswith(before)
    assert written.endswith(rest.partition("<!-- /bench -->")[2])
    assert f"| {RATIOS[0].label} |" in written
    assert "| get | Portico |" not in written, "the loads stay in the report"
    assert with_tables(written, REPORT) == written


def test_a_report_of_a_part_is_refused():
    with pytest.raises(ValueError, match="no ratios"):
        with_tables(README.read_text(encoding="utf-8"), "| value | asked |\n")
