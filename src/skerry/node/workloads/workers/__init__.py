"""Worker groups: directories of scripts that are run by one workload each and loaded anew when they change.

`groups` watches and decides by `reload` (pure); what it wants goes into the store (`intents`) and reaches the plan
with the assignment, as `LocalIntent`. `report` tells people. docs/reference/workers.md.
"""
