"""Load on the model APIs: users (llm, embeddings), profiles (smoke), and the figures that stock Locust lacks."""
