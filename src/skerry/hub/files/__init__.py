"""Files that nodes send: taken chunk by chunk, kept whole by their content, listed by the records that name them."""
