"""Records in and out on the node: publish, subscribe, query, retention."""
