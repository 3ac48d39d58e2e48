"""Train any image classifier by a recipe, score it and save it. This package knows nothing of attention."""

from saam.training.checkpoint import save_checkpoint
from saam.training.distributed import Group, together
from saam.training.evaluation import Loader, evaluate, score_images
from saam.training.fit import Fit, fit
from saam.training.loop import train
from saam.training.parameters import parameter_groups
from saam.training.recipe import PRECISIONS, Recipe, create_recipe, recipes
from saam.training.records import EpochRecord, ImageScores, Result, Scores
from saam.training.schedule import schedule_factor
from saam.training.state import saved_run
from saam.training.step import Stepper, require_precision

__all__ = [
    "PRECISIONS",
    "EpochRecord",
    "Fit",
    "Group",
    "ImageScores",
    "Loader",
    "Recipe",
    "Result",
    "Scores",
    "Stepper",
    "create_recipe",
    "evaluate",
    "fit",
    "parameter_groups",
    "recipes",
    "require_precision",
    "save_checkpoint",
    "saved_run",
    "schedule_factor",
    "score_images",
    "together",
    "train",
]
