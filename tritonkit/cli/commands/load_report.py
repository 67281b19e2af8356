"""`tritonkit load report`: one page of load tests and sweeps, or their summary, data and charts."""

from __future__ import annotations

from pathlib import Path

import click

_PAGES = (".html", ".htm")


@click.command("report")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
    help="Where the page is written; default: report.html in the folder of RUN, of several here.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print a summary in Markdown, for a pull request.")
@click.option("--csv", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the data as CSV.")
@click.option(
    "--svg", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write the charts as SVG."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything that the page shows as JSON.")
def command(
    folders: tuple[Path, ...], out: Path | None, markdown: bool, csv: Path | None, svg: Path | None, as_json: bool
) -> None:
    """Make one page of the load tests and sweeps in these folders, side by side.

    The page is one HTML file that needs neither a network nor JavaScript. Prints its path. With one of the other
    options it is written only where --out says.
    """
    if markdown and as_json:
        raise click.UsageError("--markdown and --json both print; give one of them")
    if out is not None and out.suffix.lower() not in _PAGES:
        raise click.UsageError(f"--out {out} ends in none of {', '.join(_PAGES)}")
    from generator.whole_file import write_whole
    from loadtest.report.files import as_json as json_of
    from loadtest.report.files import write_csv, write_svg
    from loadtest.report.markdown import markdown_of
    from loadtest.report.opening import open_all
    from loadtest.report.page import page_of, report_of
    from tritonkit.cli.output import print_json, say, shown_path

    opened = open_all(folders)
    if out is None and not (markdown or as_json or csv or svg):
        out = opened[0].folder / "report.html" if len(opened) == 1 else Path("report.html")
    report = report_of(opened)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page_of(report))
    for folder, write in ((csv, write_csv), (svg, write_svg)):
        if folder is not None:
            say(f"{len(write(report, folder))} files are written to {shown_path(folder)}")
    if markdown:
        click.echo(markdown_of(report), nl=False)
    elif as_json:
        print_json(json_of(report))
    elif out is not None:
        click.echo(shown_path(out))
    if out is not None and (markdown or as_json):
        say(f"{shown_path(out)} is written")
