"""Extractive question answering: questions, windows of their contexts, answers and their scores."""
