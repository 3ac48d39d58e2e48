"""Surgery on networks: find sites for attention, attach it, upgrade existing attention, and undo both."""

from saam.surgery.attach import attach
from saam.surgery.detach import detach, new_parameters
from saam.surgery.report import Change, SurgeryReport
from saam.surgery.site import Site
from saam.surgery.sites import sites
from saam.surgery.surgical import Attended
from saam.surgery.upgrade import upgrade

__all__ = [
    "Attended",
    "Change",
    "Site",
    "SurgeryReport",
    "attach",
    "detach",
    "new_parameters",
    "sites",
    "upgrade",
]
