"""Train any image classifier by a recipe, score it, keep it. Knows nothing of attention."""

from saam.training.checkpoint import Checkpoint, check_writable, load_checkpoint, save_checkpoint, writable
from saam.training.evaluation import Loader, evaluate
from saam.training.loop import require_device, train
from saam.training.parameters import parameter_groups
from saam.training.recipe import Recipe, create_recipe, recipes
from saam.training.records import EpochRecord, Result, Scores
from saam.training.schedule import schedule_factor

__all__ = [
    "Checkpoint",
    "EpochRecord",
    "Loader",
    "Recipe",
    "Result",
    "Scores",
    "check_writable",
    "create_recipe",
    "evaluate",
    "load_checkpoint",
    "parameter_groups",
    "recipes",
    "require_device",
    "save_checkpoint",
    "schedule_factor",
    "train",
    "writable",
]
