"""From a row to the text that a server sends: messages, and the model's own chat template."""
