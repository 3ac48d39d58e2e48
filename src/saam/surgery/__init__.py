"""Surgery on networks: find where attention can go, put it there, give what is there a learned squeeze, undo it all."""

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
