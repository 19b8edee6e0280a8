"""A vector store with Qdrant's engine that speaks the everyday part of Qdrant's REST protocol."""
