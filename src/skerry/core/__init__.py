"""Pure logic that node and hub share: no I/O, no clock, no logging."""
