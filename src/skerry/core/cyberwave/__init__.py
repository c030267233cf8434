"""What Cyberwave's drivers, workers and SDK rely on: names, bodies, framing, choice of drivers. Pure.

Read from edge-core 0.1.3 and 0.1.30 and SDK 0.7.4. Where these break a promise of their own documentation, the
promise holds here.
"""
