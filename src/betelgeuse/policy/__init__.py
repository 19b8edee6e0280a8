"""Who may call whom: the tree's network policies, evaluated. Pure: objects in, verdicts and pictures out."""
