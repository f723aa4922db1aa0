"""What watches a training from inside: callbacks of Transformers' trainer."""
