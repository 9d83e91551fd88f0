"""The verification report as a page: types in, strings out. Nothing here reads, writes or computes with a model."""
