"""Training that can be stopped at any moment, with or without a defence."""

from art_snn.training.checkpoints import read_checkpoint
from art_snn.training.recipe import RobustRecipe
from art_snn.training.run import load_data, load_trained, train_robustly

__all__ = ["RobustRecipe", "load_data", "load_trained", "read_checkpoint", "train_robustly"]
