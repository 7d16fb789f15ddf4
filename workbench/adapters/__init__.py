"""Adapters: the same rewards and credits in trainers and clusters of others. Each module needs its own package."""
