"""The conformance suite's own tests: what it would notice, proved on a model platform in this process."""
