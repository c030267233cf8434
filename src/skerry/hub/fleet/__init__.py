"""Nodes and workloads: enrolment, desired state, and the controller that turns workloads into assignments."""
