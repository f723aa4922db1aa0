"""The hubs of models and datasets: which is asked, what it refused, and what was fetched of it."""
