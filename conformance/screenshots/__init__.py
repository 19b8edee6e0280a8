"""Pictures of a living platform for its documentation."""
