"""`eval`: how good a model is on rows, beside the model that it was made from."""
