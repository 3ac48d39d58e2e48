"""The comparison as one HTML page that needs no server, no network and no other file."""

import base64
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from saam._core.files import write_atomically
from saam._version import __version__
from saam.comparison import Comparison
from saam.comparison.crossed import CrossedInterval
from saam.comparison.records import RunRecord
from saam.explain.overlay import ScoreMapStrip
from saam.report import words
from saam.report.answer_charts import answer_charts
from saam.report.answers import Answers
from saam.report.charts import charts
from saam.report.command import command
from saam.report.further import further_scores
from saam.report.overview import overview
from saam.report.setting import setting

__all__ = ["environment", "html", "write_report"]


def html(
    comparison: Comparison,
    *,
    strip: ScoreMapStrip | None = None,
    no_strip: str = "",
    images: Mapping[str, Mapping[str, CrossedInterval]] | None = None,
    found: Answers | None = None,
) -> str:
    """Return a comparison, finished or not, as a self-contained page.

    Scripts, styles, charts and pictures are embedded, and a content security policy keeps the page from loading
    anything.

    Args:
        comparison: Plan, records and costs so far.
        strip: Test images with score maps over them, for their own section.
        no_strip: Why there is no strip; shown in its place.
        images: Differences over seeds and images, as returned by `saam.report.over_images`.
        found: What the runs answered for each test image, as returned by `saam.report.answers`.

    Returns:
        The HTML of the page. All text from records, plan and strip is escaped.
    """
    view, about = overview(comparison), setting(comparison)
    drawn = charts(view, comparison.records) + (answer_charts(view, found) if found else [])
    sections: dict[str, list[tuple[int, str]]] = {}
    for number, chart in enumerate(drawn):
        sections.setdefault(chart.section, []).append((number, chart.title))
    page = environment().get_template("report.html.j2")
    return page.render(
        bundle=_bundle() if drawn else "",
        charts=sections,
        command=command(comparison.plan),
        comparison=comparison,
        environment=_environments(comparison.records),
        finished=max((record.finished for record in comparison.records), default=""),
        plan=_pretty(comparison.plan.to_json()),
        recipe=_pretty(about.recipe) if about.recipe else "",
        failed={(each.arm, each.seed): each.error for each in view.failures},
        setting=about,
        runs={(record.arm, record.seed): record for record in comparison.records},
        specs=[{**chart.spec, "description": chart.title} for chart in drawn],  # Vega's label of the drawing
        images=images or {},
        confusions=found.confusions(view.focus, view.reference) if found else [],
        classes=len(found.names) if found else 0,
        further=further_scores(comparison),
        no_strip=no_strip,
        strip=strip,
        strip_png=base64.b64encode(strip.png).decode() if strip else "",
        version=__version__,
        view=view,
    )


def write_report(path: str | Path, comparison: Comparison, **parts: Any) -> None:
    """Write the page of `html` to a file atomically."""
    write_atomically({Path(path): html(comparison, **parts).encode()})


@functools.cache
def environment() -> Environment:
    """Return the environment that renders the pages: templates, and the functions that they use."""
    made = Environment(
        loader=PackageLoader("saam.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    names = ["count", "duration", "forecast", "interval", "listed", "named", "number", "p_value", "ratio", "signed"]
    made.filters.update({name: getattr(words, name) for name in names})
    made.globals.update(missing=words.MISSING)
    return made


@functools.cache
def _bundle() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script without a closing script tag."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script"))


def _environments(records: tuple[RunRecord, ...]) -> dict[str, str]:
    """Return for each entry of the runs' environments all values that occur."""
    found: dict[str, list[str]] = {}
    for record in records:
        for name, value in record.environment.items():
            if str(value) not in found.setdefault(name, []):
                found[name].append(str(value))
    return {name: " / ".join(values) for name, values in found.items()}


def _pretty(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False)
