"""Named data sets, their splits, and batches with a separate augmentation of each image."""

from saam.data.augmentation import augment, cutout, list_augmentations, random_crop, random_flip
from saam.data.batches import Batches, normalise, score_batches, train_batches
from saam.data.cache import cache_folder
from saam.data.catalog import (
    DataRecord,
    data_options,
    data_record,
    kept_options,
    list_data,
    load_data,
    load_kept_data,
    register_data,
    resolve_name,
    without_place,
)
from saam.data.images import Images, ImageSource
from saam.data.selection import Selection, first_of_each_class, first_test_images
from saam.data.splits import Pools, Splits, build_splits, split_indices

__all__ = [
    "Batches",
    "DataRecord",
    "ImageSource",
    "Images",
    "Pools",
    "Selection",
    "Splits",
    "augment",
    "build_splits",
    "cache_folder",
    "cutout",
    "data_options",
    "data_record",
    "first_of_each_class",
    "first_test_images",
    "kept_options",
    "list_augmentations",
    "list_data",
    "load_data",
    "load_kept_data",
    "normalise",
    "random_crop",
    "random_flip",
    "register_data",
    "resolve_name",
    "score_batches",
    "split_indices",
    "train_batches",
    "without_place",
]
