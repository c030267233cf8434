"""The control plane: people say what they want, nodes say what is, records of all nodes come together."""
