"""What `make_sample_data.py` makes the sample from."""
