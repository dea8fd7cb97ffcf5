"""Training that can be stopped at any moment, with or without a defence."""

from art_snn.training.cache import train_cached
from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import DIGITS_RECIPE, Recipe
from art_snn.training.run import load_data, load_trained, train

__all__ = ["DIGITS_RECIPE", "Recipe", "load_data", "load_trained", "read_checkpoint", "train", "train_cached"]
