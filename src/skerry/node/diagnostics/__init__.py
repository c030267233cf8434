"""What a diagnostics bundle holds, and how it is written. Loaded by `skerry node diagnostics`, never by the agent.

masking  what must not be read in it
tails    the last lines of logs
disk     what the data directory and its database tell without the agent
system   what /proc and /sys tell
secrets  the values to look for: of this node's and its workloads' environments, and of its files
bundle   the file: a tar in zstd that any tool opens
"""
