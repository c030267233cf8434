"""Every performance claim of Skerry: product and peer measured in one run. Run: `make bench` or `python -m bench NAME …`."""
