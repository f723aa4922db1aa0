"""What llama.cpp and Ollama serve: GGUF files of models and adapters, and what each size costs."""
