"""The parts of the sample data, which `make_sample_data.py` writes."""
