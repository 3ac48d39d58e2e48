"""A page for the browser: predictions and score maps of a network for any image, without a server's code."""

from saam.export.page.build import Page, Sample, write_page
from saam.export.page.server import serving

__all__ = ["Page", "Sample", "serving", "write_page"]
