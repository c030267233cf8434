"""Encryption at rest: record format, ciphers, key ring, and where the key-encryption key comes from (ADR 0009)."""
