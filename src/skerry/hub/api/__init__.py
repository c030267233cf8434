"""HTTP: routes for nodes, routes for people, authentication."""
