"""Ollama: a Modelfile, a template of its kind where it needs one, and its program and API."""
