"""Settings of the documentation site; ``make docs`` builds it into build/docs."""

import warnings
from typing import Any

from sphinx.application import Sphinx

from saam._version import __version__

project = "saam"
author = "the saam developers"
copyright = "2026, the saam developers"  # noqa: A001
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_external_toc",
    "sphinx_gallery.gen_gallery",
]
external_toc_path = "_toc.yml"
# It looks at every object in memory, and so at a deprecated one of torch.
warnings.filterwarnings("ignore", category=FutureWarning, module="sphinx_external_toc")
exclude_patterns = ["gallery/**/*.ipynb", "gallery/**/*.py", "gallery/**/*.md5", "gallery/**/*.json"]
suppress_warnings = ["etoc.glob", "etoc.toctree"]  # pages that may be absent; the toctree that sphinx-gallery writes

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_default_options = {"exclude-members": "extra_repr"}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "py:obj"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "copyfile_regex": r"^$",
    "reset_modules": ("matplotlib",),
}
html_theme = "pydata_sphinx_theme"
html_title = "saam"
html_static_path = ["_static"]
html_css_files = ["saam.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "saam"},
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "start": []}


def formulas(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Show the formulas of a docstring as they stand: its indented blocks become literal blocks."""
    written, before = list(lines), [""]
    lines.clear()
    for line in written:
        if line.startswith("    ") and before[-1] == "" and len(before) > 1 and not before[-2].startswith((" ", ">>>")):
            lines += ["::", ""]
        lines.append(line)
        before.append(line)


def setup(app: Sphinx) -> None:
    """Connect the function above; it runs before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", formulas, priority=400)
