"""The composition of what serves Cyberwave's twins: it knows `twins`, `drivers`, `broker` and `bus`, and they know nothing of it."""
