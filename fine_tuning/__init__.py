"""A front end for LLaMA-Factory: from a dataset and a few flags to a checked, merged model."""

__version__ = "0.1.0"
