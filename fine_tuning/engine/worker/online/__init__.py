"""Training on a model's own answers and their rewards, by TRL's trainers."""
