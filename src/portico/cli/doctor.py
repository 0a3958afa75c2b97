"""`portico doctor`: what Portico will not do with the databases as they are, why, and how to put it right."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from portico.cli.common import ConfigOption, ExitCode, JsonOption, load_settings, print_json
from portico.cli.diagnosis import Finding, Severity, diagnose

SecurityOption = Annotated[bool, typer.Option("--security", help="List what an auditor asks, too.")]

_MARKS = {Severity.ERROR: "error  ", Severity.WARNING: "warning", Severity.NOTE: "note   "}


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("doctor")(doctor)


def doctor(config: ConfigOption = None, security: SecurityOption = False, as_json: JsonOption = False) -> None:
    """Look for what is wrong with the set-up, and say how to put it right. Nothing is changed.

    Exits with 1 where something keeps Portico from serving what it should, and with 3 where a database cannot be reached.
    """
    findings = asyncio.run(diagnose(load_settings(config), security=security))
    if as_json:
        print_json([_plain(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{_MARKS[finding.severity]} {finding.subject}: {finding.text}")
            if finding.remedy:
                typer.echo(f"        {finding.remedy}")
        if not findings:
            typer.echo("Nothing to report.")
    if any(finding.unreachable for finding in findings):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(ExitCode.PROBLEM)


def _plain(finding: Finding) -> dict[str, str | None]:
    return {"severity": finding.severity.value, "subject": finding.subject, "text": finding.text, "remedy": finding.remedy}
