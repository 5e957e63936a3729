"""Pretraining: corpora as blocks of tokens, and what an objective masks or asks for in them."""
