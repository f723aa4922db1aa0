"""Device memory of a training step, from the model's weights one by one."""
