"""What is wrong on this node and what to do about it: the checks of skerry doctor."""
